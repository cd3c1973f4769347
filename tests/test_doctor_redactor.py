"""Secrets are kept out of what the doctor says."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.finding import Finding, Verdict
from tweetdock.doctor.redactor import LEAST_PIECE, Redactor
from tweetdock.settings.gauge import SETTINGS

PASS, _, FAIL = Verdict
SECRETS = [setting.name for setting in SETTINGS if setting.secret]


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
    redactor = Redactor({"X_BEARER_TOKEN": secret})
    escaped = (json.dumps(secret)[1:-1], repr(secret)[1:-1])
    spellings = (secret, secret.upper(), quote(secret, safe=""), *escaped)
    for spelt in spellings:
        said = before + spelt + after
        first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(said))] * 2)))
        told = redactor.clean(Finding("x", FAIL, said[first:last], said)).says.lower()
        pieces = {spelt[n : n + LEAST_PIECE].lower() for n in range(len(spelt) - LEAST_PIECE + 1)}
        assert not [piece for piece in pieces if piece in told]


@given(st.text(visible, min_size=4, max_size=9), others, others)
def test_a_short_secret_is_taken_out_whole(secret: str, before: str, after: str) -> None:
    told = Redactor({"X_BEARER_TOKEN": secret}).clean(Finding("x", FAIL, before + secret + after))
    assert secret not in told.says


@given(st.text(st.sampled_from("abc .-"), max_size=40))
def test_what_has_no_secret_is_told_as_it_is(text: str) -> None:
    redactor = Redactor(
        {"X_BEARER_TOKEN": "a-bearer-token-of-mine", "AWS_SESSION_TOKEN": "another"}
    )
    assert redactor.clean(Finding("x", FAIL, text)).says == text


def test_secrets_that_lie_over_one_another_leave_nothing_between() -> None:
    env = {"X_BEARER_TOKEN": "abcdef", "X_CONSUMER_KEY": "defghijklmnopq"}
    assert Redactor(env).clean(Finding("x", FAIL, "<abcdefghijklmnopq>")).says == "<...>"


def test_without_secrets_a_finding_stays_as_it_is() -> None:
    finding = Finding("state", PASS, "all there")
    env = {"X_BEARER_TOKEN": "", "TWEETDOCK_HASHTAGS": "state"}
    assert Redactor(env).clean(finding) == finding
