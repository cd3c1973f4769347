"""The stand-in of X's recent search, seen through real tweepy over real loopback HTTP."""

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import tweepy
from requests.adapters import HTTPAdapter
from standins import x_faults as faults
from standins import x_openapi, x_search
from standins.x_api import OAuth1Keys, XApi, make_post, shifted
from standins.x_posts import Post, milliseconds, snowflake

TWITTER = "https://api.twitter.com"
NOW = 1_790_000_000.5
NOW_MS = int(NOW * 1000)
KEYS = OAuth1Keys("consumer-key", "consumer-secret", "12-access", "access-secret")
SINCE = snowflake(NOW_MS - 3_600_000)
needs_description = pytest.mark.skipif(
    x_openapi.description_file() is None,
    reason=f"{x_openapi.FOLDER} names no folder with X's OpenAPI description",
)


class Moved(HTTPAdapter):
    """Sends what is meant for Twitter to the stand-in, and never waits for ever."""

    def __init__(self, url: str, timeout: float) -> None:
        super().__init__()
        self._url = url
        self._timeout = timeout

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        request.url = (request.url or "").replace(TWITTER, self._url)
        return super().send(request, *args, **kwargs | {"timeout": self._timeout})


class MovedSession(requests.Session):
    """Moves the request before it is signed."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs["timeout"] = 5
        return super().request(method, url.replace(TWITTER, self._url), *args, **kwargs)


class Asker:
    """A tweepy client of one stand-in."""

    def __init__(self, api: XApi, timeout: float = 5, bearer: str = "a-bearer-token") -> None:
        self.client = tweepy.Client(bearer, return_type=requests.Response)
        self.client.session.mount(TWITTER, Moved(api.url, timeout))

    def response(self, query: str = "#dockercon", **params: Any) -> requests.Response:
        answer = self.client.search_recent_tweets(query, **params)
        assert isinstance(answer, requests.Response)
        return answer

    def ids(self, query: str = "#dockercon", **params: Any) -> list[str]:
        payload = self.response(query, **params).json()
        return [post["id"] for post in payload.get("data", ())]

    def __call__(self, query: str = "#dockercon", **params: Any) -> dict[str, Any]:
        payload: dict[str, Any] = self.response(query, **params).json()
        return payload

    def refusal(self, query: str = "#dockercon", **params: Any) -> str:
        with pytest.raises(tweepy.BadRequest) as caught:
            self.response(query, **params)
        return str(caught.value.api_messages[0])


@pytest.fixture
def api() -> Iterator[XApi]:
    with XApi(now=lambda: NOW) as running:
        yield running


@pytest.fixture
def ask(api: XApi) -> Iterator[Asker]:
    asker = Asker(api)
    with asker.client.session:
        yield asker


@pytest.fixture
def impatient(api: XApi) -> Iterator[Asker]:
    asker = Asker(api, timeout=0.2)
    with asker.client.session:
        yield asker


def minutes_ago(minutes: float) -> int:
    return NOW_MS - round(minutes * 60_000)


def raw(api: XApi, **params: str) -> requests.Response:
    """Ask as no library would."""
    bearer = {"Authorization": f"Bearer {api.bearer}"}
    url = api.url + x_search.PATH
    return requests.get(url, {"query": "#dockercon"} | params, headers=bearer, timeout=5)


def raw_in(session: requests.Session) -> int:
    """Ask as no library would, in a session that is already there."""
    bearer = {"Authorization": "Bearer a-bearer-token"}
    return session.get(TWITTER + x_search.PATH, params={"query": "#a"}, headers=bearer).status_code


def in_background(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Start work in a thread; the list gets its result or its exception."""
    ended: list[object] = []

    def run() -> None:
        try:
            ended.append(work())
        except Exception as error:  # noqa: BLE001 - whatever it was, the test looks at it
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, ended


