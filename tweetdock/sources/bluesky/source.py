"""Bluesky's posts by Jetstream: the window replayed once, then what is new, whatever breaks."""

import logging
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from tweetdock.core.clock import Clock
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.gauge import Bookmark
from tweetdock.core.post import Batch, Feed, Post, Raw, Removal, Span
from tweetdock.core.times import HOUR_MS, duration
from tweetdock.retry import backoff
from tweetdock.sources.bluesky.events import (
    Event,
    Filter,
    Matched,
    Removed,
    UnreadableEvent,
)
from tweetdock.sources.bluesky.progress import AGREEING, EventProgress, EventRate, HostPlan
from tweetdock.sources.bluesky.websocket import WebSocket
from tweetdock.sources.polling import Pause

log = logging.getLogger(__name__)

JETSTREAM_LAG_MS = 10_000
LASTING_MS = 60_000  # a connection that held so long was none that fails again and again
MOST_CORRECTIONS = 3  # of our clock in an hour; with more, hosts may send us round in circles
LIVE_PIECE_MS = 1_000  # coverage alone is delivered in no smaller pieces
REPLAYED_PIECE_MS = 10_000  # nor in these, while a replay is under way


class KnownKeys:
    """Keys of posts, known for one window at least and two at most.

    had_others: posts may be counted that were delivered before a restart; until the window has left
    them behind, any key may be one of theirs.
    """

    def __init__(self, window_ms: int, now_ms: int, *, had_others: bool) -> None:
        self._window_ms = window_ms
        self._turned_ms = now_ms
        self._any_until_ms = now_ms + window_ms if had_others else now_ms
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

    def shift(self, by_ms: int) -> None:
        """The clock was corrected by so much."""
        self._turned_ms += by_ms
        self._any_until_ms += by_ms


