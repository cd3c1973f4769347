"""The page as it is sent: complete, true and safe before any script has run."""

import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import AT, MINUTE, reading, source

from tweetdock.core.coverage import Grade
from tweetdock.core.motion import ACCELERATION, ARRIVED, SPEED
from tweetdock.core.reading import Reading
from tweetdock.settings.gauge import Settings
from tweetdock.show.web.page import page
from tweetdock.show.words import (
    WORDS,
    grade_words,
    network_names,
    number,
    source_words,
    window_words,
)

DIALS = Settings.from_env({}, demo=True).dials
EVIL = "<script>alert(1)</script>\"'&\u202e\x1b[2J\n{window}"


class Words(HTMLParser):
    """The words that a person sees, and every element with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def words(one: Reading | None, *, kiosk: bool = False) -> Words:
    return Words(page(one, DIALS, kiosk=kiosk))


@pytest.mark.parametrize("kiosk", [False, True])
@pytest.mark.parametrize(
    "one",
    [
        None,
        reading(),
        reading(posts=0, authors=0),
        reading(grade=Grade.FILLING, covered=0.4),
        reading(grade=Grade.STALE, ago_ms=None),
        reading(hashtags=(), subject=EVIL, demo=True),
        reading(sources={"replay:old.jsonl": source()}, replay=True),
    ],
)
def test_the_page_has_no_inline_script_or_style_and_asks_nobody_else(
    one: Reading | None, *, kiosk: bool
) -> None:
    for tag, attributes in words(one, kiosk=kiosk).elements:
        assert tag != "style"
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        if tag == "script":
            assert (attributes["src"] or "").startswith("static/")
        # Without a slash at their beginning: a proxy may have put the page below any path.
        for name in ("src", "href"):
            assert re.match(r"[?#]|[a-z]+(/|\Z)|\Z", attributes.get(name) or "")


def test_foreign_words_are_only_words() -> None:
    found = words(
        reading(
            hashtags=(EVIL,),
            sources={EVIL: source(detail=EVIL, grade=Grade.PARTIAL), "x": source(detail=EVIL)},
        )
    )
    scripts = [attributes for tag, attributes in found.elements if tag == "script"]
    assert all("src" in attributes for attributes in scripts)
    assert found.text.count("<script>alert(1)</script>\"'&  [2J {window}") == 7
    assert "\x1b" not in found.text
    assert "\u202e" not in found.text


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (reading(), "Every post of the last hour up to 14:13 UTC is counted."),
        (
            reading(late_ms=10 * MINUTE),
            "Every post of the last hour up to 14:03 UTC is counted.",
        ),
        (
            reading(grade=Grade.FILLING, covered=0.4057),
            "40 % of the last hour is known. There are at least this many.",
        ),
        (
            reading(grade=Grade.PARTIAL, detail="the limit; next try in 5 min"),
            "The limit; next try in 5 min",
        ),
        (reading(grade=Grade.PARTIAL), "Part of the last hour is missing."),
        (
            reading(grade=Grade.STALE),
            "No network has sent data since 14:13 UTC. The needles are at rest.",
        ),
    ],
)
def test_the_grade_is_said_in_plain_words(one: Reading, said: str) -> None:
    assert grade_words(one) == said


def test_who_has_never_heard_anything_does_not_say_since_when() -> None:
    one = reading(grade=Grade.STALE, ago_ms=None)
    assert "No network has sent data yet." in words(one).text


def test_silence_of_days_is_told_with_its_day() -> None:
    hours = reading(grade=Grade.STALE, ago_ms=12 * MINUTE)
    days = reading(grade=Grade.STALE, ago_ms=3 * 24 * 60 * MINUTE)
    assert "since 14:01 UTC" in words(hours).text
    assert "since 2026-09-18 14:13 UTC" in words(days).text


def test_of_several_networks_each_says_up_to_when_it_is_exact() -> None:
    x, bluesky = source(late_ms=2 * MINUTE), source()
    mastodon = source(grade=Grade.FILLING, covered=0.5, late_ms=30 * MINUTE)
    one = reading(sources={"x": x, "bluesky": bluesky, "mastodon": mastodon})
    said = [source_words(each, one) for each in one.sources.values()]
    assert said == ["exact up to 14:11 UTC", "exact up to 14:13 UTC", "incomplete"]
    assert source_words(x, reading(sources={"x": x})) == "exact"


def test_the_worst_source_gives_the_reason() -> None:
    one = reading(
        sources={
            "x": source(detail="a mere remark"),
            "mastodon": source(grade=Grade.PARTIAL, detail="no answer"),
            "bluesky": source(grade=Grade.FILLING, detail="reading back"),
        }
    )
    assert grade_words(one) == "Mastodon: no answer"


def test_both_ways_to_x_are_named_only_where_there_are_both() -> None:
    assert network_names(["x"]) == {"x": "X"}
    assert network_names(["x-stream", "bluesky"]) == {"x-stream": "X", "bluesky": "Bluesky"}
    assert network_names(["x", "x-stream"]) == {"x": "X search", "x-stream": "X stream"}


def test_a_demo_and_a_replay_are_announced() -> None:
    assert "These posts are made up." in words(reading(demo=True)).text
    assert "These posts are from another time." in words(reading(replay=True)).text
    assert "<title>Demo: " in page(reading(demo=True), DIALS, kiosk=True)
    assert "made up" not in words(reading()).text


def test_without_scripts_the_page_says_of_when_it_is() -> None:
    html = page(reading(), DIALS, kiosk=False)
    (taken,) = re.findall("<noscript><p.*?</noscript>", html)
    assert "14:13:20 UTC" in unescape(taken)


def test_without_styles_and_scripts_the_page_is_of_its_moment_and_no_other() -> None:
    """Where a proxy had none of its files, it stood there as exact, for ever."""
    assert "No data from TweetDock since 14:13:20 UTC" in words(reading()).text
    assert "No data from TweetDock" not in words(None).text


def test_before_the_first_reading_the_dials_are_there_and_claim_nothing() -> None:
    html = page(None, DIALS, kiosk=False)
    assert "There is no count yet." in html
    assert html.count('class="needle" transform="rotate(-90)"') == 2
    assert html.count(">\u2013</text>") == 2


def test_a_fixed_scale_is_drawn_before_the_first_reading() -> None:
    settings = {name: replace(one, scale="log:10000") for name, one in DIALS.items()}
    assert page(None, settings, kiosk=False).count('data-full-scale="10000"') == 2


def test_the_scripts_learn_the_servos_motion_and_the_words() -> None:
    (body,) = (attributes for tag, attributes in words(reading()).elements if tag == "body")
    motion = [float(body[f"data-{name}"] or "") for name in ("speed", "acceleration", "arrived")]
    assert motion == [SPEED, ACCELERATION, ARRIVED]
    assert json.loads(body["data-words"] or "") == dict(WORDS)


@given(st.integers(0, 10**9))
def test_a_number_keeps_its_digits(count: int) -> None:
    assert number(count).replace("\u202f", "") == str(count)
    assert all(len(part) <= 3 for part in number(count).split("\u202f"))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3600, "last hour"), (86_400, "last day"), (5400, "last 90 min"), (60, "last 60 s")],
)
def test_the_window_is_said_as_a_person_would(seconds: float, said: str) -> None:
    assert window_words(seconds) == said


def test_a_source_says_when_it_spoke_last() -> None:
    assert "95 s ago" in words(reading(ago_ms=95_000)).text
    assert "no data yet" in words(reading(ago_ms=None)).text
    # A server's clock may be a little ahead of ours.
    assert "0 s ago" in words(reading(sources={"x": source(at=AT + 400, ago_ms=0)})).text
