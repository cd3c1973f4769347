"""The doctor's lines and JSON, its round with a time limit, and secrets kept out of it."""

import json
import threading
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.doctor.round import (
    LEAST_PIECE,
    Check,
    Finding,
    Redactor,
    Report,
    Verdict,
    as_json,
    go_round,
    worst,
)
from tweetdock.settings.gauge import SETTINGS

PASS, WARN, FAIL = Verdict
WELL = Finding("state", PASS, "all there")
SECRETS = [setting.name for setting in SETTINGS if setting.secret]
words = st.lists(st.text("abcµ:/#-", min_size=1, max_size=12), min_size=1, max_size=30)
findings = st.builds(
    Finding, st.just("x reach"), st.sampled_from(Verdict), words.map(" ".join), words.map(" ".join)
)


def check(thing: str, *found: Finding) -> Check:
    return Check(thing, lambda: iter(found))


@given(findings, st.integers(50, 120))
def test_no_word_is_lost_and_no_line_is_too_long(finding: Finding, width: int) -> None:
    lines = Report(["x reach"], width).lines(finding)
    told = f"{finding.verdict} x reach {finding.says} -> {finding.cure}"
    assert " ".join(lines).split() == told.split()
    assert all(len(line) <= width for line in lines)


@given(st.lists(findings, max_size=5))
def test_the_worst_finding_is_the_verdict_and_json_has_them_all(found: list[Finding]) -> None:
    said = json.loads(json.dumps(as_json(found)))
    assert [Finding(**one) for one in said["checks"]] == found
    verdicts = {finding.verdict for finding in found}
    expected = FAIL if FAIL in verdicts else WARN if WARN in verdicts else PASS
    assert said["verdict"] == worst(found) == expected


def test_sentences_and_cures_stand_in_columns() -> None:
    sheet = Report(["state", "page"], 60)
    finding = Finding("page", FAIL, "another program is there " * 3, "choose another address " * 3)
    assert sheet.lines(finding) == [
        "fail  page   another program is there another program is",
        "             there another program is there",
        "             -> choose another address choose another",
        "                address choose another address",
    ]


def test_a_path_is_never_broken() -> None:
    path = "/home/pi/" + "very-long-" * 12 + "/state.db"
    lines = Report(["state"], 60).lines(Finding("state", PASS, f"saved at {path} now"))
    assert any(path in line for line in lines)


def test_colours_are_codes_around_the_verdict_alone() -> None:
    plain, coloured = (Report(["state"], 60, coloured=coloured) for coloured in (False, True))
    (line,) = coloured.lines(WELL)
    assert line == "\x1b[32mpass\x1b[0m" + plain.lines(WELL)[0].removeprefix("pass")


def test_foreign_words_cannot_tear_a_line() -> None:
    finding = Finding("page", WARN, "it calls itself \x1b[2J\nroot")
    assert Report(["page"], 80).lines(finding) == ["warn  page  it calls itself [2J root"]
    assert as_json([finding])["checks"][0]["says"] == "it calls itself  [2J root"


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ([PASS], "All is well."),
        ([PASS, WARN], "No problems, 1 warning."),
        ([WARN, WARN], "No problems, 2 warnings."),
        ([PASS, FAIL], "1 problem."),
        ([FAIL, FAIL, WARN], "2 problems, 1 warning."),
    ],
)
def test_the_last_line_sums_up(verdicts: list[Verdict], words: str) -> None:
    found = [Finding("state", verdict, "") for verdict in verdicts]
    assert Report(["state"], 80).sum_up(found) == words


def test_findings_come_in_the_order_of_the_checks_whichever_is_first() -> None:
    second_is_done = threading.Event()

    def slow() -> Iterator[Finding]:
        assert second_is_done.wait(10)
        yield Finding("slow", PASS, "at last")

    def quick() -> Iterator[Finding]:
        yield Finding("quick", PASS, "at once")
        second_is_done.set()

    round_ = go_round([Check("slow", slow), Check("quick", quick)])
    assert [finding.thing for finding in round_] == ["slow", "quick"]


def test_a_finding_is_told_while_others_are_still_looked_for() -> None:
    may_go_on = threading.Event()

    def look() -> Iterator[Finding]:
        yield WELL
        assert may_go_on.wait(10)
        yield Finding("state", WARN, "late")

    found = go_round([Check("state", look)])
    assert next(found) == WELL
    may_go_on.set()
    assert [finding.says for finding in found] == ["late"]


def test_a_look_that_hangs_has_failed_and_hides_nothing() -> None:
    for_ever = threading.Event()

    def hang() -> Iterator[Finding]:
        yield Finding("page", PASS, "so far")
        for_ever.wait()

    try:
        found = list(go_round([Check("page", hang), check("state", WELL)], limit=0.2))
    finally:
        for_ever.set()
    assert [(f.thing, f.verdict) for f in found] == [
        ("page", PASS),
        ("page", FAIL),
        ("state", PASS),
    ]
    assert found[1].says == "no answer within 0.2 s"
    assert found[1].cure