class Bluesky:
    """Posts with one of the hashtags (given without `#`), as a source that is listened to.

    hosts: `wss://host/subscribe`, in order of preference. window_seconds: what is to be complete.
    silence_seconds: a connection without events for so long counts as dead. keeps_raw: batches
    bring the events too. bookmark: where to go on from.

    A post's time is that of its event (`time_us`): what `createdAt` says is the author's own. A
    post that is changed so that it has none of the hashtags counts as deleted. That an account was
    closed does not remove its posts.
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
        bookmark: Bookmark = Bookmark(),  # noqa: B008 - it cannot change
    ) -> None:
        self.feed = Feed("bluesky", JETSTREAM_LAG_MS)
        window_ms = round(window_seconds * 1000)
        self._clock = clock
        self._silence_seconds = silence_seconds
        self._keeps_raw = keeps_raw
        self._filter = Filter(hashtags)
        self._plan = HostPlan(hosts, window_ms=window_ms, bookmark=bookmark)
        self._rounds = len(hosts)
        self._known = KnownKeys(window_ms, clock.now_ms(), had_others=bookmark != Bookmark())
        self._socket = WebSocket()
        self._progress: EventProgress | None = None
        self._rate = EventRate()
        self._opened_ms = 0
        self._failures = 0
        self._delays = backoff(1.0, 30.0)
        self._doubtful: list[tuple[Matched, int]] = []
        self._covers: list[Span] = []
        self._lost = ""
        self._corrected_ms: list[int] = []
        self._was_corrected = False
        self._met: set[str] = set()

    def poll(self) -> Iterator[Batch]:
        """Connect if need be, and wait for events; SourceError when none come."""
        try:
            progress = self._progress or self._connect()
            if progress is None:
                return
            frames = self._socket.read(self._silence_seconds)
        except SourceError as error:
            if self._covers:
                yield self._batch(self._clock.now_ms(), has_more=True)
            raise self._failed(error) from error
        yield from self._read_frames(progress, frames)

    def pause(self) -> Pause:
        """None: what comes next is waited for while polling."""
        return Pause(0.0)

    def server_ms(self) -> int | None:
        """The hosts' time, once they have shown that ours was wrong."""
        return self._clock.now_ms() if self._was_corrected else None

    def cut(self) -> None:
        """End the connection, and all attempts to come."""
        self._socket.cut()

    def _connect(self) -> EventProgress | None:
        now_ms = self._clock.now_ms()
        ask = self._plan.next(now_ms)
        self._opened_ms = now_ms
        if self._believes(self._socket.open(ask.url), now_ms):
            self._disconnect()
            return None
        self._opened_ms = self._clock.now_ms()
        self._progress = EventProgress(ask, self._rate)
        return self._progress

    def _believes(self, server_ms: int | None, asked_ms: int) -> bool:
        """Whether a host's Date header has corrected our clock."""
        before_ms = self._clock.now_ms()
        if server_ms is None or self._corrections(before_ms) >= MOST_CORRECTIONS:
            return False
        if not self._clock.correct(server_ms, asked_ms):
            return False
        self._note_correction(before_ms)
        self._plan.clock_moved(self._clock.now_ms())
        return True

    def _read_frames(self, progress: EventProgress, frames: list[bytes]) -> Iterator[Batch]:
        now_ms, before_ms = self._clock.now_ms(), progress.position_ms
        times, events = self._filter.find(frames)
        progress.advance(times, now_ms)
        if progress.ahead_ms is not None:
            # Events of old only show that it is later than we think: the newest show how late.
            asked_for_time = self._plan.asks_the_time
            self._clock.correct(progress.ahead_ms)
            self._note_correction(now_ms)
            self._plan.clock_moved(self._clock.now_ms(), by_old_events=not asked_for_time)
            if self._corrections(self._clock.now_ms()) > MOST_CORRECTIONS:
                raise self._failed(SourceError("the Jetstream hosts do not agree on the time"))
            self._disconnect()
        elif self._plan.asks_the_time:
            if self._plan.should_leave(progress, now_ms):
                self._disconnect()
        elif older_ms := self._plan.older_by_ms(progress):
            raise self._failed(_too_old(progress.ask.host, older_ms))
        else:
            yield from self._deliver(progress, events, len(times), before_ms)

    def _deliver(
        self, progress: EventProgress, events: list[Event], number: int, before_ms: int | None
    ) -> Iterator[Batch]:
        now_ms = self._clock.now_ms()
        found = _FrameResults(progress, before_ms, now_ms, keeps_raw=self._keeps_raw)
        self._find(found, events, number, now_ms)
        for span in self._plan.record(progress, now_ms):
            self._cover(span)
        is_behind = self._plan.is_behind(progress, now_ms)
        leaves = self._plan.should_leave(progress, now_ms)
        if found or leaves or self._has_new_spans(now_ms, is_behind=is_behind):
            # First the posts: what a batch says to be complete must have come in it or before it.
            yield self._batch(now_ms, found, has_more=is_behind or leaves)
            while self._covers:
                yield self._batch(now_ms, has_more=is_behind or leaves)
        if leaves:
            self._disconnect()

    def _has_new_spans(self, now_ms: int, *, is_behind: bool) -> bool:
        covered_ms = sum(span.until_ms - span.since_ms for span in self._covers)
        was_lost, self._lost = self._lost, self._plan.lost(now_ms, self._progress)
        piece_ms = REPLAYED_PIECE_MS if is_behind else LIVE_PIECE_MS
        return covered_ms >= piece_ms or was_lost != self._lost

    def _find(self, found: "_FrameResults", events: list[Event], number: int, now_ms: int) -> None:
        doubtful, self._doubtful = self._doubtful, []
        for matched, patience in doubtful:
            self._add_matched(found, matched, patience - number)
        for event in events:
            match event:
                case Matched():
                    self._add_matched(found, event, AGREEING)
                case Removed(key) if self._known.may_be_ours(key, now_ms):
                    found.removals.append(Removal(key, found.moment(event.time_us)))
                case UnreadableEvent(lack):
                    self._note_unreadable(found, lack, event.time_us)

    def _add_matched(self, found: "_FrameResults", matched: Matched, patience: int) -> None:
        if matched.time_us is not None and found.is_plausible(matched.time_us):
            found.add(matched, matched.time_us)
            self._known.add(matched.key)
        elif matched.time_us is not None and patience > 0:
            # A single event that is far from the others is wrong; if they follow, it was first.
            self._doubtful.append((matched, patience))
        else:
            if self._keeps_raw:
                found.raw.append(Raw(matched.version, matched.text, None))
            self._note_unreadable(found, "has no time that can be", None)

    def _note_unreadable(self, found: "_FrameResults", lack: str, time_us: int | None) -> None:
        found.unreadable.append(found.moment(time_us))
        if lack not in self._met:
            self._met.add(lack)
            log.warning("an event that may be a post cannot be counted: it %s", lack)

    def _cover(self, span: Span) -> None:
        if self._covers and self._covers[-1].until_ms == span.since_ms:
            span = Span(self._covers.pop().since_ms, span.until_ms)
        if span.until_ms > span.since_ms:
            self._covers.append(span)

    def _batch(self, now_ms: int, found: "_FrameResults | None" = None, *, has_more: bool) -> Batch:
        covers = self._covers.pop(0) if self._covers else None
        return Batch(
            source=self.feed.source,
            posts=tuple(found.posts) if found else (),
            removals=tuple(found.removals) if found else (),
            covers=covers,
            unreadable=tuple(found.unreadable) if found else (),
            server_ms=self.server_ms(),
            raw=tuple(found.raw) if found else (),
            has_more=has_more,
            cursor=self._plan.cursor,
            lost=self._plan.lost(now_ms, self._progress),
        )

    def _corrections(self, now_ms: int) -> int:
        self._corrected_ms = [ms for ms in self._corrected_ms if now_ms - ms < HOUR_MS]
        return len(self._corrected_ms)

    def _note_correction(self, before_ms: int) -> None:
        now_ms, self._was_corrected = self._clock.now_ms(), True
        moved_ms = now_ms - before_ms
        self._corrected_ms = [*(ms + moved_ms for ms in self._corrected_ms), now_ms]
        self._known.shift(moved_ms)

    def _disconnect(self) -> None:
        self._socket.close()
        self._progress = None
        self._doubtful = []

    def _failed(self, error: SourceError) -> SourceError:
        progress, now_ms = self._progress, self._clock.now_ms()
        if error.kind is Kind.TOO_LARGE and progress is not None:
            self._plan.met_too_large(progress)
        if progress is not None and now_ms - self._opened_ms >= LASTING_MS:
            self._failures, self._delays = 0, backoff(1.0, 30.0)
        self._disconnect()
        self._plan.failed()
        self._failures += 1
        # Each host once without waiting; then none is asked in a hurry, whatever it does.
        seconds = 0.0
        if self._failures >= self._rounds:
            seconds = max(next(self._delays), error.retry_after or 0.0)
        return SourceError(error.what, error.cure, kind=error.kind, retry_after=seconds)


