"""A simulated hashtag: an endless conference, the same posts for the same moments."""

import math
import random
from collections.abc import Iterator

from tweetdock.clock import Clock
from tweetdock.post import Batch, Post, Span
from tweetdock.sources.polling import Pause

MINUTE_MS = 60_000
TALK_MINUTES = 25  # a talk is quiet, its end and the break after it are not
REGULARS = 400


class Demo:
    """Made-up posts as a source to be polled; the past window is there at once."""

    name = "demo"

    def __init__(self, *, clock: Clock, window_seconds: float, poll_seconds: float) -> None:
        self.lag_ms = round(poll_seconds * 1000) + 5_000
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._until_ms = clock.now_ms() - round(window_seconds * 1000)

    def poll(self) -> Iterator[Batch]:
        """What was made up since the last time."""
        span = Span(self._until_ms, self._clock.now_ms())
        self._until_ms = span.until_ms
        yield Batch(source=self.name, posts=tuple(posts_in(span)), covers=span)

    def pause(self) -> Pause:
        """The usual pause."""
        return Pause(self._poll_seconds)

    def server_ms(self) -> None:
        """There is no server."""

    def cut(self) -> None:
        """There is nothing that could hang."""


def posts_in(span: Span) -> Iterator[Post]:
    """The posts of a stretch of time; any cut of a stretch gives the same posts."""
    for minute in range(span.since_ms // MINUTE_MS, span.until_ms // MINUTE_MS + 1):
        for post in _posts_of(minute):
            if span.since_ms < post.created_ms <= span.until_ms:
                yield post


def _posts_of(minute: int) -> Iterator[Post]:
    dice = random.Random(minute)  # noqa: S311 - made up on purpose
    excitement = 0.5 - 0.5 * math.cos(2 * math.pi * minute / TALK_MINUTES)
    for number in range(round(dice.gauss(4 + 14 * excitement**4, 1.5))):
        # Few people write often, many once: a crowd's usual shape.
        author = int(min(dice.paretovariate(0.6), REGULARS * 10)) * REGULARS + dice.randrange(20)
        yield Post(
            key=f"demo:{minute}-{number}",
            author=f"demo:{author}",
            created_ms=minute * MINUTE_MS + dice.randrange(MINUTE_MS),
        )
