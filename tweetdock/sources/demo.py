"""A simulated hashtag: an endless conference, with the same posts for the same moments."""

import math
import random
from collections.abc import Iterator
from typing import NamedTuple

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.post import Batch, Feed, Post, Span
from tweetdock.core.times import MINUTE_MS
from tweetdock.sources.polling import Pause

SEED = 7
TALK_MINUTES = 25  # a talk is quiet, its end and the break after it are not
NIGHT_RATE, DAY_RATE = 4, 16  # posts a minute, before the talks' rhythm and the bursts
DOORS_OPEN, DOORS_CLOSE = 7, 20  # hours UTC
BURST_EVERY = 120  # minutes: at most one keynote announcement in each such stretch
REGULARS = 40
EXCITED = 60  # so many answer to an announcement more than once


class Demo:
    """Made-up posts as a source to be polled; the past window is there at once."""

    channel = ""

    def __init__(
        self, *, clock: Clock, window_seconds: float, poll_seconds: float, seed: int = SEED
    ) -> None:
        self.feed = Feed("demo", round(poll_seconds * 1000) + 5_000)
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._seed = seed
        self._window_ms = round(window_seconds * 1000)

    def poll(self, seen: Spans) -> Iterator[Batch]:
        """What was made up since the last time."""
        now_ms = self._clock.now_ms()
        floor_ms = now_ms - self._window_ms
        span = Span(max(floor_ms, seen.until_ms or floor_ms), now_ms)
        posts = tuple(posts_in(span, seed=self._seed))
        yield Batch(source=self.feed.source, posts=posts, covers=span)

    def pause(self, _: Spans) -> Pause:
        """The usual pause."""
        return Pause(self._poll_seconds)

    def cut(self) -> None:
        """There is nothing that could hang."""

    def close(self) -> None:
        """There is nothing open."""


def posts_in(span: Span, *, seed: int = SEED) -> Iterator[Post]:
    """The posts of a stretch of time; any cut of a stretch gives the same posts."""
    for minute in range(span.since_ms // MINUTE_MS, span.until_ms // MINUTE_MS + 1):
        for post in _posts_of(minute, seed):
            if span.since_ms < post.created_ms <= span.until_ms:
                yield post


class Burst(NamedTuple):
    """An announcement: the minute it falls in, how often the rate multiplies, how fast it fades."""

    minute: int
    factor: float
    fade_minutes: float

    def lift(self, minute: int) -> float:
        """What it multiplies the rate by in a later minute; 1 once it is forgotten."""
        return 1 + (self.factor - 1) * math.exp((self.minute - minute) / self.fade_minutes)


def last_burst(minute: int, seed: int) -> Burst | None:
    """The latest announcement up to a minute, if it is not long ago."""
    for stretch in (minute // BURST_EVERY, minute // BURST_EVERY - 1):
        dice = _dice(seed, "burst", stretch)
        start = stretch * BURST_EVERY + dice.randrange(BURST_EVERY)
        if dice.random() < 0.8 and start <= minute:
            return Burst(start, dice.uniform(5, 10), dice.uniform(3, 6))
    return None


def _posts_of(minute: int, seed: int) -> Iterator[Post]:
    dice = _dice(seed, "minute", minute)
    burst = last_burst(minute, seed)
    rate = _usual_rate(minute) * (burst.lift(minute) if burst else 1)
    for number in range(round(dice.gauss(rate, math.sqrt(rate)))):
        yield Post(
            key=f"demo:{minute}-{number}",
            author=f"demo:{_author(dice, minute, burst)}",
            created_ms=minute * MINUTE_MS + dice.randrange(MINUTE_MS),
        )


def _usual_rate(minute: int) -> float:
    hour = minute / 60 % 24
    daylight = max(0.0, math.sin(math.pi * (hour - DOORS_OPEN) / (DOORS_CLOSE - DOORS_OPEN)))
    excitement = 0.5 - 0.5 * math.cos(2 * math.pi * minute / TALK_MINUTES)
    return (NIGHT_RATE + (DAY_RATE - NIGHT_RATE) * daylight) * (0.6 + 1.2 * excitement**4)


def _author(dice: random.Random, minute: int, burst: Burst | None) -> str:
    kind = dice.random()
    if burst and kind < (0.4 if minute - burst.minute < 10 else 0.1):
        return f"excited-{burst.minute}-{dice.randrange(EXCITED)}"
    if kind < 0.5:
        # The first of the regulars write most.
        return f"regular-{int(REGULARS * dice.random() ** 2)}"
    return f"passer-by-{dice.randrange(1_000_000)}"


def _dice(seed: int, what: str, number: int) -> random.Random:
    return random.Random(f"{seed} {what} {number}")  # noqa: S311 - made up on purpose
