"""The probe of a Mastodon server: real requests to a stand-in, each trouble with its cure."""

import json
from collections.abc import Callable, Iterator

import pytest
from checking import assert_well_said, check, failed, only
from standins.mastodon import INSTANCE, STREAM, Fault, Mastodon, refusal

from tweetdock.core.finding import Finding, Verdict
from tweetdock.sources.mastodon.probe import probe

PASS, WARN, FAIL = Verdict
ODD = "odd%2Ftoken\"with\\odd'signs&more"


@pytest.fixture
def server() -> Iterator[Mastodon]:
    with Mastodon() as server:
        yield server


def ask(server: Mastodon, token: str | None = None) -> list[Finding]:
    env = {
        "TWEETDOCK_SOURCES": "mastodon",
        "TWEETDOCK_HASHTAGS": "dockercon",
        "TWEETDOCK_MASTODON": server.url,
        "TWEETDOCK_MASTODON_TOKENS": f"{server.host}={token}" if token else "",
    }
    findings = check(env)
    assert_well_said(findings)
    return findings


def test_all_is_well_with_a_token(server: Mastodon) -> None:
    findings = ask(server, server.token)
    assert [(finding.thing, finding.verdict) for finding in findings] == [
        ("mastodon reach", PASS),
        ("mastodon query", PASS),
        ("mastodon clock", PASS),
        ("mastodon limit", PASS),
        ("mastodon credentials", PASS),
        ("mastodon live", PASS),
    ]
    assert "Mastodon 4.5.0, shows #dockercon to everybody" in only(findings, "mastodon query").says
    assert "298 requests" in only(findings, "mastodon limit").says
    assert [request.is_signed for request in server.requests] == [False, False, True]


def test_without_a_token_nothing_is_missed_but_seconds(server: Mastodon) -> None:
    findings = ask(server)
    assert not failed(findings)
    assert "is polled" in only(findings, "mastodon live").says
    assert not server.asked(STREAM)
    assert "mastodon credentials" not in [finding.thing for finding in findings]


def test_a_server_for_its_users_only_wants_a_token(server: Mastodon) -> None:
    server.access = ("authenticated", "authenticated")
    found = only(ask(server), "mastodon credentials")
    assert found.verdict is FAIL
    assert found.says == f"{server.host} shows hashtags only to its users"
    assert f"{server.host}/settings/applications" in found.cure
    assert f"TWEETDOCK_MASTODON_TOKENS={server.host}=..." in found.cure
    findings = ask(server, server.token)
    assert not failed(findings)
    assert "to its users; it is read as your account" in only(findings, "mastodon query").says


def test_one_that_turns_strangers_away_without_a_word_of_it_wants_one_too(
    server: Mastodon,
) -> None:
    server.turns_strangers_away = True
    assert only(ask(server), "mastodon credentials").verdict is FAIL
    assert not failed(ask(server, server.token))


def test_a_token_that_is_not_good_is_told(server: Mastodon) -> None:
    findings = ask(server, "a-token-of-yesterday")
    found = only(findings, "mastodon credentials")
    assert (found.verdict, "does not accept its token (401)" in found.says) == (FAIL, True)
    assert "make a new token" in found.cure
    assert only(findings, "mastodon query").verdict is PASS
    server.fail(None, None, refusal(403, "This action is outside the authorized scopes"))
    found = only(ask(server, server.token), "mastodon credentials")
    assert "outside the authorized scopes" in found.says
    assert "read:statuses" in found.cure


def test_a_feed_of_some_or_of_nobody_is_told(server: Mastodon) -> None:
    server.access = ("public", "disabled")
    found = only(ask(server, server.token), "mastodon query")
    assert (found.verdict, "posts of its own users only" in found.says) == (WARN, True)
    assert "add another server" in found.cure
    server.access = ("disabled", "disabled")
    found = only(ask(server, server.token), "mastodon query")
    assert (found.verdict, found.says) == (FAIL, f"{server.host} has closed its hashtag feed")
    assert "remove it from TWEETDOCK_MASTODON" in found.cure


