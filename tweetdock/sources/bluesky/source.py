"""Bluesky's posts by Jetstream: the window replayed once, then what is new, whatever breaks."""

import json
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from urllib.parse import urlsplit

from tweetdock.core.clock import FUTURE_MS, Clock, is_off
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import SourceError
from tweetdock.core.post import Batch, Feed, Post, Raw, Removal, Span
from tweetdock.core.times import duration
from tweetdock.sources.bluesky.events import Event, Filter, Matched, Removed, UnreadableEvent
from tweetdock.sources.bluesky.progress import (
    FUTURE,
    EventProgress,
    GapPlan,
    LivePlan,
    ReplayRequest,
    middle_ms,
)
from tweetdock.sources.bluesky.websocket import WebSocket
from tweetdock.sources.http import server_now_ms
from tweetdock.sources.polling import Pause

log = logging.getLogger(__name__)

JETSTREAM_LAG_MS = 15_000  # by then a seam has been read again
IDLE_SECONDS = 1.0
PIECE_MS = 1_000  # coverage alone is delivered in no smaller pieces


class KnownUris:
    """Uris of posts that were delivered, known for one window at least and two at most.

    Added to by all threads, asked and turned by one alone. Posts may be counted that were delivered
    before a restart: until the window has left them behind, any may be one of theirs. Those of
    bridged posts, which have another key, are kept: cursor: as JSON, of before a restart.
    """

    def __init__(self, window_ms: int, now_ms: int, cursor: str = "") -> None:
        self._window_ms = window_ms
        self._turned_ms = now_ms
        self._any_until_ms = now_ms + window_ms
        # Hashes: for a post that is taken for ours by mistake there is but a removal, to no harm.
        self._recent: set[int] = set()
        self._older: set[int] = set()
        self._bridged: dict[str, str] = {}
        with suppress(ValueError, TypeError, KeyError, RecursionError):
            self._bridged = {str(uri): str(key) for uri, key in json.loads(cursor)["bridged"]}

    @property
    def cursor(self) -> str:
        """What a restart goes on from."""
        return json.dumps({"bridged": list(self._bridged.items())}) if self._bridged else ""

    def add(self, uri: str, key: str) -> None:
        """A post was delivered."""
        self._recent.add(hash(uri))
        if key != uri:
            self._bridged[uri] = key

    def key_of(self, uri: str) -> str:
        """The key that a post was delivered by."""
        return self._bridged.get(uri, uri)

    def may_be_ours(self, uri: str, now_ms: int) -> bool:
        """Whether a post may have been delivered that is still counted."""
        if now_ms - self._turned_ms >= self._window_ms:
            self._older, self._recent = self._recent, set()
            self._turned_ms = now_ms
            for old in [uri for uri in list(self._bridged) if hash(uri) not in self._older]:
                del self._bridged[old]
        return now_ms < self._any_until_ms or hash(uri) in self._recent or hash(uri) in self._older