def test_a_search_finds_a_tags_posts_newest_first(api: XApi, ask: Asker) -> None:
    old, new = make_post(minutes_ago(9), 1), make_post(minutes_ago(3), 2, tag="DockerCon")
    api.add(new, old, make_post(minutes_ago(5), 3, tag="other"))
    assert ask() == {
        "data": [
            {name: post[name] for name in ("id", "text", "edit_history_tweet_ids")}
            for post in (new, old)
        ],
        "meta": {"newest_id": new["id"], "oldest_id": old["id"], "result_count": 2},
    }
    (request,) = api.requests
    assert request.params == {"query": "#dockercon"}
    assert (request.time, request.status, request.posts_returned) == (NOW, 200, 2)
    assert api.posts == [old, api.posts[1], new]


def test_tweepys_own_models_read_the_answer(api: XApi, ask: Asker) -> None:
    api.add(make_post(minutes_ago(2), 42, retweet=True))
    ask.client.return_type = tweepy.Response
    response = ask.client.search_recent_tweets(
        "#dockercon",
        tweet_fields=["author_id", "created_at", "entities", "referenced_tweets"],
        expansions="author_id",
    )
    (post,) = response.data
    assert post.author_id == 42
    assert post.created_at == datetime.fromtimestamp(minutes_ago(2) // 1000, UTC)
    assert post.referenced_tweets[0].type == "retweeted"
    assert response.includes["users"][0].id == 42


def test_pages_stay_in_place_while_posts_arrive(api: XApi, ask: Asker) -> None:
    posts = [make_post(minutes_ago(20), 1, sequence=number) for number in range(25)]
    api.add(*posts)
    found: list[str] = []
    token, pages = None, 0
    while pages == 0 or token:
        payload = ask(since_id=SINCE, next_token=token)
        found += [post["id"] for post in payload["data"]]
        token, pages = payload["meta"].get("next_token"), pages + 1
        api.add(make_post(minutes_ago(1), 2, sequence=pages))
    assert found == [post["id"] for post in reversed(posts)]
    assert pages == 3
    assert api.posts_read == 25


def test_ids_bound_a_search_exclusively(api: XApi, ask: Asker) -> None:
    a, b, c = (make_post(minutes_ago(minutes), 1) for minutes in (3, 2, 0))
    api.add(a, b, c)
    assert ask.ids(since_id=a["id"]) == [c["id"], b["id"]]
    assert ask.ids(since_id=a["id"], until_id=c["id"]) == [b["id"]]


def test_times_bound_a_search_from_the_start_to_before_the_end(api: XApi, ask: Asker) -> None:
    start = datetime.fromtimestamp(NOW_MS // 1000 - 600, UTC)
    at_ms = int(start.timestamp()) * 1000
    first, last = make_post(at_ms, 1), make_post(at_ms + 59_999, 1)
    api.add(make_post(at_ms - 1, 1), first, last, make_post(at_ms + 60_000, 1))
    found = ask.ids(start_time=start, end_time=start + timedelta(seconds=60))
    assert found == [last["id"], first["id"]]


def test_the_last_half_minute_shows_only_when_bounds_are_given(api: XApi, ask: Asker) -> None:
    fresh = make_post(NOW_MS - 5_000, 1)
    api.add(fresh)
    assert ask() == {"meta": {"result_count": 0}}
    assert ask.ids(since_id=SINCE) == [fresh["id"]]
    api.empty_data_list = True
    assert ask() == {"data": [], "meta": {"result_count": 0}}


def test_a_post_is_found_from_when_it_is_indexed() -> None:
    clock = [NOW]
    with XApi(now=lambda: clock[0]) as api:
        ask = Asker(api)
        late = make_post(minutes_ago(1), 1) | {"_indexed_ms": NOW_MS + 10_000}
        future = make_post(NOW_MS + 5_000, 1)
        api.add(late, future)
        seen = []
        for clock[0] in (NOW, NOW + 5, NOW + 10):
            seen.append(ask.ids(since_id=SINCE))
        ask.client.session.close()
    assert seen == [[], [future["id"]], [future["id"], late["id"]]]


def test_an_edited_post_shows_its_latest_version_only(api: XApi, ask: Asker) -> None:
    first = make_post(minutes_ago(9), 1)
    second = make_post(minutes_ago(8), 1, edits_of=first)
    api.add(first, second)
    (post,) = ask(since_id=SINCE)["data"]
    assert post["edit_history_tweet_ids"] == [first["id"], second["id"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("#dockercon", {"own", "retweet"}),
        ("#DOCKERCON -is:retweet", {"own"}),
        ("(#dockercon OR #Ünïcode) -is:retweet", {"own", "unicode"}),
        ("#dockercon OR #ünïcode", {"own", "retweet", "unicode"}),
        ("(#docker)", {"textual"}),
        ("from:someone lang:en -is:retweet", {"own", "unicode", "textual"}),
    ],
)
def test_a_query_finds_what_it_says(api: XApi, ask: Asker, query: str, found: set[str]) -> None:
    posts = {
        "own": make_post(minutes_ago(5), 1),
        "retweet": make_post(minutes_ago(4), 1, retweet=True),
        "unicode": make_post(minutes_ago(3), 1, tag="ÜNÏcode"),
        "textual": make_post(minutes_ago(2), 1) | {"text": "on #Docker!", "entities": {}},
    }
    api.add(*posts.values())
    names = {post["id"]: name for name, post in posts.items()}
    assert {names[post_id] for post_id in ask.ids(query)} == found


def test_the_spelling_of_the_question_decides_that_of_the_answer(api: XApi, ask: Asker) -> None:
    api.add(make_post(minutes_ago(5), 1, retweet=True))
    old = {"id", "text", "edit_history_tweet_ids", "referenced_tweets"}
    new = {"id", "text", "edit_history_post_ids", "referenced_posts"}
    new_names = {"post.fields": "referenced_posts"}
    assert ask(tweet_fields="referenced_tweets")["data"][0].keys() == old
    assert raw(api, **new_names).json()["data"][0].keys() == new
    api.vocabulary = "post"
    assert ask(tweet_fields="referenced_tweets")["data"][0].keys() == new
    api.vocabulary = "legacy"
    assert raw(api, **new_names).json()["data"][0].keys() == old


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"colour": "red"}, "The query parameter [colour] is not one of"),
        ({"query": ""}, "The `query` query parameter can not be empty"),
        ({"query": "#" + "a" * 512}, "longer than 512"),
        ({"query": "-is:retweet"}, "at least one positive"),
        ({"max_results": "9"}, "[9] is not between 10 and 100"),
        ({"max_results": "101"}, "[101] is not between 10 and 100"),
        ({"since_id": "12a"}, "[12a] does not match"),
        ({"until_id": "1" * 20}, "does not match"),
        ({"start_time": "yesterday"}, "not a valid RFC3339"),
        ({"start_time": "2026-13-01T00:00:00Z"}, "not a valid RFC3339"),
        ({"next_token": "nonsense"}, "Invalid 'next_token'"),
        ({"next_token": "a", "pagination_token": "b"}, "At most one"),
        ({"sort_order": "random"}, "[random] is not one of"),
        ({"tweet.fields": "author_id,shoe_size"}, "[shoe_size] is not one of"),
        ({"post.fields": "referenced_tweets"}, "[referenced_tweets] is not one of"),
    ],
)
def test_a_wrong_parameter_is_refused(api: XApi, params: dict[str, str], message: str) -> None:
    answer = raw(api, **params)
    assert answer.status_code == 400
    assert answer.json()["title"] == "Invalid Request"
    assert message in answer.json()["errors"][0]["message"]
    assert answer.headers["x-rate-limit-remaining"] == "449"


