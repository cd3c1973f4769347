"""Hashtags in the settings: what the networks take for one, and what they do not."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.errors import SettingsError
from tweetdock.settings.gauge import Settings


def read(written: str) -> tuple[str, ...]:
    return Settings.from_env({"TWEETDOCK_HASHTAGS": written, "X_BEARER_TOKEN": "token"}).hashtags


@pytest.mark.parametrize(
    ("written", "tags"),
    [
        ("dockercon", ("dockercon",)),
        ("#DockerCon", ("DockerCon",)),
        ("Füße", ("Füße",)),
        ("#東京", ("東京",)),
        ("#one,#two three ,, four", ("one", "two", "three", "four")),
        ("DockerCon #dockercon DOCKERCON", ("DockerCon",)),
        ("STRASSE,straße", ("STRASSE",)),
        # One and the same letter, composed and as two; full-width forms.
        ("caf\u00e9 cafe\u0301", ("caf\u00e9",)),
        # X keeps and echoes a rule composed; ours must be the same.
        ("cafe\u0301", ("caf\u00e9",)),
        ("\uff03\uff44ocker docker", ("\uff44ocker",)),
        ("c_3po 2026a", ("c_3po", "2026a")),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", ("\u0939\u093f\u0928\u094d\u0926\u0940",)),
    ],
)
def test_hashtags_are_read_as_the_networks_do(written: str, tags: tuple[str, ...]) -> None:
    assert read(written) == tags


@pytest.mark.parametrize(
    "written",
    [
        *("2026", "#", "one # two", "##two", "_", "_1", "docker-con", "docker.con", "$DOCK"),
        *("from:me", "a)OR(b", "x\u00b2", "(x)", '"x"y'),
        *("\U0001f389", "party\U0001f389", "1\ufe0f\u20e3", "#\ufe0f\u20e3"),
    ],
)
def test_what_is_no_hashtag_is_refused(written: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        read(written)
    (problem,) = refusal.value.problems
    assert str(problem).startswith(f"TWEETDOCK_HASHTAGS={written}: ")


@given(st.text(max_size=30))
def test_no_hashtag_can_break_out_of_the_query(written: str) -> None:
    try:
        tags = read(written)
    except SettingsError:
        return
    assert not re.search(r"[\s()\"':#-]", "".join(tags))