class Bluesky:
    """Posts with one of the hashtags (given without `#`), as a source that is listened to.

    hosts: `wss://host/subscribe`, in order of preference. window_seconds: what is to be complete.
    silence_seconds: a connection without events for so long counts as dead. keeps_raw: batches
    bring the events too. cursor: of an earlier batch. beside: the source that brings what is new,
    to bring what that one lacks.

    A post's time is that of its event (`time_us`) if it is new; of one that is changed, it is in
    its key. What `createdAt` says is the author's own. A post that is changed so that it has none
    of the hashtags counts as removed, until it has one again. That an account was closed does not
    remove its posts.
    """

    def __init__(
        self,
        hashtags: Sequence[str],
        *,
        clock: Clock,
        hosts: Sequence[str],
        window_seconds: float,
        silence_seconds: float = 30.0,
        keeps_raw: bool = False,
        cursor: str = "",
        beside: "Bluesky | None" = None,
    ) -> None:
        self.feed = Feed("bluesky", JETSTREAM_LAG_MS)
        self.channel = "gaps" if beside else ""
        self._window_ms = round(window_seconds * 1000)
        self._clock = clock
        self._silence_seconds = silence_seconds
        self._keeps_raw = keeps_raw
        self._filter = Filter(hashtags)
        self.known: KnownUris = (
            beside.known if beside else KnownUris(self._window_ms, clock.now_ms(), cursor)
        )
        self._plan = (GapPlan if beside else LivePlan)(hosts, window_ms=self._window_ms)
        self._has_others = len(hosts) > 1
        self._socket = WebSocket()
        self._progress: EventProgress | None = None
        self._asked_ms = 0  # by the monotonic clock
        self._agrees = False  # with our clock, and that is still to be told
        self._is_timeless = False  # the host has not said what time it is: its events may
        self._trusts_clock = bool(beside)  # whatever later events say: the newest agree with it
        self._events: list[Event] = []
        self._covers = Spans()
        self._lost = ""
        self._has_failed = False
        # Once a lack.
        self._warn = cache(
            partial(log.warning, "an event that may be a post cannot be counted: it %s")
        )

    def poll(self, seen: Spans) -> Iterator[Batch]:
        """Connect if need be, and wait for events; SourceError when none come."""
        try:
            progress = self._progress or (yield from self._connect(seen))
            if progress:
                yield from self._read(progress, seen)
        except SourceError as error:
            if self._covers.until_ms is not None:
                yield from self._batches(self._batch(), has_more=True)
            self._disconnect()
            self._has_failed = True
            now_ms = self._clock.now_ms()
            error.retry_after = self._plan.hosts.failed(now_ms, error.retry_after)
            if self._has_others:  # whose turn it is, whatever ails this one
                error.first, error.cap = 1.0, 30.0
            raise

    def pause(self, _: Spans) -> Pause:
        """None while there is a connection: what comes next is waited for while polling."""
        return Pause(0.0 if self._progress else IDLE_SECONDS)

    def cut(self) -> None:
        """End the connection, and all attempts to come."""
        self._socket.cut()

    def close(self) -> None:
        """Leave the connection."""
        self._disconnect()

    def _connect(self, seen: Spans) -> Generator[Batch, None, EventProgress | None]:
        asked_ms, self._asked_ms = self._clock.now_ms(), self._clock.monotonic_ms()
        progress = self._plan.begin(seen, asked_ms)
        if progress is None:
            was_lost, self._lost = self._lost, self._plan.lost(None, seen, asked_ms)
            if self._has_failed or was_lost != self._lost:  # what was said of it no longer holds
                yield from self._batches(self._batch(), has_more=False)
            return None
        headers = self._socket.open(progress.ask.url)
        now_ms = self._clock.now_ms()
        self._progress = progress
        server_ms = server_now_ms(headers, asked_ms, now_ms)
        self._agrees = server_ms is not None and not is_off(server_ms, now_ms)
        self._is_timeless = server_ms is None
        if server_ms is not None and not self._agrees:
            yield from self._batches(replace(self._batch(), server_ms=server_ms), has_more=True)
        return progress

    def _read(self, progress: EventProgress, seen: Spans) -> Iterator[Batch]:
        frames = self._socket.read(self._silence_seconds)
        now_ms = self._clock.now_ms()
        times, events = self._filter.find(frames)
        self._events += events
        progress.advance(times, now_ms, self._clock.monotonic_ms() - self._asked_ms)
        if progress.is_ahead and not self._trusts_clock:
            self._ask_time(progress.ask.host)
        else:
            yield from self._deliver(progress, seen, now_ms)

    def _ask_time(self, host: str) -> None:
        """Leave the connection for the newest events: those of old only show that it is later."""
        self._disconnect()
        self._socket.open(ReplayRequest(host, 0, None).url)
        times: list[int] = []
        for _ in range(FUTURE):
            times += self._filter.find(self._socket.read(self._silence_seconds))[0]
            if len(times) >= 3:
                break
        self._socket.close()
        name = urlsplit(host).hostname
        if len(times) < 3:
            raise SourceError(f"{name}'s events do not say when they were")
        newest_ms, now_ms = middle_ms(times), self._clock.now_ms()
        self._trusts_clock = newest_ms <= now_ms + FUTURE_MS
        if not self._trusts_clock:
            ahead = duration((newest_ms - now_ms) / 1000)
            what = f"{name}'s events are {ahead} ahead of our clock"
            raise SourceError(what, server_ms=newest_ms)

    def _deliver(self, progress: EventProgress, seen: Spans, now_ms: int) -> Iterator[Batch]:
        self._covers = Spans([*self._covers, *progress.new_complete(now_ms)])
        for span in self._covers:
            seen.add(span)
        # A post of which there is no word yet may come from what is not complete.
        window = Span(now_ms - self._window_ms, seen.until_ms or now_ms)
        has_gaps = bool(self.channel) or not progress.is_past_seam or any(seen.gaps(window))
        found = self._found(progress, now_ms, has_gaps=has_gaps)
        if self._is_timeless and progress.is_live:
            self._is_timeless, found = False, replace(found, server_ms=now_ms - progress.lag_ms)
        is_behind = progress.is_behind(now_ms)
        leaves = self._plan.should_leave(progress, now_ms)
        was_lost, self._lost = self._lost, self._plan.lost(progress, seen, now_ms)
        covered_ms = sum(span.until_ms - span.since_ms for span in self._covers)
        is_news = bool(found.posts or found.removals or found.unreadable or found.server_ms)
        if is_news or covered_ms >= PIECE_MS or leaves or was_lost != self._lost:
            yield from self._batches(found, has_more=is_behind or leaves)
        if leaves:
            self._disconnect()

    def _found(self, progress: EventProgress, now_ms: int, *, has_gaps: bool) -> Batch:
        events, self._events = self._events, []
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
                    self.known.add(event.uri, event.key)
                case Matched():
                    raw.append(Raw(event.version, event.text, None))
                    unreadable.append(progress.position_ms)
                    self._warn("has no time that can be")
                case Removed(uri) if has_gaps or self.known.may_be_ours(uri, now_ms):
                    gone_ms, key = at_ms or progress.position_ms, self.known.key_of(uri)
                    removals.append(Removal(key, gone_ms, event.created_ms))
                case UnreadableEvent(lack):
                    unreadable.append(at_ms or progress.position_ms)
                    self._warn(lack)
        return replace(
            self._batch(),
            posts=tuple(posts),
            removals=tuple(removals),
            unreadable=tuple(unreadable),
            raw=tuple(raw) if self._keeps_raw else (),
        )

    def _batch(self) -> Batch:
        return Batch(source=self.feed.source, channel=self.channel, cursor=self.known.cursor)

    def _batches(self, found: Batch, *, has_more: bool) -> Iterator[Batch]:
        """What was found, and all that is complete by now: a stretch a batch."""
        spans: list[Span | None] = [*self._covers]
        self._covers = Spans()
        self._has_failed = False
        for span in spans or [None]:
            server_ms = self._clock.now_ms() if self._agrees else found.server_ms
            self._agrees = False
            yield replace(
                found, covers=span, server_ms=server_ms, has_more=has_more, lost=self._lost
            )
            found = self._batch()

    def _disconnect(self) -> None:
        self._socket.close()
        self._progress = None
        self._events = []
