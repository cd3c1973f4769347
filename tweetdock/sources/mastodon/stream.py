"""Mastodon's stream of a hashtag as a source: posts as they come, their edits and their ends."""

import logging
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tweetdock.core.clock import Clock
from tweetdock.core.errors import PostError, SourceError
from tweetdock.core.post import Batch, Feed, Removal
from tweetdock.retry import backoff
from tweetdock.sources.mastodon.client import MastodonClient
from tweetdock.sources.mastodon.posts import Status, parse_streamed, status_id
from tweetdock.sources.mastodon.sse import Event, EventDecoder
from tweetdock.sources.mastodon.statuses import Statuses
from tweetdock.sources.polling import Pause

if TYPE_CHECKING:
    from tweetdock.sources.http import LineStream

log = logging.getLogger(__name__)

SILENCE_SECONDS = 40.0  # there is a heartbeat about every 15 s
STEADY_MS = 60_000  # a connection that ends sooner than that has not worked
FIRST_SECONDS, CAP_SECONDS = 1.0, 60.0


class TagStream:
    """Listens to one hashtag, by a user's token.

    It makes no stretch complete: nothing is repeated after a break, so that is left to the
    timeline, which reads the same posts again. For the same reason a post that cannot be read
    is not counted here.

    https://docs.joinmastodon.org/methods/streaming/#hashtag
    """

    def __init__(
        self,
        feed: Feed,
        tag: str,
        client: MastodonClient,
        statuses: Statuses,
        *,
        clock: Clock,
        keeps_raw: bool = False,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self.feed = feed
        self.voice = f"#{tag}"
        self._tag = tag
        self._client = client
        self._statuses = statuses
        self._clock = clock
        self._keeps_raw = keeps_raw
        self._silence_seconds = silence_seconds
        self._lines: LineStream | None = None
        self._events = EventDecoder()
        self._opened_ms = 0
        self._delays = backoff(FIRST_SECONDS, CAP_SECONDS)
        self._unreadable: Counter[str] = Counter()

    def poll(self) -> Iterator[Batch]:
        """Connect if need be, wait for the next lines, and yield what they bring."""
        if self._lines is None:
            self._lines = self._client.stream(self._tag, self._silence_seconds)
            self._events = EventDecoder()
            self._opened_ms = self._clock.now_ms()
        try:
            lines = self._lines.read()
        except SourceError as error:
            self._leave()
            # It worked until now, and a server that closes at once must not be asked at once.
            raise SourceError(str(error), retry_after=self._delay()) from error
        if lines:
            self._statuses.set_streaming(self._tag, is_up=True)
            yield self._batch([event for line in lines if (event := self._events.take(line))])

    def pause(self) -> Pause:
        """None: the wait is for the server."""
        return Pause(0.0)

    def server_ms(self) -> int | None:
        """The server's time, once it has said so."""
        return self._client.server_ms()

    def cut(self) -> None:
        """End the wait."""
        self._client.cut()

    def _leave(self) -> None:
        self._statuses.set_streaming(self._tag, is_up=False)
        if self._lines is not None:
            self._lines.close()
        self._lines = None

    def _delay(self) -> float:
        if self._clock.now_ms() - self._opened_ms >= STEADY_MS:
            self._delays = backoff(FIRST_SECONDS, CAP_SECONDS)
        return next(self._delays)

    def _batch(self, events: list[Event]) -> Batch:
        """What some events say; a heartbeat alone says that all is well."""
        now_ms = self._clock.now_ms()
        statuses, removals = [], []
        for event in events:
            if event.kind in ("update", "status.update"):
                statuses += self._read(event, now_ms)
            elif event.kind == "delete":
                removals += self._remove(event, now_ms)
        removals += self._statuses.note(statuses, now_ms)
        return Batch(
            source=self.feed.source,
            server=self.feed.server,
            voice=self.voice,
            posts=tuple(status.post for status in statuses),
            removals=tuple(removals),
            server_ms=self.server_ms(),
            raw=tuple(status.raw for status in statuses if status.raw),
            remark=self._client.remark,
        )

    def _read(self, event: Event, now_ms: int) -> list[Status]:
        try:
            # What was too long is empty here, and no JSON.
            status = parse_streamed(event.data or b"", now_ms, keeps_raw=self._keeps_raw)
        except PostError as error:
            kind = str(error)
            self._unreadable[kind] += 1
            if self._unreadable[kind] == 1:
                log.warning("%s: an entry of the stream is left out: %s", self.feed.name, kind)
            return []
        return [status] if status else []

    def _remove(self, event: Event, now_ms: int) -> list[Removal]:
        gone = status_id((event.data or b"").decode(errors="replace").strip())
        removal = self._statuses.remove(gone, now_ms) if gone else None
        return [removal] if removal else []
