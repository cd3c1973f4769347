"""The page is headed by what is counted, and by nothing else."""

import re

import pytest
from pages import reading, source

from tweetdock.core.reading import Reading
from tweetdock.settings.gauge import Settings
from tweetdock.show.web.page import page

DIALS = Settings.from_env({}, demo=True).dials


def test_a_hashtag_of_any_script_stands_for_itself() -> None:
    html = page(reading(hashtags=("dockercon", "مؤتمر")), DIALS, kiosk=False)
    assert "<bdi>#dockercon</bdi> <bdi>#مؤتمر</bdi>" in html
    assert "<title>#dockercon #مؤتمر · TweetDock</title>" in html


@pytest.mark.parametrize(
    ("one", "heading", "title"),
    [
        (reading(hashtags=(), subject="from:nasa -is:retweet"), "from:nasa -is:retweet", ""),
        (
            reading(
                hashtags=(),
                subject="old.jsonl",
                replay=True,
                sources={"replay:old.jsonl": source()},
            ),
            "old.jsonl",
            "Replay: ",
        ),
        (reading(hashtags=("fosdem",), subject="#fosdem", demo=True), "#fosdem", "Demo: "),
        (reading(hashtags=(), subject="@nasa <b>"), "@nasa &lt;b&gt;", ""),
        # X has a query of its own, Bluesky the hashtag.
        (reading(hashtags=("moon",), subject="from:nasa #moon"), "from:nasa #moon", ""),
    ],
)
def test_the_page_is_headed_by_what_is_counted(one: Reading, heading: str, title: str) -> None:
    """Hashtags that a query had taken the place of stood above the dials all the same."""
    html = page(one, DIALS, kiosk=False)
    assert f"<h1><bdi>{heading}</bdi></h1>" in html
    assert f"<title>{title}{heading} · TweetDock</title>" in html


def test_a_query_of_thousands_of_signs_is_known_by_its_beginning() -> None:
    html = page(reading(hashtags=(), subject="word OR " * 500), DIALS, kiosk=False)
    (heading,) = re.findall("<bdi>(.*?)</bdi>", html)
    assert heading.startswith("word OR word")
    assert heading.endswith("…")
    assert len(heading) == 160


TWELVE = tuple(f"conference{number}" for number in range(12))


def test_a_kiosk_says_how_many_hashtags_it_has_no_room_for() -> None:
    """Of twelve hashtags six were seen, and nothing told of the others."""
    shown = re.findall("<bdi>(.*?)</bdi>", page(reading(hashtags=TWELVE), DIALS, kiosk=True))
    assert shown == [f"#{tag}" for tag in TWELVE[: len(shown)]]
    assert 3 < len(shown) < 12
    assert f"<span>and {12 - len(shown)} more</span>" in page(
        reading(hashtags=TWELVE), DIALS, kiosk=True
    )
    usual = page(reading(hashtags=TWELVE), DIALS, kiosk=False)
    assert usual.count("<bdi>") == 12
    assert "more</span>" not in usual


def test_one_hashtag_is_shown_however_long_it_is() -> None:
    assert "<bdi>#" in page(reading(hashtags=("a" * 200, "b")), DIALS, kiosk=True)