def test_ids_and_times_are_refused_together(ask: Asker) -> None:
    end = datetime.fromtimestamp(NOW - 60, UTC)
    assert ask.refusal(since_id=SINCE, end_time=end) == (
        "Invalid use of 'since_id' or 'until_id' in conjunction with 'start_time' or 'end_time'."
    )


def test_a_time_too_near_or_too_far_is_refused(ask: Asker) -> None:
    def at(ago: float) -> datetime:
        return datetime.fromtimestamp(NOW - ago, UTC)

    near = "must be a minimum of 10 seconds prior to the request time."
    assert ask.refusal(end_time=at(9)).endswith(near)
    assert ask.refusal(start_time=at(-60)).endswith(near)
    assert "must be on or after" in ask.refusal(start_time=at(7 * 86400 + 60))
    assert "must be after 'start_time'" in ask.refusal(start_time=at(60), end_time=at(120))


def test_a_since_id_of_last_week_is_refused_in_xs_words() -> None:
    oldest = 2083157183716917248
    now = milliseconds(oldest) / 1000 + 7 * 86400
    with XApi(now=lambda: now) as api:
        ask = Asker(api)
        assert ask.refusal(since_id=oldest - 1) == (
            "'since_id' must be a tweet id created after 2026-07-31T11:45Z."
            " Please use a 'since_id' that is larger than 2083157183716917248"
        )
        ask.client.session.close()