def test_a_look_that_breaks_has_failed_and_does_not_say_what_may_be_secret() -> None:
    def broken() -> Iterator[Finding]:
        yield from ()
        raise ValueError("the token is hunter2")

    first, second = go_round([Check("x", broken), check("state", WELL)])
    assert (first.verdict, first.says) == (FAIL, "the check failed: ValueError")
    assert "bug" in first.cure
    assert second == WELL


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_taken_out_wherever_it_was_repeated(name: str) -> None:
    env = {name: "'mastodon.social=tok%n/EXAMPLE'"}
    finding = Finding("x", FAIL, "HTTP 401: tok%n/EXAMPLE is wrong", "not tok%25n%2FEXAMPLE")
    told = Redactor(env).clean(finding)
    assert told == Finding("x", FAIL, "HTTP 401: ... is wrong", "not ...")


def test_what_stands_before_a_host_is_secret_in_every_setting() -> None:
    env = {"X_API_URL": "https://me:p%40ssword@api.x.com", "HTTPS_PROXY": "http://u:proxypw@gate"}
    says = "https://me:p%40ssword@api.x.com and p@ssword, proxypw, http://other:one@there"
    told = Redactor(env).clean(Finding("x", FAIL, says))
    assert told.says == "https://...@api.x.com and ..., ..., http://...@there"


@pytest.mark.parametrize("name", ["PIGPIO_ADDR", "HTTPS_PROXY", "https_proxy", "X_API_URL"])
def test_a_password_before_a_host_needs_no_slashes_to_be_secret(name: str) -> None:
    told = Redactor({name: "me:pw4444@host"}).clean(
        Finding("servos", FAIL, "me:pw4444@host, pw4444")
    )
    assert told.says == "...@host, ..."
    stranger = Finding("servos", FAIL, "'you:pw5555@host:8888' is no host")
    assert Redactor({}).clean(stranger).says == "'...@host:8888' is no host"


def test_accounts_and_pages_are_no_passwords() -> None:
    env = {
        "TWEETDOCK_FOLLOW": "@docker:following,@golang",
        "TWEETDOCK_MASTODON": "https://fosstodon.org",
        "NOTE": "docker:gopher@golang",
    }
    says = "@docker:following,@golang, https://fosstodon.org/@gopher, 10:30 and docker@golang"
    assert Redactor(env).clean(Finding("x", FAIL, says)).says == says


def test_the_host_before_a_token_is_told() -> None:
    env = {"TWEETDOCK_MASTODON_TOKENS": "mastodon.social=tok-EXAMPLE, hachyderm.io=tok-two-EXAMPLE"}
    says = "mastodon.social and hachyderm.io: tok-EXAMPLE, tok-two-EXAMPLE"
    told = Redactor(env).clean(Finding("mastodon mastodon.social", FAIL, says))
    assert told == Finding(
        "mastodon mastodon.social", FAIL, "mastodon.social and hachyderm.io: ..., ..."
    )


visible = st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=".")
others = st.text(st.characters(max_codepoint=0x11F), max_size=20)


@given(st.text(visible, min_size=12, max_size=60), others, others, st.data())
def test_a_secret_is_never_told_not_even_a_piece_of_it(
    secret: str, before: str, after: str, data: st.DataObject
) -> None:
    censor = Redactor({"X_BEARER_TOKEN": secret})
    escaped = (json.dumps(secret)[1:-1], repr(secret)[1:-1])
    spellings = (secret, secret.upper(), quote(secret, safe=""), *escaped)
    for spelt in spellings:
        said = before + spelt + after
        first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(said))] * 2)))
        told = censor.clean(Finding("x", FAIL, said[first:last], said)).says.lower()
        pieces = {spelt[n : n + LEAST_PIECE].lower() for n in range(len(spelt) - LEAST_PIECE + 1)}
        assert not [piece for piece in pieces if piece in told]


@given(st.text(visible, min_size=4, max_size=9), others, others)
def test_a_short_secret_is_taken_out_whole(secret: str, before: str, after: str) -> None:
    told = Redactor({"X_BEARER_TOKEN": secret}).clean(Finding("x", FAIL, before + secret + after))
    assert secret not in told.says


@given(st.text(st.sampled_from("abc .-"), max_size=40))
def test_what_has_no_secret_is_told_as_it_is(text: str) -> None:
    censor = Redactor({"X_BEARER_TOKEN": "a-bearer-token-of-mine", "AWS_SESSION_TOKEN": "another"})
    assert censor.clean(Finding("x", FAIL, text)).says == text


def test_secrets_that_lie_over_one_another_leave_nothing_between() -> None:
    env = {"X_BEARER_TOKEN": "abcdef", "X_CONSUMER_KEY": "defghijklmnopq"}
    assert Redactor(env).clean(Finding("x", FAIL, "<abcdefghijklmnopq>")).says == "<...>"


def test_without_secrets_a_finding_stays_as_it_is() -> None:
    assert Redactor({"X_BEARER_TOKEN": "", "TWEETDOCK_HASHTAGS": "state"}).clean(WELL) == WELL
