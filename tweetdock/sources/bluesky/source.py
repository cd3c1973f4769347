"""Bluesky's posts by Jetstream: the window replayed once, then what is new, whatever breaks."""

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from urllib.parse import urlsplit

from tweetdock.core.clock import Clock, is_off
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import SourceError
from tweetdock.core.post import Batch, Feed, Post, Raw, Removal, Span
from tweetdock.core.times import duration
from tweetdock.sources.bluesky.events import Event, Filter, Matched, Removed, UnreadableEvent
from tweetdock.sources.bluesky.progress import EventProgress, HostPlan
from tweetdock.sources.bluesky.websocket import WebSocket
from tweetdock.sources.http import server_now_ms
from tweetdock.sources.polling import Pause

log = logging.getLogger(__name__)

JETSTREAM_LAG_MS = 10_000
PIECE_MS = 1_000  # coverage alone is delivered in no smaller pieces


class KnownKeys:
    """Keys of posts, known for one window at least and two at most.

    Posts may be counted that were delivered before a restart: until the window has left them
    behind, any key may be one of theirs.
    """

    def __init__(self, window_ms: int, now_ms: int) -> None:
        self._window_ms = window_ms
        self._turned_ms = now_ms
        self._any_until_ms = now_ms + window_ms
        # Hashes: for a post that is taken for ours by mistake there is but a removal, to no harm.
        self._recent: set[int] = set()
        self._older: set[int] = set()

    def add(self, key: str) -> None:
        """A post was delivered."""
        self._recent.add(hash(key))

    def may_be_ours(self, key: str, now_ms: int) -> bool:
        """Whether a post may have been delivered that is still counted."""
        if now_ms - self._turned_ms >= self._window_ms:
            self._older, self._recent = self._recent, set()
            self._turned_ms = now_ms
        return now_ms < self._any_until_ms or hash(key) in self._recent or hash(key) in self._older


