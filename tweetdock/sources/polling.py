"""A source, and the thread that asks it again and again: by its pauses, limits and backoff."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

from tweetdock.core.errors import SourceError
from tweetdock.core.post import Batch, Feed, Trouble
from tweetdock.core.times import clock_time, from_now, parse_ms
from tweetdock.retry import TroubleLog, backoff

log = logging.getLogger(__name__)

GRACE_MS = 10_000  # a poll may be this late before the lack of it counts as a gap
LONGEST_RESET_SECONDS = 3600.0
SPELLINGS = ("x-rate-limit", "x-ratelimit")  # X's and Mastodon's


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What is left of an allowance: `remaining` requests until `reset_ms` (unix).

    allowed: how many there were at first, if the server says so.
    """

    remaining: int
    reset_ms: int
    allowed: int | None = field(default=None, compare=False)

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> Self | None:
        """From X's `x-rate-limit-*` or Mastodon's `x-ratelimit-*`; None where they are no use.

        X's reset is in unix seconds, Mastodon's a date by ISO 8601; each may be either.
        https://docs.x.com/x-api/fundamentals/rate-limits https://docs.joinmastodon.org/api/rate-limits/
        """
        for name in SPELLINGS:
            try:
                remaining = int(headers[f"{name}-remaining"])
                reset_ms = _reset_ms(headers[f"{name}-reset"])
                clock_time(reset_ms)  # which no calendar may go as far as
            except (KeyError, ValueError, OverflowError, OSError):
                continue
            allowed = headers.get(f"{name}-limit", "")
            is_number = allowed.isascii() and allowed.isdecimal() and len(allowed) < 10
            return cls(remaining, reset_ms, int(allowed) if is_number else None)
        return None

    def is_spent(self, now_ms: int) -> bool:
        """Whether a request now would be refused."""
        return self.remaining <= 0 and self._seconds_left(now_ms) > 0

    def pause_seconds(self, now_ms: int, wanted: float, requests: int = 1) -> float:
        """Seconds from one turn to the next that keep inside the allowance, at least `wanted`.

        Spreads what is left evenly over the time left, so that we are never refused.
        requests: how many of them a turn takes.
        """
        left = self._seconds_left(now_ms)
        return max(wanted, left * requests / max(requests, self.remaining))

    def _seconds_left(self, now_ms: int) -> float:
        left = (self.reset_ms - now_ms) / 1000 + 1
        # X's windows last 15 minutes: a reset in the past or far off is no reset.
        return left if 0 < left <= LONGEST_RESET_SECONDS else 0.0


def _reset_ms(reset: str) -> int:
    try:
        return int(reset) * 1000
    except ValueError:
        return parse_ms(reset)


@dataclass(frozen=True, slots=True)
class Pause:
    """How long to wait before asking again, and why it is longer than the owner would like."""

    seconds: float
    reason: str = ""


class Source(Protocol):
    """A way to a feed's posts, used by one thread.

    channel: which of the feed's ways it is, if there are several.
    """

    feed: Feed
    channel: str

    def poll(self) -> Iterator[Batch]:
        """Ask once, with all pages; or of an answer that goes on, wait for the next piece.

        Raises SourceError when there is no answer.
        """
        ...

    def pause(self) -> Pause:
        """How long to wait before asking again."""
        ...

    def server_ms(self) -> int | None:
        """What time the server said it is, carried on to now; None before it said so."""
        ...

    def cut(self) -> None:
        """End a question under way, from another thread."""
        ...


class Poller:
    """Polls one source until `stopping` is set and delivers what it says."""

    def __init__(
        self,
        source: Source,
        deliver: Callable[[Batch | Trouble], None],
        stopping: threading.Event,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._source = source
        self._deliver = deliver
        self._stopping = stopping
        self._wait = wait or stopping.wait
        thing = f"{source.feed.name} {source.channel}".strip()
        self._troubles = TroubleLog(log, thing)

    def run(self) -> None:
        """Poll until told to stop."""
        delays: dict[tuple[float, float], Iterator[float]] = {}
        while not self._stopping.is_set():
            try:
                for batch in self._source.poll():
                    self._deliver(batch)
            except SourceError as error:
                if self._stopping.is_set():
                    return  # our own cut
                # A row for each kind: failures that take turns must not start each other over.
                row = delays.setdefault((error.first, error.cap), backoff(error.first, error.cap))
                seconds = next(row) if error.retry_after is None else error.retry_after
                self._troubles.failed(str(error), seconds, needs_owner=error.needs_owner)
                self._tell_trouble(
                    *(str(error), seconds),
                    needs_owner=error.needs_owner,
                    by_choice=error.by_choice,
                )
            else:
                delays.clear()
                self._troubles.worked()
                seconds = self._rest()
            self._wait(seconds)

    def _rest(self) -> float:
        pause = self._source.pause()
        if pause.reason:
            self._tell_trouble(pause.reason, pause.seconds)
        return pause.seconds

    def _tell_trouble(
        self,
        sentence: str,
        seconds: float,
        *,
        needs_owner: bool = False,
        by_choice: bool = False,
    ) -> None:
        trouble = Trouble(
            source=self._source.feed.source,
            server=self._source.feed.server,
            channel=self._source.channel,
            # Who does not want to ask says itself when that ends.
            detail=sentence if by_choice else f"{sentence}; next try {from_now(seconds)}",
            needs_owner=needs_owner,
            by_choice=by_choice,
            server_ms=self._source.server_ms(),
        )
        self._deliver(trouble)
