"""A source, and the thread that asks it again and again: by its pauses, limits and backoff."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from tweetdock.core.coverage import Known
from tweetdock.core.errors import SourceError
from tweetdock.core.post import Batch, Feed, Trouble
from tweetdock.core.times import from_now
from tweetdock.retry import TroubleLog, backoff

log = logging.getLogger(__name__)

LASTING_SECONDS = 60.0
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

    def poll(self, seen: Known, /) -> Iterator[Batch]:
        """Ask once, with all pages; or of an answer that goes on, wait for the next piece.

        seen: what the feed has seen for certain so far, by all its ways: what it lacks of the
        window is to be asked for. Raises SourceError when there is no answer.
        """
        ...

    def pause(self, seen: Known, /) -> Pause:
        """How long to wait before asking again, given what has been seen by now."""
        ...

    def cut(self) -> None:
        """End a question under way, from another thread."""
        ...

    def close(self) -> None:
        """Let go of what is open; nothing is asked after that."""
        ...


class Listener(Protocol):
    """Whom a source delivers to: what counts, and alone knows what has been seen."""

    def deliver(self, message: Batch | Trouble) -> None:
        """Take a message in; returns when it is counted."""
        ...

    def seen(self, feed: str) -> Known:
        """What a feed has seen for certain."""
        ...


class Waits:
    """How long to wait after each failure of a source, until it has worked. Times in seconds.

    An answer that goes on has worked only once it has lasted: who greets and closes must not be
    asked again at once, for ever.
    """

    def __init__(self) -> None:
        # A row for each kind: failures that take turns must not start each other over.
        self._rows: dict[tuple[float, float], Iterator[float]] = {}
        self._retried = -math.inf

    def worked(self) -> None:
        """The source has answered, and is asked again after a pause."""
        self._rows.clear()

    def after(self, error: SourceError, now: float) -> float:
        """Seconds to wait: the server's own word, or by how often it has failed."""
        if now - self._retried >= LASTING_SECONDS:
            self._rows.clear()
        row = self._rows.setdefault((error.first, error.cap), backoff(error.first, error.cap))
        seconds = next(row) if error.retry_after is None else error.retry_after
        self._retried = now + seconds
        return seconds


class Poller:
    """Polls one source until `stopping` is set and delivers what it says."""

    def __init__(
        self,
        source: Source,
        listener: Listener,
        stopping: threading.Event,
        wait: Callable[[float], object] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._listener = listener
        self._stopping = stopping
        self._wait = wait or stopping.wait
        self._monotonic = monotonic
        thing = f"{source.feed.name} {source.channel}".strip()
        self._troubles = TroubleLog(log, thing)

    def run(self) -> None:
        """Poll until told to stop."""
        waits = Waits()
        while not self._stopping.is_set():
            try:
                for batch in self._source.poll(self._seen()):
                    self._listener.deliver(batch)
                    if self._stopping.is_set():
                        return
            except SourceError as error:
                if self._stopping.is_set():
                    return  # our own cut
                seconds = waits.after(error, self._monotonic())
                self._troubles.failed(str(error), seconds, needs_owner=error.needs_owner)
                self._tell_trouble(error, seconds)
            else:
                self._troubles.worked()
                seconds = self._rest()
                if seconds:
                    waits.worked()
            self._wait(seconds)

    def _seen(self) -> Known:
        return self._listener.seen(self._source.feed.name)

    def _rest(self) -> float:
        pause = self._source.pause(self._seen())
        if pause.reason:
            self._tell_trouble(SourceError(pause.reason), pause.seconds)
        return pause.seconds

    def _tell_trouble(self, error: SourceError, seconds: float) -> None:
        trouble = Trouble(
            source=self._source.feed.source,
            server=self._source.feed.server,
            channel=self._source.channel,
            # Who does not want to ask says itself when that ends.
            detail=str(error) if error.by_choice else f"{error}; next try {from_now(seconds)}",
            needs_owner=error.needs_owner,
            by_choice=error.by_choice,
            server_ms=error.server_ms,
        )
        self._listener.deliver(trouble)
