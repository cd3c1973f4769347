"""A source, and the thread that asks it again and again: by its pauses, limits and backoff."""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from tweetdock.core.errors import SourceError
from tweetdock.core.post import Batch, Feed, Trouble
from tweetdock.core.times import from_now
from tweetdock.retry import TroubleLog, backoff

log = logging.getLogger(__name__)

GRACE_MS = 10_000  # a poll may be this late before the lack of it counts as a gap


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
