"""Mastodon's stream of a hashtag as a source: posts as they come, their edits and deletions."""

import logging
from collections.abc import Iterable, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tweetdock.core.coverage import Known
from tweetdock.core.errors import PostError, SourceError
from tweetdock.core.post import Batch, Feed
from tweetdock.sources.mastodon.client import MastodonClient
from tweetdock.sources.mastodon.posts import Status, decode, name_of, read_status
from tweetdock.sources.mastodon.statuses import Statuses
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
    said: dict[bytes, list[bytes]] = {b"event": [b""], b"data": []}
    for line in block:
        name, _, value = line.partition(b":")
        said.setdefault(name, []).append(value.removeprefix(b" "))
    kind, data = said[b"event"][-1], said[b"data"]
    return [StreamEvent(kind.decode(errors="replace"), b"\n".join(data))] if data else []


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

    def poll(self, _: Known) -> Iterator[Batch]:
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

    def pause(self, _: Known) -> Pause:
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
        now_ms, host = self._client.clock.now_ms(), self._client.host
        statuses: list[Status] = []
        lost: list[str] = []
        for event in events:
            if event.kind in ("update", "status.update"):
                entry = decode(event.data)
                found = self._read(entry, now_ms)
                if event.kind == "update" or self._statuses.counts(entry):
                    statuses += found
                else:
                    lost += [status.id for status in found]
            elif event.kind == "delete":
                lost.append(name_of(event.data.decode(errors="replace").strip()))
        removals = [gone for name in lost for gone in self._statuses.lose(host, name, now_ms)]
        removals += self._statuses.note(host, statuses)
        return Batch(
            source=self.feed.source,
            server=self.feed.server,
            channel=self.channel,
            read_ms=now_ms if statuses else None,
            posts=tuple(status.post for status in statuses),
            removals=tuple(removals),
            raw=tuple(status.raw for status in statuses if status.raw),
            remark=self._client.remark,
        )

    def _read(self, entry: Any, now_ms: int) -> list[Status]:
        try:
            # What is deleted in the same moment was there before that.
            status = read_status(entry, now_ms, now_ms - 1, keeps_raw=self._client.keeps_raw)
        except PostError as error:
            self._warn(str(error))
            return []
        return [status] if status else []
