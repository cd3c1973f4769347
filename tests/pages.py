"""Readings as the page's tests make them up."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tweetdock.core.coverage import Grade, worst
from tweetdock.core.reading import DialReading, Reading, SourceReading
from tweetdock.core.scaler import step_above
from tweetdock.show.board import Moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import ViewportSize

AT = 1_790_000_000_000  # 2026-09-21, 14:13:20 UTC
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
PHONE: ViewportSize = {"width": 360, "height": 740}
RARE = ("demo", "replay", "window_seconds", "subject")


def source(
    posts: int = 412,
    authors: int = 287,
    *,
    grade: Grade = Grade.EXACT,
    covered: float = 1.0,
    detail: str = "",
    ago_ms: int | None = 2 * SECOND,
    late_ms: int = 0,
    at: int = AT,
) -> SourceReading:
    """What a source has, how long ago it spoke, and how much of its end is not certain yet."""
    heard_ms = None if ago_ms is None else at - ago_ms
    return SourceReading(
        posts=posts,
        authors=authors,
        grade=grade,
        covered=covered,
        detail=detail,
        certain_ms=at - late_ms,
        heard_ms=heard_ms,
    )


FOUR = {
    "x": source(213, 160),
    "x-stream": source(220, 171, ago_ms=300),
    "bluesky": source(131, 98, grade=Grade.FILLING, covered=0.5, detail="reading back: 50%"),
    "mastodon": source(57, 40, grade=Grade.PARTIAL, detail="mastodon.social: no answer"),
}
LONG = ("Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamten", "b" * 40)


def dial(count: int, *, full_scale: int = 0, grade: Grade = Grade.EXACT) -> DialReading:
    """A dial of half a circle as the gauge would read it."""
    full_scale = full_scale or step_above(count)
    position = 0.0 if grade is Grade.STALE else min(1.0, count / full_scale)
    return DialReading(
        count=count,
        position=position,
        full_scale=full_scale,
        angle=round(180 * position, 3),
        pegged=count > full_scale,
        scale="auto",
        min_angle=0.0,
        max_angle=180.0,
    )


def reading(
    *, at: int = AT, full_scale: int = 0, hashtags: tuple[str, ...] = ("dockercon",), **of: Any
) -> Reading:
    """A reading of X, or of the `sources`; of: what else the source or the reading is to have."""
    sources: Mapping[str, SourceReading] = of.pop("sources", None) or {}
    rest = {name: of.pop(name) for name in RARE if name in of}
    sources = sources or {"demo" if rest.get("demo") else "x": source(at=at, **of)}
    posts = sum(each.posts for each in sources.values())
    authors = sum(each.authors for each in sources.values())
    grade = worst(each.grade for each in sources.values())
    counts = {"tweets": posts, "tweeters": authors}
    whole: dict[str, Any] = {"window_seconds": 3600.0, "demo": False} | rest
    return Reading(
        at_ms=at,
        hashtags=hashtags,
        posts=posts,
        authors=authors,
        grade=grade,
        covered=min(each.covered for each in sources.values()),
        certain_ms=min(each.certain_ms for each in sources.values()),
        sources=dict(sources),
        dials={
            name: dial(count, full_scale=full_scale, grade=grade) for name, count in counts.items()
        },
        **whole,
    )


def later(one: Reading, seconds: float) -> Reading:
    """The same, said again so much later."""
    return replace(one, at_ms=one.at_ms + round(seconds * 1000))


def hours_past(hours: int = 26) -> list[Moment]:
    """A past with waves, a doubtful stretch and a hole of a quarter of an hour."""
    ages = [age for age in range(1, hours * 60) if not 95 < age < 110]
    return [
        Moment(
            AT - age * MINUTE,
            round(300 + 100 * math.sin(age / 60)),
            round(200 + 60 * math.sin(age / 60)),
            Grade.PARTIAL if 200 < age < 230 else Grade.EXACT,
        )
        for age in reversed(ages)
    ]