def _too_old(host: str, by_ms: int) -> SourceError:
    name, older = urlsplit(host).hostname, duration(by_ms / 1000)
    return SourceError(f"{name} sends what is {older} older than asked for: is our clock right?")


class _FrameResults:
    """What the events of one piece come to."""

    def __init__(
        self, progress: EventProgress, before_ms: int | None, now_ms: int, *, keeps_raw: bool
    ) -> None:
        self._progress, self._before_ms, self._now_ms = progress, before_ms, now_ms
        self._keeps_raw = keeps_raw
        self.posts: list[Post] = []
        self.removals: list[Removal] = []
        self.unreadable: list[int] = []
        self.raw: list[Raw] = []

    def __bool__(self) -> bool:
        return bool(self.posts or self.removals or self.unreadable)

    def is_plausible(self, time_us: int) -> bool:
        """Whether an event of this piece may have that time."""
        return self._progress.is_plausible(time_us, self._before_ms, self._now_ms)

    def moment(self, time_us: int | None) -> int:
        """An event's time, or where we are if it has none that can be."""
        if time_us is not None and self.is_plausible(time_us):
            return time_us // 1000
        position = self._progress.position_ms
        return self._progress.ask.since_ms if position is None else position

    def add(self, matched: Matched, time_us: int) -> None:
        """A post to count."""
        post = Post(matched.key, matched.author, time_us // 1000)
        self.posts.append(post)
        if self._keeps_raw:
            self.raw.append(Raw(matched.version, matched.text, post))
