"""How the counts came to where they are: the last hour, day and year, ever coarser."""

import threading
from collections import deque
from collections.abc import Iterable
from itertools import takewhile
from typing import NamedTuple

from tweetdock.core.coverage import Grade
from tweetdock.core.reading import Reading

TEN_SECONDS_MS, MINUTE_MS, HOUR_MS, DAY_MS = 10_000, 60_000, 3_600_000, 86_400_000
# How far apart moments are, and for how long they are kept so: the chart of an hour has 360.
STEPS = ((TEN_SECONDS_MS, HOUR_MS), (MINUTE_MS, DAY_MS), (HOUR_MS, 366 * DAY_MS))


class Moment(NamedTuple):
    """The counts at a moment (Unix ms), and what they were worth."""

    at_ms: int
    posts: int
    authors: int
    grade: Grade


class Past:
    """The readings of a year, thinned: by 10 s for an hour, by the minute for a day, by the hour.

    Noted by one thread, read by any. kept: of an earlier gauge, oldest first.
    """

    def __init__(self, kept: Iterable[Moment] = ()) -> None:
        self._lock = threading.Lock()
        self._rows: dict[int, deque[Moment]] = {
            step: deque(maxlen=length // step) for step, length in STEPS
        }
        for moment in kept:
            self._note(moment)

    def note(self, reading: Reading) -> None:
        """Keep the reading if it is the first of its ten seconds, minute or hour."""
        with self._lock:
            self._note(Moment(reading.at_ms, reading.posts, reading.authors, reading.grade))

    def since(self, ms: int) -> list[Moment]:
        """The moments after `ms` (Unix ms), oldest first, each stretch as fine as it is kept."""
        with self._lock:
            found: list[Moment] = []  # newest first
            for row in self._rows.values():
                until_ms = found[-1].at_ms if found else None
                older = (m for m in reversed(row) if until_ms is None or m.at_ms < until_ms)
                found.extend(takewhile(lambda moment: moment.at_ms > ms, older))
        return found[::-1]

    def _note(self, moment: Moment) -> None:
        for step, row in self._rows.items():
            # The clock was set back: what it had called later never was.
            while row and row[-1].at_ms > moment.at_ms:
                row.pop()
            if not row or moment.at_ms // step > row[-1].at_ms // step:
                row.append(moment)