def test_a_wrong_token_is_unauthorized_and_told_no_limit(api: XApi) -> None:
    ask = Asker(api, bearer="another")
    with ask.client.session, pytest.raises(tweepy.Unauthorized) as caught:
        ask.response()
    assert caught.value.response.json()["status"] == 401
    assert "x-rate-limit-limit" not in caught.value.response.headers


@pytest.mark.parametrize(
    ("secret", "skew", "code"),
    [("access-secret", 0, 200), ("wrong-secret", 0, 401), ("access-secret", 3600, 401)],
)
def test_a_users_signature_is_verified(secret: str, skew: float, code: int) -> None:
    with XApi(oauth1=KEYS, skew_seconds=skew) as api, MovedSession(api.url) as session:
        client = tweepy.Client(
            consumer_key=KEYS.consumer_key,
            consumer_secret=KEYS.consumer_secret,
            access_token=KEYS.access_token,
            access_token_secret=secret,
            return_type=requests.Response,
        )
        client.session.close()
        client.session = session
        with contextlib.suppress(tweepy.Unauthorized):
            client.search_recent_tweets("(#a OR #b) -is:retweet", user_auth=True)
        assert [request.status for request in api.requests] == [code]


def test_a_signature_counts_only_where_users_may_ask(api: XApi) -> None:
    signed = {"Authorization": 'OAuth oauth_consumer_key="consumer-key"'}
    answer = requests.get(api.url + x_search.PATH, headers=signed, timeout=5)
    assert answer.status_code == 401


def test_the_limit_is_told_and_kept_until_its_reset() -> None:
    clock = [NOW]
    with XApi(limit=2, now=lambda: clock[0]) as api:
        ask = Asker(api)
        left = [ask.response().headers["x-rate-limit-remaining"] for _ in range(2)]
        with pytest.raises(tweepy.TooManyRequests) as caught:
            ask.response()
        clock[0] = caught.value.reset_time
        again = ask.response().headers
        ask.client.session.close()
    assert left == ["1", "0"]
    assert caught.value.reset_time == int(NOW) + 900
    assert caught.value.response.json()["title"] == "Too Many Requests"
    assert again["x-rate-limit-remaining"] == "1"
    assert [request.status for request in api.requests] == [200, 200, 429, 200]


def test_xs_clock_may_differ_from_ours(api: XApi, ask: Asker) -> None:
    api.skew_seconds = -3600
    date = parsedate_to_datetime(ask.response().headers["Date"])
    assert date.timestamp() == int(NOW) - 3600
    end = datetime.fromtimestamp(NOW - 60, UTC)
    assert "minimum of 10 seconds" in ask.refusal(end_time=end)


def test_an_answer_is_packed_for_who_can_unpack_it(api: XApi, ask: Asker) -> None:
    assert ask.response().headers["content-encoding"] == "gzip"
    headers = {"Accept-Encoding": "identity", "Authorization": "Bearer a-bearer-token"}
    url = api.url + x_search.PATH
    plain = requests.get(url, {"query": "#a"}, headers=headers, timeout=5)
    assert "content-encoding" not in plain.headers
    assert plain.json() == {"meta": {"result_count": 0}}


