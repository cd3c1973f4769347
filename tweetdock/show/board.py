"""The board: what the loop writes down for whoever wants to look, from any thread."""

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tweetdock.core.post import Batch, Trouble
from tweetdock.core.reading import Reading
from tweetdock.show.past import Past

# Upper ends of the delays' buckets, in seconds.
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Talk(NamedTuple):
    """What a feed has said since the start: answers, faults, and posts in its answers."""

    answers: int = 0
    faults: int = 0
    posts: int = 0


class Delays(NamedTuple):
    """How late the loop was: how often at most so much as each of BUCKETS, or more; their sum."""

    counts: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Vitals:
    """What is asked of the house when somebody looks; safe to be called from any thread.

    threads: by name, whether each lives. needles: where they are, in degrees, by dial; empty
    before they are there. servo_trouble: why they cannot be moved; empty if they can.
    cost_usd: what today (UTC) has cost at X; None if nothing asks X.
    """

    threads: Callable[[], Mapping[str, bool]]
    needles: Callable[[], Mapping[str, float]]
    servo_trouble: Callable[[], str]
    cost_usd: Callable[[], float | None]


class Board:
    """The latest reading, those before it, and how the house is; only the loop writes on it.

    Each attribute is a thing that is replaced, never changed, so that a reader needs no lock.
    """

    def __init__(
        self, past: Past, vitals: Vitals, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.past = past
        self.vitals = vitals
        self.reading: Reading | None = None
        self.talks: Mapping[str, Talk] = {}
        self.delays = Delays()
        self._monotonic = monotonic
        self._turned_at = monotonic()
        self._watchers: tuple[Callable[[], None], ...] = ()

    def watch(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, in the loop's thread, after each new reading; it must be quick."""
        self._watchers = (*self._watchers, tell)

    def publish(self, reading: Reading) -> None:
        """Put up a reading."""
        self._turned_at = self._monotonic()
        self.past.note(reading)
        self.reading = reading
        for tell in self._watchers:
            tell()

    def hear(self, word: Batch | Trouble) -> None:
        """Count a feed's word."""
        answers, faults, posts = self.talks.get(word.feed, Talk())
        if isinstance(word, Batch):
            talk = Talk(answers + 1, faults, posts + len(word.posts))
        else:
            talk = Talk(answers, faults + (not word.by_choice), posts)
        self.talks = {**self.talks, word.feed: talk}

    def note_delay(self, seconds: float) -> None:
        """Count how late the loop was to take up what was due."""
        counts = list(self.delays.counts)
        counts[bisect_left(BUCKETS, seconds)] += 1
        self.delays = Delays(tuple(counts), self.delays.seconds + max(0.0, seconds))

    def silence_seconds(self) -> float:
        """For how long the loop has put up no reading."""
        return self._monotonic() - self._turned_at
