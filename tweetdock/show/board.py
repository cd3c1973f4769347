"""The board: the latest reading, the past and the gauge's health, for any thread to read."""

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from tweetdock.core.coverage import Grade
from tweetdock.core.post import Batch, Trouble
from tweetdock.core.reading import Reading
from tweetdock.core.times import DAY_MS, HOUR_MS, MINUTE_MS

TEN_SECONDS_MS = 10_000
# How far apart moments are, and for how long they are kept so: the chart of an hour has 360.
STEPS = ((TEN_SECONDS_MS, HOUR_MS), (MINUTE_MS, DAY_MS), (HOUR_MS, 366 * DAY_MS))
# Upper ends of the delays' buckets, in seconds.
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
SILENT_SECONDS = 10.0


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


class FeedStats(NamedTuple):
    """What has come from a feed since the start: answers, faults, and posts in its answers.

    missed: those that were new and came by a channel for what the first one had missed.
    """

    answers: int = 0
    faults: int = 0
    posts: int = 0
    missed: int = 0


class Delays(NamedTuple):
    """How late the loop was: how often at most so much as each of BUCKETS, or more; their sum."""

    counts: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Health:
    """How the gauge is, asked when somebody looks; safe to be called from any thread.

    threads: by name, whether each lives. needles: where they are, in degrees, by dial; empty
    before they are there. servo_trouble: why they cannot be moved; empty if they can.
    cost_usd: what today (UTC) has cost at X; None if nothing asks X.
    """

    threads: Callable[[], Mapping[str, bool]]
    needles: Callable[[], Mapping[str, float]]
    servo_trouble: Callable[[], str]
    cost_usd: Callable[[], float | None]


class Board:
    """The latest reading, those before it, and how the gauge is; only the loop writes on it.

    Each attribute is a thing that is replaced, never changed, so that a reader needs no lock.
    """

    def __init__(
        self, past: Past, health: Health, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.past = past
        self.health = health
        self.reading: Reading | None = None
        self.feeds: Mapping[str, FeedStats] = {}
        self.delays = Delays()
        self._monotonic = monotonic
        self._turned_at = monotonic()

    def publish(self, reading: Reading) -> None:
        """Put up a reading."""
        self._turned_at = self._monotonic()
        self.past.note(reading)
        self.reading = reading

    def count(self, message: Batch | Trouble, new: int = 0) -> None:
        """Count a feed's message; new: how many of its posts were not known."""
        answers, faults, posts, missed = self.feeds.get(message.feed, FeedStats())
        if isinstance(message, Batch):
            missed += new if message.channel == "gaps" else 0
            stats = FeedStats(answers + 1, faults, posts + len(message.posts), missed)
        else:
            stats = FeedStats(answers, faults + (not message.by_choice), posts, missed)
        self.feeds = {**self.feeds, message.feed: stats}

    def note_delay(self, seconds: float) -> None:
        """Count how late the loop was to take up what was due."""
        counts = list(self.delays.counts)
        counts[bisect_left(BUCKETS, seconds)] += 1
        self.delays = Delays(tuple(counts), self.delays.seconds + max(0.0, seconds))

    @property
    def silence_seconds(self) -> float:
        """For how long the loop has put up no reading."""
        return self._monotonic() - self._turned_at

    @property
    def is_silent(self) -> bool:
        """Whether the loop hangs, so that what it has put up says nothing of now."""
        return self.silence_seconds > SILENT_SECONDS

    @property
    def current_reading(self) -> Reading | None:
        """The reading that holds now; None before the first, and while the loop hangs."""
        return None if self.is_silent else self.reading

    @property
    def why_no_reading(self) -> str:
        """Why there is no reading that holds now, in a sentence."""
        if self.reading is None:
            return "There is no reading yet."
        seconds = self.silence_seconds
        return f"TweetDock hangs: its last reading is {seconds:.0f} seconds old."

    @property
    def problem(self) -> str:
        """What is wrong, in a sentence; empty if nothing is."""
        dead = [name for name, lives in self.health.threads().items() if not lives]
        if dead:
            return f"not running: {', '.join(sorted(dead))}"
        return f"no reading for {self.silence_seconds:.0f} seconds" if self.is_silent else ""