def test_other_paths_are_not_found(api: XApi, ask: Asker) -> None:
    with pytest.raises(tweepy.NotFound):
        ask.client.get_tweet(1)
    assert api.requests[0].path == "/2/tweets/1"


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (faults.rate_limited(), 429, "Too Many Requests"),
        (faults.rate_limited_by_code(), 429, "Rate limit exceeded"),
        (faults.usage_capped(), 429, "UsageCapExceeded"),
        (faults.too_many_connections(), 429, "TooManyConnections"),
        (faults.credits_depleted(), 402, "CreditsDepleted"),
        (faults.credits_depleted("newer"), 402, "Payment Required"),
        (faults.client_forbidden(), 403, "client-not-enrolled"),
        (faults.spend_cap_reached(), 403, "reset_date"),
        (faults.unauthorized(), 401, "Unauthorized"),
        (faults.service_unavailable(), 503, "Service Unavailable"),
        (faults.html_503(), 503, "<html>"),
        (faults.html_200(), 200, "<html>"),
        (faults.garbage(), 200, "neither"),
        (faults.status(418, b"tea"), 418, "tea"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refusal_hits_one_request(api: XApi, fault: faults.Fault, code: int, words: str) -> None:
    api.fail(fault)
    answer = raw(api)
    assert (answer.status_code, words in answer.text) == (code, True)
    told = code == 403 or words == "neither"
    assert ("x-rate-limit-limit" in answer.headers) is told
    assert raw(api).status_code == 200
    assert [request.status for request in api.requests] == [code, 200]


def test_a_spent_limit_may_tell_a_reset_of_any_time(api: XApi, ask: Asker) -> None:
    api.fail(faults.rate_limited(reset_in=-30))
    with pytest.raises(tweepy.TooManyRequests) as caught:
        ask.response()
    assert caught.value.reset_time == round(NOW - 30)
    assert caught.value.response.headers["x-rate-limit-remaining"] == "0"


def test_a_redirect_is_followed_elsewhere(api: XApi, ask: Asker) -> None:
    with XApi() as portal:
        portal.fail(faults.html_200())
        api.fail(faults.redirect(portal.url))
        assert "hotel" in ask.response().text
        assert [request.status for request in portal.requests] == [200]


def test_a_standing_fault_stays_until_healed(api: XApi, ask: Asker) -> None:
    api.fail_always(faults.service_unavailable())
    api.fail(faults.unauthorized())
    with pytest.raises(tweepy.Unauthorized):
        ask.response()
    for _ in range(2):
        with pytest.raises(tweepy.TwitterServerError):
            ask.response()
    api.heal()
    assert ask.response().ok


def test_partial_errors_stand_beside_valid_posts(api: XApi, ask: Asker) -> None:
    api.add(make_post(minutes_ago(5), 1))
    api.fail(faults.partial_errors())
    payload = ask()
    assert len(payload["data"]) == 1
    assert payload["errors"][0]["resource_type"] == "user"


@pytest.mark.parametrize("count", [0, 1, 5])
def test_bad_posts_stand_between_the_good(api: XApi, ask: Asker, count: int) -> None:
    posts = [make_post(minutes_ago(5), 1, sequence=number) for number in range(count)]
    api.add(*posts)
    api.fail(faults.bad_posts())
    data = ask(tweet_fields="author_id")["data"]
    assert len(data) == count + 4
    assert "a post" in data
    assert any(isinstance(post, dict) and "id" not in post for post in data)
    ids = [post.get("id") for post in data if isinstance(post, dict) and post.get("author_id")]
    assert [one for one in ids if one in {post["id"] for post in posts}] == [
        post["id"] for post in reversed(posts)
    ]
    assert api.posts_read == count


@pytest.mark.parametrize("empty", [False, True])
def test_tokens_may_never_end(api: XApi, ask: Asker, *, empty: bool) -> None:
    post = make_post(minutes_ago(5), 1)
    api.add(post)
    api.fail_always(faults.endless_tokens(empty=empty))
    tokens: list[str | None] = [None]
    for _ in range(3):
        payload = ask(since_id=SINCE, next_token=tokens[-1])
        assert [one["id"] for one in payload.get("data", ())] == ([] if empty else [post["id"]])
        tokens.append(payload["meta"]["next_token"])
    assert len(set(tokens)) == 4


def test_a_hanging_request_times_out_and_is_not_billed(
    api: XApi, ask: Asker, impatient: Asker
) -> None:
    api.add(make_post(minutes_ago(5), 1))
    api.fail(faults.hang())
    with pytest.raises(requests.exceptions.ReadTimeout):
        impatient.response()
    api.heal()
    assert ask.response().ok
    assert [request.status for request in api.requests] == [0, 200]
    assert api.posts_read == 1


def test_a_hanging_request_is_answered_after_healing(api: XApi, ask: Asker) -> None:
    api.fail_always(faults.hang())
    thread, ended = in_background(ask)
    assert api.wait_for_requests(1, timeout=5)
    assert not api.wait_for_requests(2, timeout=0.01)
    assert api.requests[0].status == 0
    api.heal()
    thread.join(5)
    assert ended == [{"meta": {"result_count": 0}}]
    assert api.requests[0].status == 200


@pytest.mark.parametrize(
    "fault",
    [faults.hang(), faults.drip(5, "headers"), faults.drip(5, "body")],
    ids=["hang", "drip of headers", "drip of the body"],
)
def test_closing_ends_what_is_under_way(api: XApi, ask: Asker, fault: faults.Fault) -> None:
    api.fail_always(fault)
    thread, ended = in_background(ask)
    assert api.wait_for_requests(1, timeout=5)
    began = time.monotonic()
    api.close()
    thread.join(5)
    assert time.monotonic() - began < 3
    assert isinstance(ended[0], requests.exceptions.RequestException)


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_drip_is_valid_and_slow(api: XApi, ask: Asker, part: Any) -> None:
    api.fail(faults.drip(400, part))
    began = time.monotonic()
    assert ask() == {"meta": {"result_count": 0}}
    assert time.monotonic() - began > 0.02


def test_healing_lets_a_drip_run(api: XApi, ask: Asker) -> None:
    api.fail(faults.drip(1, "headers"))
    thread, ended = in_background(ask)
    assert api.wait_for_requests(1, timeout=5)
    api.heal()
    thread.join(5)
    assert ended == [{"meta": {"result_count": 0}}]


def test_a_reset_and_a_cut_are_connection_errors(api: XApi, ask: Asker) -> None:
    api.fail(faults.reset(), faults.cut(5))
    with pytest.raises(requests.exceptions.ConnectionError, match="reset by peer"):
        ask.response()
    with pytest.raises(requests.exceptions.RequestException, match="reset by peer"):
        ask.response()
    assert ask.response().ok
    assert [request.status for request in api.requests] == [0, 200, 200]


def test_down_refuses_and_up_listens_on_the_same_port(api: XApi, ask: Asker) -> None:
    assert ask.response().ok
    for _ in range(3):
        api.down()
        with pytest.raises(requests.exceptions.ConnectionError, match="refused"):
            ask.response()
        api.up()
        assert ask.response().ok


def test_a_connection_serves_many_requests(api: XApi, ask: Asker) -> None:
    api.fail(faults.partial_errors(), faults.rate_limited(), faults.garbage())
    answers = [raw_in(ask.client.session) for _ in range(5)]
    assert answers == [200, 429, 200, 200, 200]
    assert api.connections == 1


def test_many_may_ask_and_add_at_once(api: XApi) -> None:
    def work(author: int) -> None:
        asker = Asker(api)
        with asker.client.session:
            for number in range(10):
                api.add(make_post(minutes_ago(5), author, sequence=100 * author + number))
                asker.response(max_results=10)

    threads = [in_background(functools.partial(work, author)) for author in range(8)]
    for thread, _ in threads:
        thread.join(10)
    assert [ended for _, ended in threads] == [[None]] * 8
    assert len(api.requests) == 80
    assert len(api.posts) == 80
    assert api.rate.used == 80


def test_shifted_posts_keep_order_and_distances() -> None:
    edited = make_post(NOW_MS - 10_000, 2)
    posts = [
        make_post(NOW_MS - 20_000, 1),
        edited,
        make_post(NOW_MS - 10_000, 3, sequence=7),
        make_post(NOW_MS, 2, edits_of=edited) | {"_indexed_ms": NOW_MS + 2_000},
    ]
    copies = shifted(reversed(posts), end_ms=NOW_MS + 86_400_123, compress=2)
    end = NOW_MS + 86_400_123
    assert [milliseconds(post["id"]) - end for post in copies] == [-10_000, -5_000, -5_000, 0]
    assert [post["author_id"] for post in copies] == ["1", "2", "3", "2"]
    assert len({post["id"] for post in copies}) == 4
    assert copies[3]["edit_history_tweet_ids"] == [copies[1]["id"], copies[3]["id"]]
    assert copies[3]["_indexed_ms"] == end + 1_000
    assert copies[3]["created_at"] == datetime.fromtimestamp(end // 1000, UTC).strftime(
        "%Y-%m-%dT%H:%M:%S.000Z"
    )
    assert posts[0] == make_post(NOW_MS - 20_000, 1)
    assert shifted([], end_ms=0) == []


def test_it_runs_as_a_program(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl"
    old = [make_post(NOW_MS - 10**10 + ms, ms) for ms in range(3)]
    file.write_text("".join(json.dumps(post) + "\n" for post in old), "utf-8")
    program = Path(__file__).parent / "standins" / "x_api.py"
    command = [sys.executable, str(program), "--posts", str(file), "--ends-in", "-60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            bearer = {"Authorization": "Bearer a-bearer-token"}
            query = {"query": "#dockercon"}
            answer = requests.get(url + x_search.PATH, query, headers=bearer, timeout=5)
            assert answer.json()["meta"]["result_count"] == 3
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0


@needs_description
def test_every_parameter_it_accepts_is_described_by_x() -> None:
    assert x_search.PARAMETERS - {"tweet.fields"} <= x_openapi.parameters().keys()
    known = x_openapi.description()["components"]["schemas"]["Post"]["properties"].keys()
    assert known >= x_search.POST_FIELDS


@needs_description
@pytest.mark.parametrize("vocabulary", ["legacy", "post"])
@pytest.mark.parametrize("fault", [None, faults.partial_errors(), faults.endless_tokens()])
def test_its_answers_are_as_x_describes_them(
    api: XApi, ask: Asker, vocabulary: Any, fault: faults.Fault | None
) -> None:
    api.vocabulary = vocabulary
    api.add(*(make_post(minutes_ago(9), 1, sequence=n, retweet=n % 2 == 0) for n in range(12)))
    if fault:
        api.fail(fault)
    fields = ["author_id", "created_at", "entities", "referenced_tweets"]
    x_openapi.check_answer(ask(since_id=SINCE, tweet_fields=fields, expansions="author_id"))
    x_openapi.check_answer(ask("#nothing"))
    for request in api.requests:
        x_openapi.check_request(request.params)


@needs_description
def test_the_check_notices_what_x_does_not_describe() -> None:
    good: Post = {"id": "1", "text": ""}
    nonsense: list[object] = [
        {"data": [good | {"author_id": None}]},
        {"data": [good | {"shoe_size": "43"}]},
        {"data": [good | {"created_at": 1}]},
        {"meta": {"result_count": "0"}},
        {"dat": []},
        [],
    ]
    for bad in nonsense:
        with pytest.raises(AssertionError):
            x_openapi.check_answer(bad)
    for wrong in (
        {"query": "#a", "max_results": "5"},
        {"query": "#a", "max_results": "x"},
        {"query": "#a", "since_id": "x"},
        {"query": "#a", "colour": "red"},
        {"query": "#a", "tweet.fields": "shoe_size"},
        {"query": "#a", "expansions": "shoe_size"},
        {"query": "#a", "start_time": "2026-01-01T00:00:00Z", "since_id": "1"},
    ):
        with pytest.raises(AssertionError):
            x_openapi.check_request(wrong)


@needs_description
def test_a_recorded_day_can_be_read_page_by_page() -> None:
    day = Path(os.environ[x_openapi.FOLDER]) / "x-day.jsonl"
    posts = [json.loads(line) for line in day.read_text("utf-8").splitlines()]
    with XApi(shifted(posts, NOW_MS - 1, compress=24), now=lambda: NOW) as api:
        ask = Asker(api)
        found: list[str] = []
        token = None
        while token or not found:
            payload = ask(
                "#dockercon -is:retweet",
                since_id=SINCE - (60_000 << 22),
                max_results=100,
                next_token=token,
            )
            x_openapi.check_answer(payload)
            found += [post["id"] for post in payload["data"]]
            token = payload["meta"].get("next_token")
        ask.client.session.close()
    assert found == sorted(set(found), reverse=True)
    assert len(found) == sum("referenced_tweets" not in post for post in posts)
    assert api.posts_read == len(found)
