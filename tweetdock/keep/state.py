"""What is saved of a gauge: where it stands, and what has changed since the last time."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tweetdock.core.coverage import Seen
from tweetdock.core.gauge import Saved, ScaleState, SourceMark
from tweetdock.core.post import Span
from tweetdock.core.times import YEAR_2100_MS
from tweetdock.keep.archive_format import ArchivePosition
from tweetdock.keep.history import HistoryRow

_LARGEST_SCALE = 10**12

# What reading a damaged row raises.
UNREADABLE = (ValueError, TypeError, KeyError, OverflowError, RecursionError, AttributeError)

# Each step is run once, in one transaction; a released one is never changed, only followed.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # What there is one of: the salt, when it was saved, each dial's scale and needle.
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
        # The window, in the order in which it came to be: a later row of a key removes the post.
        """CREATE TABLE marks (
            source TEXT NOT NULL, key INTEGER NOT NULL, author INTEGER NOT NULL,
            at_ms INTEGER NOT NULL
        )""",
        # What each source was asked for and has seen, in JSON, and its cursor.
        """CREATE TABLE sources (
            name TEXT PRIMARY KEY, subject TEXT NOT NULL, spans TEXT NOT NULL,
            unreadable TEXT NOT NULL, heard_ms INTEGER NOT NULL, cursor TEXT NOT NULL
        ) WITHOUT ROWID""",
        # What was asked of a source in a day (UTC), and how many posts it returned: what it bills.
        """CREATE TABLE spent (
            day TEXT, source TEXT, requests INTEGER NOT NULL, posts INTEGER NOT NULL,
            PRIMARY KEY (day, source)
        ) WITHOUT ROWID""",
        # Readings by the minute and by the hour.
        """CREATE TABLE history (
            per TEXT, at_ms INTEGER, posts INTEGER NOT NULL, authors INTEGER NOT NULL,
            grade TEXT NOT NULL, window_seconds REAL NOT NULL, subject TEXT NOT NULL,
            PRIMARY KEY (per, at_ms)
        ) WITHOUT ROWID""",
    ),
)


class Spent(NamedTuple):
    """What was asked of a source in a day, and how many posts it returned."""

    requests: int
    posts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where the gauge and its sources stand.

    saved_ms: when (Unix ms). cursors: by feed. angles: where the needles are, in degrees.
    position: how far the archive had come; None without one. blind_until_ms: up to when it may lack
    posts that the gauge counts. spent: by UTC day (as 2026-11-21) and source, of all days kept;
    what is loaded, while Changes bring what is new.
    """

    saved_ms: int
    saved: Saved
    cursors: Mapping[str, str]
    angles: tuple[float, ...] = ()
    position: ArchivePosition | None = None
    blind_until_ms: int = 0
    spent: Mapping[str, Mapping[str, Spent]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StateChanges:
    """What is new since the last save; spent: by UTC day and source.

    is_whole: the marks are not only the new ones, but all that there are.
    """

    marks: Iterable[SourceMark] = ()
    rows: Iterable[HistoryRow] = ()
    spent: Mapping[tuple[str, str], Spent] = field(default_factory=dict)
    is_whole: bool = False


def parse_moment(value: Any) -> int:
    """Unix milliseconds of this century."""
    if not isinstance(value, int) or not 0 <= value < YEAR_2100_MS:
        raise ValueError(f"no moment: {value!r}")
    return value


def parse_salt(value: Any) -> bytes:
    """The salt of the marks."""
    if not isinstance(value, bytes) or len(value) > 16:
        raise ValueError("no salt")
    return value


def parse_number(value: Any) -> int:
    """How many there were of something."""
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"no number: {value!r}")
    return value


def parse_scales(text: Any) -> dict[str, ScaleState]:
    """Where the automatic scales stood, by dial."""
    found = {}
    for dial, (full_scale, roomy_since_ms) in json.loads(text).items():
        if not isinstance(full_scale, int) or not 0 < full_scale < _LARGEST_SCALE:
            raise ValueError(f"no full scale: {full_scale!r}")
        since_ms = None if roomy_since_ms is None else parse_moment(roomy_since_ms)
        found[dial] = ScaleState(full_scale, since_ms)
    return found


def parse_angles(text: Any) -> tuple[float, ...]:
    """Where the needles were, in degrees."""
    found = tuple(float(angle) for angle in json.loads(text))
    if not all(math.isfinite(angle) for angle in found):
        raise ValueError("no angle")
    return found


def parse_position(text: Any) -> ArchivePosition | None:
    """How far the archive had come."""
    found = json.loads(text)
    if found is None:
        return None
    path, inode, size = found
    return ArchivePosition(str(path), int(inode), int(size))


def parse_seen(spans: Any, unreadable: Any, heard_ms: Any, floor_ms: int) -> Seen:
    """What a source had seen after `floor_ms`."""
    found = [Span(parse_moment(since), parse_moment(until)) for since, until in json.loads(spans)]
    stretches = tuple(
        Span(max(since, floor_ms), until) for since, until in found if until > floor_ms
    )
    return Seen(
        stretches, tuple(parse_moment(ms) for ms in json.loads(unreadable)), parse_moment(heard_ms)
    )
