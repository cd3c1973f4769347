"""Mastodon's stream of a hashtag as a source: posts as they come, their edits and deletions."""

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import PostError, SourceError
from tweetdock.core.post import Batch, Feed, Removal
from tweetdock.retry import backoff
from tweetdock.sources.mastodon.client import MastodonClient
from tweetdock.sources.mastodon.posts import Status, parse_streamed, status_id
from tweetdock.sources.polling import Pause

if TYPE_CHECKING:
    from tweetdock.sources.http import LineStream

log = logging.getLogger(__name__)

FORGET_EVERY_MS = 60_000
TAG_SILENCE_SECONDS = 40.0  # there is a heartbeat about every 15 s
LASTING_MS = 60_000  # a connection that ends sooner than that has not worked
RECONNECT_SECONDS, RECONNECT_CAP_SECONDS = 1.0, 60.0


class StreamEvent(NamedTuple):
    """An event; `data` is None if a part of it was too long to be received."""

    kind: str
    data: bytes | None


class EventDecoder:
    """Makes events of the lines of one connection.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation,
    but for `id` and `retry`, which go by unnoticed.
    """

    def __init__(self) -> None:
        self._is_first = True
        self._clear()

    def feed(self, line: bytes | None) -> StreamEvent | None:
        """The event that this line ends, if it ends one.

        line: without its end; None for one that was too long.
        """
        if line is None:
            self._is_spoilt = True
            return None
        if self._is_first:
            line, self._is_first = line.removeprefix(b"\xef\xbb\xbf"), False
        if not line:
            return self._finish()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._kind = value.decode(errors="replace")
        elif name == b"data":
            self._data.append(value)
        return None  # a comment has an empty name

    def _finish(self) -> StreamEvent | None:
        kind, data, is_spoilt = self._kind or "message", self._data, self._is_spoilt
        self._clear()
        if is_spoilt:
            return StreamEvent(kind, None)
        return StreamEvent(kind, b"\n".join(data)) if data else None

    def _clear(self) -> None:
        self._kind = ""
        self._data: list[bytes] = []
        self._is_spoilt = False


class Statuses:
    """The posts of the window by the server's own ids, as it names a deleted one by its id alone.

    Used by several threads.
    """

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._lock = threading.Lock()
        self._posts: dict[str, tuple[str, int]] = {}  # key, created_ms
        self._gone: dict[str, int] = {}
        self._streaming: set[str] = set()
        self._forgot_ms = 0

    def note(self, statuses: Iterable[Status], now_ms: int) -> tuple[Removal, ...]:
        """Learn the ids of some; the removals of those that were deleted already."""
        with self._lock:
            if not 0 <= now_ms - self._forgot_ms < FORGET_EVERY_MS:
                self._forget_before(now_ms - self._window_ms)
                self._forgot_ms = now_ms
            known = [status for status in statuses if status.id]
            self._posts |= {s.id: (s.post.key, s.post.created_ms) for s in known}
            gone = [(status, self._gone.get(status.id)) for status in known]
        return tuple(Removal(s.post.key, at_ms) for s, at_ms in gone if at_ms is not None)

    def remove(self, status_id: str, at_ms: int) -> Removal | None:
        """A post was deleted; its removal, or None if it is not known as one of ours.

        The deletion may come before the post, when a page with it is still on its way.
        """
        with self._lock:
            self._gone[status_id] = at_ms
            post = self._posts.get(status_id)
        return Removal(post[0], at_ms) if post else None

    def is_gone(self, status_id: str) -> bool:
        """Whether this one is known to be deleted."""
        with self._lock:
            return status_id in self._gone

    def set_streaming(self, tag: str, *, is_up: bool) -> None:
        """The stream of a tag is connected, or no longer."""
        with self._lock:
            if is_up:
                self._streaming.add(tag)
            else:
                self._streaming.discard(tag)

    def all_streaming(self, tags: Iterable[str]) -> bool:
        """Whether the streams of all these tags are connected."""
        with self._lock:
            return self._streaming.issuperset(tags)

    def _forget_before(self, ms: int) -> None:
        self._posts = {i: post for i, post in self._posts.items() if post[1] > ms}
        self._gone = {i: at_ms for i, at_ms in self._gone.items() if at_ms > ms}


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
        silence_seconds: float = TAG_SILENCE_SECONDS,
    ) -> None:
        self.feed = feed
        self.channel = f"#{tag}"
        self._tag = tag
        self._client = client
        self._statuses = statuses
        self._clock = clock
        self._keeps_raw = keeps_raw
        self._silence_seconds = silence_seconds
        self._lines: LineStream | None = None
        self._events = EventDecoder()
        self._opened_ms = 0
        self._delays = backoff(RECONNECT_SECONDS, RECONNECT_CAP_SECONDS)
        self._unreadable: Counter[str] = Counter()

    def poll(self, _: Spans) -> Iterator[Batch]:
        """Connect if need be, wait for the next lines, and yield what they bring."""
        if self._lines is None:
            self._lines = self._client.stream(self._tag, self._silence_seconds)
            self._events = EventDecoder()
            self._opened_ms = self._clock.now_ms()
        try:
            lines = self._lines.read()
        except SourceError as error:
            self._disconnect()
            # It worked until now; but a server that closes at once must not be asked at once again.
            error.retry_after = self._delay()
            raise
        if lines:
            self._statuses.set_streaming(self._tag, is_up=True)
            yield self._batch([event for line in lines if (event := self._events.feed(line))])

    def pause(self, _: Spans) -> Pause:
        """None: the wait is for the server."""
        return Pause(0.0)

    def cut(self) -> None:
        """End the wait."""
        self._client.cut()

    def _disconnect(self) -> None:
        self._statuses.set_streaming(self._tag, is_up=False)
        if self._lines is not None:
            self._lines.close()
        self._lines = None

    def _delay(self) -> float:
        if self._clock.now_ms() - self._opened_ms >= LASTING_MS:
            self._delays = backoff(RECONNECT_SECONDS, RECONNECT_CAP_SECONDS)
        return next(self._delays)

    def _batch(self, events: list[StreamEvent]) -> Batch:
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
            channel=self.channel,
            posts=tuple(status.post for status in statuses),
            removals=tuple(removals),
            raw=tuple(status.raw for status in statuses if status.raw),
            remark=self._client.remark,
        )

    def _read(self, event: StreamEvent, now_ms: int) -> list[Status]:
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

    def _remove(self, event: StreamEvent, now_ms: int) -> list[Removal]:
        gone = status_id((event.data or b"").decode(errors="replace").strip())
        removal = self._statuses.remove(gone, now_ms) if gone else None
        return [removal] if removal else []
