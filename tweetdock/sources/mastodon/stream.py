"""Mastodon's stream of a hashtag as a source: posts as they come, their edits and deletions."""

import logging
import threading
from collections.abc import Iterable, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

from tweetdock.core.coverage import Spans
from tweetdock.core.errors import PostError, SourceError
from tweetdock.core.post import Batch, Feed, Post, Removal
from tweetdock.sources.mastodon.client import MastodonClient
from tweetdock.sources.mastodon.posts import Status, name_of, parse_streamed
from tweetdock.sources.polling import Pause

if TYPE_CHECKING:
    from tweetdock.sources.http import HttpSession, LineStream

log = logging.getLogger(__name__)

TAG_SILENCE_SECONDS = 40.0  # there is a heartbeat about every 15 s


class StreamEvent(NamedTuple):
    """An event."""

    kind: str
    data: bytes


def parse_events(lines: Iterable[bytes], block: list[bytes]) -> list[StreamEvent]:
    """The events that some lines end, without `id` and `retry`.

    lines: without their ends. block: the lines of the event that has begun, kept from call to
    call; comments are not among them.
    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """
    events = []
    for line in lines:
        if not line:
            events += _event(block)
            block.clear()
        elif not line.startswith(b":"):
            block.append(line)
    return events


def _event(block: Iterable[bytes]) -> list[StreamEvent]:
    kind, data = b"", []
    for line in block:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            kind = value
        elif name == b"data":
            data.append(value)
    return [StreamEvent(kind.decode(errors="replace"), b"\n".join(data))] if data else []


class Statuses:
    """The posts of the window by the server's own ids, as it names a deleted one by its id alone.

    Used by several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._posts: dict[str, Post] = {}
        self._gone: dict[str, int] = {}

    def note(self, statuses: Iterable[Status]) -> tuple[Removal, ...]:
        """Learn the ids of some; the removals of those that were deleted already."""
        with self._lock:
            known = {status.id: status.post for status in statuses if status.id}
            self._posts |= known
            return tuple(
                Removal(post.key, self._gone[status_id])
                for status_id, post in known.items()
                if status_id in self._gone
            )

    def remove(self, status_id: str, at_ms: int) -> tuple[Removal, ...]:
        """A post was deleted; its removal, if it is known as one of ours.

        The deletion may come before the post, when a page with it is still on its way.
        """
        with self._lock:
            self._gone[status_id] = at_ms
            post = self._posts.get(status_id)
        return (Removal(post.key, at_ms),) if post else ()

    def is_gone(self, status_id: str) -> bool:
        """Whether this one is known to be deleted."""
        with self._lock:
            return status_id in self._gone

    def forget_before(self, ms: int) -> None:
        """Forget all that is of that moment (Unix ms) or earlier."""
        with self._lock:
            self._posts = {i: post for i, post in self._posts.items() if post.created_ms > ms}
            self._gone = {i: at_ms for i, at_ms in self._gone.items() if at_ms > ms}


class TagStream:
    """Listens to one hashtag, by a user's token.

    It makes no stretch complete: nothing is repeated after a break, so that is left to the
    timeline, which reads the same posts again. For the same reason a post that cannot be read
    is not counted here.

    is_up: whether it is connected; for any thread.
    https://docs.joinmastodon.org/methods/streaming/#hashtag
    """

    def __init__(
        self,
        feed: Feed,
        tag: str,
        client: MastodonClient,
        statuses: Statuses,
        *,
        session: "HttpSession",
        silence_seconds: float = TAG_SILENCE_SECONDS,
    ) -> None:
        self.feed = feed
        self.channel = f"#{tag}"
        self.is_up = False
        self._tag = tag
        self._client = client
        self._statuses = statuses
        self._session = session
        self._silence_seconds = silence_seconds
        self._lines: LineStream | None = None
        self._block: list[bytes] = []  # of an event that has begun
        # Once a kind.
        self._warn = cache(partial(log.warning, "%s: an entry is left out: %s", feed.name))

    def poll(self, _: Spans) -> Iterator[Batch]:
        """Connect if need be, wait for the next lines, and yield what they bring."""
        if self._lines is None:
            self._lines = self._client.stream(self._session, self._tag, self._silence_seconds)
            self._block = []
        try:
            lines = self._lines.read()
        except SourceError:
            self._leave()
            raise
        if lines:
            self.is_up = True
            yield self._batch(parse_events(lines, self._block))

    def pause(self, _: Spans) -> Pause:
        """None: the wait is for the server."""
        return Pause(0.0)

    def cut(self) -> None:
        """End the wait."""
        self._client.cut()
        self._session.cut()

    def close(self) -> None:
        """Leave the stream, and let go of the connections."""
        self._leave()
        self._client.close()
        self._session.close()

    def _leave(self) -> None:
        self.is_up = False
        if self._lines is not None:
            self._lines.close()
        self._lines = None

    def _batch(self, events: list[StreamEvent]) -> Batch:
        """What some events say; a heartbeat alone says that all is well."""
        now_ms = self._client.clock.now_ms()
        statuses: list[Status] = []
        removals: list[Removal] = []
        for event in events:
            if event.kind in ("update", "status.update"):
                statuses += self._read(event.data, now_ms)
            elif event.kind == "delete":
                gone = name_of(event.data.decode(errors="replace").strip())
                removals += self._statuses.remove(gone, now_ms) if gone else ()
        removals += self._statuses.note(statuses)
        return Batch(
            source=self.feed.source,
            server=self.feed.server,
            channel=self.channel,
            posts=tuple(status.post for status in statuses),
            removals=tuple(removals),
            raw=tuple(status.raw for status in statuses if status.raw),
            remark=self._client.remark,
        )

    def _read(self, data: bytes, now_ms: int) -> list[Status]:
        try:
            status = parse_streamed(data, now_ms, keeps_raw=self._client.keeps_raw)
        except PostError as error:
            self._warn(str(error))
            return []
        return [status] if status else []
