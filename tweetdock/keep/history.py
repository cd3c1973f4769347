"""Readings that are kept: one a minute for a day, one an hour for a year."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tweetdock.core.errors import StateError
from tweetdock.core.reading import Reading

FILE = "state.db"
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
KEPT_MS = {"minute": DAY_MS, "hour": 366 * DAY_MS}
STEPS_MS = {"minute": MINUTE_MS, "hour": HOUR_MS}

Per = Literal["minute", "hour"]


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """The reading at a full minute or hour, `at_ms` (Unix ms), of the window that ended there."""

    per: str
    at_ms: int
    posts: int
    authors: int
    grade: str
    window_seconds: float
    subject: str


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
                rows.append(self._row(per, step * step_ms, reading))
            self._step[per] = step
        return rows

    def _row(self, per: str, at_ms: int, reading: Reading) -> HistoryRow:
        return HistoryRow(
            per,
            at_ms,
            reading.posts,
            reading.authors,
            reading.grade,
            self._window_seconds,
            self._subject,
        )


def read_history(folder: Path, per: Per | None = None) -> Iterator[HistoryRow]:
    """The rows kept in a state folder, oldest first; beside a gauge at work, too.

    per: those only. None: by the hour as far as there is nothing finer, then by the minute.
    Raises StateError if there is no state or it cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        raise StateError(f"{folder}: no state of TweetDock's here; --state-dir names its folder")
    query = (
        "SELECT per, at_ms, posts, authors, grade, window_seconds, subject FROM history"
        " WHERE per = ?1 OR (?1 IS NULL AND (per = 'minute' OR at_ms <"
        " (SELECT coalesce(min(at_ms), 1 << 62) FROM history WHERE per = 'minute')))"
        " ORDER BY at_ms, per"
    )
    try:
        # Not read-only: the file of a gauge that was killed needs its log played back.
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=10)
        try:
            for row in db.execute(query, (per,)):
                yield HistoryRow(*row)
        finally:
            db.close()
    except sqlite3.Error as error:
        raise StateError(f"{path}: {error}") from error