class Bluesky:
    """Posts with one of the hashtags (given without `#`), as a source that is listened to.

    hosts: `wss://host/subscribe`, in order of preference. window_seconds: what is to be complete.
    silence_seconds: a connection without events for so long counts as dead. keeps_raw: batches
    bring the events too.

    A post's time is that of its event (`time_us`) if it is new; of one that is changed, it is in
    its key. What `createdAt` says is the author's own. A post that is changed so that it has none
    of the hashtags counts as removed, until it has one again. That an account was closed does not
    remove its posts.
    """

    channel = ""

    def __init__(
        self,
        hashtags: Sequence[str],
        *,
        clock: Clock,
        hosts: Sequence[str],
        window_seconds: float,
        silence_seconds: float = 30.0,
        keeps_raw: bool = False,
    ) -> None:
        self.feed = Feed("bluesky", JETSTREAM_LAG_MS)
        window_ms = round(window_seconds * 1000)
        self._clock = clock
        self._silence_seconds = silence_seconds
        self._keeps_raw = keeps_raw
        self._filter = Filter(hashtags)
        self._plan = HostPlan(hosts, window_ms=window_ms)
        self._has_others = len(hosts) > 1
        self._known = KnownKeys(window_ms, clock.now_ms())
        self._socket = WebSocket()
        self._progress: EventProgress | None = None
        self._agrees = False  # with our clock, and that is still to be told
        self._events: list[Event] = []
        self._covers = Spans()
        self._lost = ""
        # Once a lack.
        self._warn = cache(
            partial(log.warning, "an event that may be a post cannot be counted: it %s")
        )

    def poll(self, seen: Spans) -> Iterator[Batch]:
        """Connect if need be, and wait for events; SourceError when none come."""
        try:
            progress = self._progress or (yield from self._connect(seen))
            yield from self._read(progress, seen)
        except SourceError as error:
            if self._covers.until_ms is not None:
                yield from self._batches(Batch(source=self.feed.source), has_more=True)
            self._disconnect()
            error.retry_after = self._plan.failed(self._clock.now_ms(), error.retry_after)
            if self._has_others:  # whose turn it is, whatever ails this one
                error.first, error.cap = 1.0, 30.0
            raise

    def pause(self, _: Spans) -> Pause:
        """None: what comes next is waited for while polling."""
        return Pause(0.0)

    def cut(self) -> None:
        """End the connection, and all attempts to come."""
        self._socket.cut()

    def close(self) -> None:
        """Leave the connection."""
        self._disconnect()

    def _connect(self, seen: Spans) -> Generator[Batch, None, EventProgress]:
        asked_ms = self._clock.now_ms()
        progress = self._plan.begin(seen, asked_ms)
        headers = self._socket.open(progress.ask.url)
        now_ms = self._clock.now_ms()
        self._progress = progress
        server_ms = server_now_ms(headers, asked_ms, now_ms)
        self._agrees = server_ms is not None and not is_off(server_ms, now_ms)
        if server_ms is not None and not self._agrees:
            yield from self._batches(
                Batch(source=self.feed.source, server_ms=server_ms), has_more=True
            )
        return progress

    def _read(self, progress: EventProgress, seen: Spans) -> Iterator[Batch]:
        frames = self._socket.read(self._silence_seconds)
        now_ms = self._clock.now_ms()
        times, events = self._filter.find(frames)
        self._events += events
        progress.advance(times, now_ms)
        if progress.future_ms is not None:
            server_ms = self._plan.met_the_future(progress, now_ms)
            name = urlsplit(progress.ask.host).hostname
            ahead = duration((progress.future_ms - now_ms) / 1000)
            raise SourceError(
                f"{name}'s events are {ahead} ahead of our clock", server_ms=server_ms
            )
        if not progress.is_doubtful:
            yield from self._deliver(progress, seen, now_ms)

    def _deliver(self, progress: EventProgress, seen: Spans, now_ms: int) -> Iterator[Batch]:
        found, self._events = self._batch(self._events, progress, now_ms), []
        self._covers = Spans([*self._covers, *progress.new_complete(now_ms)])
        for span in self._covers:
            seen.add(span)
        is_behind = progress.is_behind(now_ms)
        leaves = self._plan.should_leave(progress, seen, now_ms)
        was_lost, self._lost = self._lost, self._plan.lost(progress, seen, now_ms)
        covered_ms = sum(span.until_ms - span.since_ms for span in self._covers)
        is_news = bool(found.posts or found.removals or found.unreadable)
        if is_news or covered_ms >= PIECE_MS or leaves or was_lost != self._lost:
            yield from self._batches(found, has_more=is_behind or leaves)
        if leaves:
            self._disconnect()

    def _batch(self, events: Iterable[Event], progress: EventProgress, now_ms: int) -> Batch:
        posts: list[Post] = []
        removals: list[Removal] = []
        unreadable: list[int] = []
        raw: list[Raw] = []
        for event in events:
            at_ms = progress.moment(event.time_us, now_ms)
            match event:
                case Matched() if at_ms is not None:
                    created_ms = at_ms if event.created_ms is None else event.created_ms
                    posts.append(Post(event.key, event.author, created_ms, at_ms))
                    raw.append(Raw(event.version, event.text, posts[-1]))
                    self._known.add(event.key)
                case Matched():
                    raw.append(Raw(event.version, event.text, None))
                    unreadable.append(progress.position_ms)
                    self._warn("has no time that can be")
                case Removed(key) if self._known.may_be_ours(key, now_ms):
                    gone_ms = at_ms or progress.position_ms
                    removals.append(Removal(key, gone_ms, event.created_ms))
                case UnreadableEvent(lack):
                    unreadable.append(at_ms or progress.position_ms)
                    self._warn(lack)
        return Batch(
            source=self.feed.source,
            posts=tuple(posts),
            removals=tuple(removals),
            unreadable=tuple(unreadable),
            raw=tuple(raw) if self._keeps_raw else (),
        )

    def _batches(self, found: Batch, *, has_more: bool) -> Iterator[Batch]:
        """What was found, and all that is complete by now: a stretch a batch."""
        spans: list[Span | None] = [*self._covers]
        self._covers = Spans()
        for span in spans or [None]:
            server_ms = self._clock.now_ms() if self._agrees else found.server_ms
            self._agrees = False
            yield replace(
                found,
                covers=span,
                server_ms=server_ms,
                has_more=has_more,
                lost=self._lost,
            )
            found = Batch(source=self.feed.source)

    def _disconnect(self) -> None:
        self._socket.close()
        self._progress = None
        self._events = []
