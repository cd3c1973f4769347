"""The probe of X: real requests, each trouble with its cure, and nothing is billed."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from checking import assert_well_said, check, failed, only
from standins import x_faults as faults
from standins.flaky_proxy import FlakyProxy
from standins.x_api import OAuth1Keys, XApi
from standins.x_posts import make_post

from tweetdock.core.finding import Finding, Verdict
from tweetdock.settings.gauge import Settings
from tweetdock.settings.x_query import LONGEST_QUERY
from tweetdock.sources.x.probe import probe

KEYS = OAuth1Keys("a-consumer-key", "a-consumer-secret", "an-access-token", "an-access-secret")
ODD = "odd%2Ftoken\"with\\odd'signs&more=AAAA"
PASS, WARN, FAIL = Verdict


@pytest.fixture
def api() -> Iterator[XApi]:
    with XApi(oauth1=KEYS) as api:
        now_ms = round(api.clock() * 1000)
        api.add(*(make_post(now_ms - 60_000 - number, number) for number in range(50)))
        yield api


def settings_of(api: XApi, **env: str) -> dict[str, str]:
    return {
        "TWEETDOCK_SOURCES": "x",
        "TWEETDOCK_HASHTAGS": "dockercon",
        "TWEETDOCK_X_DAILY_BUDGET_USD": "8",
        "X_API_URL": api.url,
        "X_BEARER_TOKEN": api.bearer,
    } | env


def ask(api: XApi, **env: str) -> list[Finding]:
    """What is found, with X having charged for nothing."""
    findings = check(settings_of(api, **env))
    assert_well_said(findings)
    assert api.posts_read == 0
    day = f"{datetime.fromtimestamp(api.clock(), UTC):%Y-%m-%d}"
    assert api.bill(day) == (0, 0)
    return findings


def test_all_is_well_and_costs_nothing(api: XApi) -> None:
    findings = ask(api)
    assert [(finding.thing, finding.verdict) for finding in findings] == [
        ("x reach", PASS),
        ("x clock", PASS),
        ("x credentials", PASS),
        ("x query", PASS),
        ("x limit", PASS),
        ("x price", PASS),
        ("spending", PASS),
    ]
    assert "costs nothing" in only(findings, "x credentials").says
    assert "449 searches" in only(findings, "x limit").says
    assert "$8, which is 1,600 posts" in only(findings, "x price").says
    (request,) = api.requests
    assert request.params["max_results"] == "10"
    assert request.params["query"].startswith("(#dockercon -is:retweet) tweetdock")


def test_the_word_that_nobody_writes_is_another_one_each_time(api: XApi) -> None:
    ask(api)
    ask(api)
    first, second = (request.params["query"].split()[-1] for request in api.requests)
    assert first != second
    assert first.isalpha()


def test_a_query_without_room_for_the_word_is_not_asked(api: XApi) -> None:
    tags = " ".join(f"conference{number:02}" for number in range(29))
    findings = ask(api, TWEETDOCK_HASHTAGS=tags)
    (request,) = api.requests
    assert request.params["query"].startswith("tweetdock")
    assert only(findings, "x query").says.startswith("not tried")
    longest = Settings.from_env(settings_of(api, TWEETDOCK_X_QUERY="#" + "a" * 480))
    assert len(f"({longest.x.query}) ") < LONGEST_QUERY


def test_the_keys_of_a_user_are_tried_too(api: XApi) -> None:
    env = {
        "X_BEARER_TOKEN": "",
        "X_CONSUMER_KEY": KEYS.consumer_key,
        "X_CONSUMER_SECRET": KEYS.consumer_secret,
        "X_ACCESS_TOKEN": KEYS.access_token,
        "X_ACCESS_TOKEN_SECRET": KEYS.access_token_secret,
    }
    assert "accepts the OAuth 1.0a keys" in only(ask(api, **env), "x credentials").says
    # A signature has a time in it, which a wrong clock would spoil.
    api.skew_seconds = 7_200
    findings = ask(api, **env)
    assert not failed(findings)
    clock = only(findings, "x clock")
    assert (clock.verdict, "2 h behind X's" in clock.says) == (WARN, True)
    found = only(ask(api, **env | {"X_ACCESS_TOKEN_SECRET": "wrong"}), "x credentials")
    assert found.verdict is FAIL
    assert "X_ACCESS_TOKEN_SECRET" in found.cure


# What else each says is tested where the refusals are explained.
REFUSED: list[tuple[faults.Fault, str, Verdict, str, str]] = [
    (faults.unauthorized(), "x credentials", FAIL, "(401)", "and set X_BEARER_TOKEN"),
    (faults.spend_cap_reached(), "x account", FAIL, "until 2026-12-13", "under Billing"),
    (faults.rate_limited(300), "x limit", WARN, "is used up until", "another program"),
    (faults.html_200(), "x reach", FAIL, "not with JSON", "log in"),
    (faults.service_unavailable(), "x reach", FAIL, "out of order (503)", "try again"),
    (faults.not_found(), "x reach", FAIL, "(404)", "X's own is https://api.x.com"),
    (faults.cut(5), "x reach", FAIL, "the connection broke", "try again"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[1]}: {case[3]}")
def test_each_refusal_has_its_own_line_and_cure(
    api: XApi, case: tuple[faults.Fault, str, Verdict, str, str]
) -> None:
    fault, thing, verdict, says, cure = case
    api.fail_always(fault)
    findings = ask(api)
    found = only(findings, thing)
    assert (found.verdict, says in found.says, cure in found.cure) == (verdict, True, True), found
    assert failed(findings) == ([thing] if verdict is FAIL else [])


def test_a_query_that_x_does_not_take_is_told_in_its_words(api: XApi) -> None:
    found = only(ask(api, TWEETDOCK_X_QUERY="-is:retweet"), "x query")
    assert "at least one positive" in found.says
    body = {"errors": [{"message": "Ambiguous use of or as a keyword"}], "title": "Invalid Request"}
    api.fail(faults.status(400, body))
    findings = ask(api, TWEETDOCK_X_QUERY="cats or dogs")
    found = only(findings, "x query")
    assert "Ambiguous use of or" in found.says
    assert found.cure.startswith("change TWEETDOCK_X_QUERY")
    assert only(findings, "x credentials").verdict is PASS


def test_posts_that_come_all_the_same_are_told_with_their_price(api: XApi) -> None:
    post = make_post(round(api.clock() * 1000) - 60_000, 1)
    data = {"data": [post, post | {"id": str(int(post["id"]) - 1)}], "meta": {"result_count": 2}}
    api.fail(faults.Changed(lambda _: data))
    findings = check(settings_of(api))
    found = only(findings, "x credentials")
    assert found.verdict is WARN
    assert "sent 2 posts" in found.says
    assert "$0.010" in found.says


@pytest.mark.parametrize(
    ("skew", "verdict", "says"),
    [
        (1.0, PASS, "agrees with X's"),
        (40.0, WARN, "40 s behind X's"),
        (-600.0, WARN, "10 min ahead of X's"),
        (-20 * 86_400.0, FAIL, "20 days ahead of X's"),
    ],
)
def test_a_wrong_clock_is_told_by_how_much(
    api: XApi, skew: float, verdict: Verdict, says: str
) -> None:
    api.skew_seconds = skew
    found = only(ask(api), "x clock")
    assert (found.verdict, says in found.says) == (verdict, True), found
    assert ("timedatectl set-ntp true" in found.cure) == (verdict is not PASS)


def test_a_limit_that_is_nearly_used_up_is_a_warning(api: XApi) -> None:
    api.rate.limit = 4
    found = only(ask(api), "x limit")
    assert found.verdict is WARN
    assert "3 searches" in found.says


def test_silence_ends_in_time(api: XApi) -> None:
    api.fail_always(faults.hang())
    findings = probe(Settings.from_env(settings_of(api)), answer_seconds=0.3)
    found = only(list(findings), "x reach")
    assert (found.verdict, "does not answer in time" in found.says) == (FAIL, True)
    assert "try to reach it from another machine" in found.cure
    api.heal()


def test_a_limit_that_ends_in_a_far_year_hides_nothing_else(api: XApi) -> None:
    api.rate.reset = 253_402_300_799_000  # milliseconds, where seconds should be
    findings = ask(api)
    assert "names no limit" in only(findings, "x limit").says
    assert only(findings, "x price").verdict is PASS


def test_who_is_not_there_has_one_line_and_the_price_another(api: XApi) -> None:
    api.down()
    reach, price, _ = ask(api)
    assert (reach.thing, reach.verdict, price.thing) == ("x reach", FAIL, "x price")
    assert "refuses the connection" in reach.says
    assert "X_API_URL" in reach.cure


def test_the_proxy_in_between_is_named_without_its_password(
    api: XApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FlakyProxy(int(api.url.rpartition(":")[2])) as proxy:
        address = proxy.url.removeprefix("http://")
        monkeypatch.setenv("HTTP_PROXY", f"http://owner:pass-word-of-mine@{address}")
        findings = ask(api)
        assert not failed(findings)
        assert only(findings, "x reach").says.endswith(f"through the proxy {address}")
        proxy.down()
        findings = ask(api)
    found = only(findings, "x reach")
    assert f"the proxy {address} refuses the connection" in found.says
    assert "check HTTPS_PROXY" in found.cure
    assert "pass-word-of-mine" not in str(findings)


STREAM = {"TWEETDOCK_SOURCES": "x-stream"}


def test_the_streams_rules_are_checked_and_the_stream_is_left_alone(api: XApi) -> None:
    found = only(ask(api, **STREAM), "x-stream rules")
    assert (found.verdict, "no rules of TweetDock" in found.says) == (PASS, True)
    assert "the stream was not opened" in found.says
    now = api.clock()
    api.rules.put("#dockercon", "tweetdock", now)
    assert "1 rule of TweetDock" in only(ask(api, **STREAM), "x-stream rules").says
    api.rules.put("#cats", "mine", now)
    found = only(ask(api, **STREAM), "x-stream rules")
    assert (found.verdict, "1 rule of other programs" in found.says) == (WARN, True)
    assert "an app of its own" in found.cure
    assert not api.stream.is_open
    assert api.rules.posts == 0
    assert {request.path for request in api.others} == {"/2/tweets/search/stream/rules"}


@pytest.mark.parametrize(
    ("fault", "thing", "says", "cure"),
    [
        (faults.client_forbidden(), "x-stream account", "does not let this app stream", "project"),
        (faults.rate_limited(60), "x-stream limit", "is used up", "another program"),
        (faults.html_200(), "x-stream reach", "not with JSON", "try again"),
    ],
)
def test_a_stream_that_is_refused_has_its_own_line(
    api: XApi, fault: faults.Status, thing: str, says: str, cure: str
) -> None:
    api.other_faults.append(fault)
    findings = ask(api, **STREAM)
    found = only(findings, thing)
    assert (says in found.says, cure in found.cure) == (True, True), found
    assert only(findings, "x credentials").verdict is PASS


def test_accounts_alone_are_a_query_too(api: XApi) -> None:
    env = STREAM | {"TWEETDOCK_HASHTAGS": "", "TWEETDOCK_FOLLOW": "@docker:following"}
    assert "from:docker" in only(ask(api, **env), "x query").says


@pytest.mark.parametrize(
    ("daily", "price", "verdict", "says"),
    [
        ("", "0.005", WARN, "a day has no limit"),
        ("8", "0.005", PASS, "1,600 posts"),
        ("0.5", "0.005", WARN, "100 posts: soon used up"),
        ("", "0", PASS, "price of a post is set to 0"),
    ],
)
def test_the_price_of_posts_is_told(
    api: XApi, daily: str, price: str, verdict: Verdict, says: str
) -> None:
    env = {"TWEETDOCK_X_DAILY_BUDGET_USD": daily, "TWEETDOCK_X_PRICE_PER_POST": price}
    found = only(ask(api, **env), "x price")
    assert (found.verdict, says in found.says) == (verdict, True), found


def echo(message: str) -> faults.Status:
    return faults.status(400, {"errors": [{"message": message}], "title": "Invalid Request"})


ECHOES: list[Callable[[str], faults.Fault]] = [
    lambda token: echo(f"Authorization: Bearer {token} is odd"),
    lambda token: echo("." * (295 - len(token) // 2) + token),  # what is said is cut off
    lambda token: echo(f"got {token!r} and {token.upper()}"),
    lambda token: echo(f"https://api.x.com/?token={token.replace('%', '%25')}"),
    lambda token: faults.redirect(f"http://127.0.0.1:1/login?token={token}"),
    lambda token: faults.redirect(f"http://[{token}"),
    lambda token: faults.status(403, {"detail": token, "title": token, "type": token}),
    lambda token: faults.status(403, {"title": "SpendCap", "reset_date": token}),
    lambda token: faults.status(503, token),
    lambda token: faults.status(200, {"meta": {"next_token": token}, "data": [token]}),
]


@pytest.mark.parametrize("token", ["a-secret-of-mine-AAAAAAAAAAAAAAAA", ODD])
@pytest.mark.parametrize("number", range(len(ECHOES)))
def test_no_secret_is_told_whatever_x_sends_back(api: XApi, token: str, number: int) -> None:
    api.bearer = token
    fault = ECHOES[number](token)
    assert isinstance(fault, faults.Status)
    api.fail_always(fault)
    api.other_faults.append(fault)
    env = {"TWEETDOCK_SOURCES": "x,x-stream", "X_BEARER_TOKEN": token}
    findings = check(settings_of(api, **env))
    told = " ".join(finding.says + finding.cure for finding in findings).casefold()
    assert findings
    assert token.casefold()[:12] not in told
    assert repr(token)[1:13].casefold() not in told
