"""Readings as the page's tests make them up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tweetdock.coverage import Grade, worst
from tweetdock.reading import DialReading, Reading, SourceReading
from tweetdock.scaler import step_above

if TYPE_CHECKING:
    from collections.abc import Mapping

AT = 1_790_000_000_000  # 2026-09-21, 14:13:20 UTC
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000


def source(
    posts: int = 412,
    authors: int = 287,
    *,
    grade: Grade = Grade.EXACT,
    covered: float = 1.0,
    detail: str = "",
    ago_ms: int | None = 2 * SECOND,
    at: int = AT,
) -> SourceReading:
    """What a source has, and how long ago it spoke."""
    heard_ms = None if ago_ms is None else at - ago_ms
    return SourceReading(
        posts=posts, authors=authors, grade=grade, covered=covered, detail=detail, heard_ms=heard_ms
    )


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
    )


def reading(
    *, at: int = AT, full_scale: int = 0, hashtags: tuple[str, ...] = ("dockercon",), **of: Any
) -> Reading:
    """A reading of X, or of the `sources`; of: what else the source or the reading is to have."""
    sources: Mapping[str, SourceReading] = of.pop("sources", None) or {}
    rest = {name: of.pop(name) for name in ("demo", "replay", "window_seconds") if name in of}
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
        sources=dict(sources),
        dials={
            name: dial(count, full_scale=full_scale, grade=grade) for name, count in counts.items()
        },
        **whole,
    )


def later(one: Reading, seconds: float) -> Reading:
    """The same, said again so much later."""
    return replace(one, at_ms=one.at_ms + round(seconds * 1000))