def test_a_server_of_before_4_0_is_none_the_worse(server: Mastodon) -> None:
    server.fail(refusal(404))
    found = only(ask(server), "mastodon query")
    assert (found.verdict, "Mastodon 3.5.0" in found.says) == (PASS, True)


@pytest.mark.parametrize(
    ("fault", "thing", "says", "cure"),
    [
        (refusal(503), "mastodon reach", "out of order (503)", "try again"),
        (refusal(404), "mastodon reach", "no Mastodon server", "check TWEETDOCK_MASTODON"),
        (refusal(429, "Too many"), "mastodon limit", "is used up", "another program"),
    ],
)
def test_each_refusal_has_its_own_line_and_cure(
    server: Mastodon, fault: Fault, thing: str, says: str, cure: str
) -> None:
    server.fail_always(fault)
    findings = ask(server, server.token)
    found = only(findings, thing)
    assert (says in found.says, cure in found.cure) == (True, True), found
    assert failed(findings) == ([thing] if found.verdict is FAIL else [])


def test_a_server_that_is_not_there_is_told(server: Mastodon) -> None:
    server.down()
    (found,) = ask(server)
    assert (found.verdict, "refuses the connection" in found.says) == (FAIL, True)
    assert "TWEETDOCK_MASTODON" in found.cure


def test_silence_ends_in_time(server: Mastodon) -> None:
    server.fail_always(Fault(hang=True))
    (found,) = probe(server.url, "", "dockercon", poll_seconds=5, answer_seconds=0.3)
    assert (found.thing, found.verdict) == ("mastodon reach", FAIL)
    assert "does not answer in time" in found.says
    assert "try to reach it from another machine" in found.cure
    server.heal()


def test_a_stream_at_another_place_that_is_closed_is_no_harm(server: Mastodon) -> None:
    with Mastodon() as elsewhere:
        server.streaming_url = elsewhere.url.replace("http", "ws")
        elsewhere.token = server.token
        findings = ask(server, server.token)
        assert only(findings, "mastodon live").says == f"{elsewhere.host} streams"
        elsewhere.down()
        findings = ask(server, server.token)
    found = only(findings, "mastodon live")
    assert found.verdict is WARN
    assert "nothing listens there" in found.says
    assert "is polled" in found.cure
    assert not failed(findings)


def test_a_wrong_clock_is_told(server: Mastodon) -> None:
    server.skew_seconds = 3_600
    found = only(ask(server), "mastodon clock")
    assert (found.verdict, "60 min behind" in found.says) == (WARN, True)


def test_a_limit_that_is_nearly_used_up_is_a_warning(server: Mastodon) -> None:
    server.limit = 5
    found = only(ask(server), "mastodon limit")
    assert (found.verdict, "3 requests" in found.says) == (WARN, True)


def test_a_version_is_a_strangers_word(server: Mastodon) -> None:
    odd = {"version": "4.5\x1b[31m\n\u202e" + "x" * 999}
    server.fail(Fault(change=lambda answer: answer | odd))
    found = only(ask(server), "mastodon query")
    assert len(found.says) < 200


ECHOES: list[Callable[[str], Fault]] = [
    lambda token: refusal(403, f"Bearer {token} lacks a scope"),
    lambda token: refusal(401, f"{token!r} is not known"),
    lambda token: refusal(418, "." * (300 - len(token) // 2) + token),
    lambda token: Fault(302, b"", (("Location", f"http://127.0.0.1:1/?token={token}"),)),
    lambda token: Fault(200, json.dumps({"version": token}).encode()),
    lambda token: Fault(500, token.encode()),
]


@pytest.mark.parametrize("token", ["a-secret-of-mine-AAAAAAAAAAAA", ODD])
@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("number", range(len(ECHOES)))
def test_no_token_is_told_whatever_the_server_sends_back(
    server: Mastodon, token: str, place: int, number: int
) -> None:
    server.token = token
    server.fail(*[None] * place, ECHOES[number](token))
    told = " ".join(finding.says + finding.cure for finding in ask(server, token))
    assert len(server.asked(INSTANCE)) >= 1
    assert token[:12] not in told
    assert repr(token)[1:13] not in told
