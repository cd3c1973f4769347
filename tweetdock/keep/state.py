"""What is saved of a gauge: where it stands, what has changed since, and readings of a year."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tweetdock.core.gauge import Saved, SourceMark
from tweetdock.core.post import Spent
from tweetdock.core.reading import Reading
from tweetdock.core.times import DAY_MS, HOUR_MS, MINUTE_MS

STEPS_MS = {"minute": MINUTE_MS, "hour": HOUR_MS}
KEPT_MS = {"minute": DAY_MS, "hour": 366 * DAY_MS}

Per = Literal["minute", "hour"]


class HistoryRow(NamedTuple):
    """The reading at a full minute or hour, `at_ms` (Unix ms), of the window that ended there."""

    per: str
    at_ms: int
    posts: int
    authors: int
    grade: str
    window_seconds: float
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where the gauge and its sources stand.

    saved_ms: when (Unix ms). cursors: by feed. angles: where the needles are, in degrees.
    archive: its path; empty without one. blind_until_ms: up to when it may lack posts that the
    gauge counts. spent: by UTC day (as 2026-11-21) and source, of all days kept; what is loaded,
    while StateChanges bring what is new.
    """

    saved_ms: int
    saved: Saved
    cursors: Mapping[str, str]
    angles: tuple[float, ...] = ()
    archive: str = ""
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


class History:
    """Picks the readings to keep: the first of each minute and of each hour."""

    def __init__(self, subject: str, window_seconds: float) -> None:
        self._subject = subject
        self._window_seconds = window_seconds
        self._step: dict[str, int] = {}

    def is_of(self, row: HistoryRow) -> bool:
        """Whether a row was kept of the same thing."""
        return (row.subject, row.window_seconds) == (self._subject, self._window_seconds)

    def note(self, reading: Reading) -> list[HistoryRow]:
        """The rows that `reading` is to be kept as; none for most."""
        rows = []
        for per, step_ms in STEPS_MS.items():
            step = reading.at_ms // step_ms
            if step > self._step.setdefault(per, step):
                of = reading.posts, reading.authors, reading.grade
                rows.append(
                    HistoryRow(per, step * step_ms, *of, self._window_seconds, self._subject)
                )
            self._step[per] = step
        return rows
