"""A Mastodon server's timeline of hashtags as a source: all that is new, missing, or late."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tweetdock.core.clock import Clock
from tweetdock.core.errors import SourceError
from tweetdock.core.memory import Bookmark
from tweetdock.core.post import Batch, Feed, Removal, Span
from tweetdock.core.times import duration
from tweetdock.sources.mastodon.access import ASK_EVERY_MS
from tweetdock.sources.mastodon.client import Found, MastodonClient
from tweetdock.sources.mastodon.plan import SETTLE_MS, Reading, TimelinePlan, common
from tweetdock.sources.mastodon.posts import Page, Unreadable
from tweetdock.sources.mastodon.statuses import Statuses
from tweetdock.sources.polling import Pause

log = logging.getLogger(__name__)

SOURCE = "mastodon"
# The documentation says one tag and four more; the server's code takes the first four of them all
# and says nothing of the rest.
TAGS_A_REQUEST = 4
STREAMED_POLL_SECONDS = 60.0  # while posts come by stream, the timeline fills and looks back
NOTHING = Span(0, 0)
GRACE_MS = 10_000  # a poll may be this late before the lack of it counts as a gap
# By a clock further off than this a post would get a wrong moment, and what is new not be read.
TOLERATED_MS = 30_000
# Answers in a row that must agree before another time is believed: a server may have two clocks.
AFTER_MOVING, AFTER_DISAGREEING = 3, 8


class TagTimeline:
    """One server's timeline of some hashtags, as a source to be polled.

    It alone says what is complete: all that the server shows, which is what has reached it.
    """

    voice = "timeline"

    def __init__(
        self,
        hashtags: Sequence[str],
        client: MastodonClient,
        statuses: Statuses,
        *,
        clock: Clock,
        is_streamed: bool,
        window_ms: int,
        poll_seconds: float,
        bookmark: Bookmark,
    ) -> None:
        self._poll_seconds = poll_seconds
        self._slow_seconds = max(poll_seconds, STREAMED_POLL_SECONDS if is_streamed else 0.0)
        lag_ms = SETTLE_MS + round(self._slow_seconds * 1000) + GRACE_MS
        self.feed = Feed(SOURCE, lag_ms, client.host)
        self._hashtags = tuple(hashtags)
        self._client = client
        self._statuses = statuses
        self._clock = clock
        self._window_ms = window_ms
        groups = range(0, len(hashtags), TAGS_A_REQUEST)
        self._plans = {
            tuple(hashtags[start : start + TAGS_A_REQUEST]): TimelinePlan(window_ms, bookmark.seen)
            for start in groups
        }
        self._accessed_ms: int | None = None
        self._polled_ms = 0
        self._was_moved = False
        self._may_move = True
        self._doubts = 0  # answers that must agree on the time before one is used
        self._disagree = False
        self._is_behind = False
        self._showing: set[tuple[str, ...]] = set()
        self._unreadable: dict[str, int] = {}
        self._kinds: Counter[str] = Counter()

    def poll(self) -> Iterator[Batch]:
        """Read what is new, missing, or to be read again; a Batch a page."""
        self._polled_ms = self._clock.now_ms()
        # A server whose clocks disagree must not begin anew for ever.
        self._may_move, self._was_moved = not self._was_moved, False
        self._is_behind = False
        self._look_who_may_read()
        plans = list(self._plans.items())
        for number, (tags, plan) in enumerate(plans, 1):
            plan.begin(self._clock.now_ms())
            while reading := plan.next():
                yield from self._read(tags, plan, reading, is_last=number == len(plans))
                if self._was_moved:
                    return
                if not reading.is_done:
                    self._is_behind = True
                    break

    def pause(self) -> Pause:
        """Until the next poll is due, longer where the rate limit wants it."""
        now_ms = self._clock.now_ms()
        is_streaming = self._statuses.all_streaming(self._hashtags)
        usual = self._slow_seconds if is_streaming else self._poll_seconds
        if self._is_behind:
            usual = 0.0
        # With the time corrected, the stretch to ask for is another.
        turn = min(1.0, usual) if self._was_moved else usual
        wanted = max(0.0, turn - max(0, now_ms - self._polled_ms) / 1000)
        limit = self._client.limit
        if limit is None:
            return Pause(wanted)
        # A page and the empty one behind it for each group, and a look back.
        seconds = limit.pause_seconds(now_ms, wanted, 2 * len(self._plans) + 1)
        if seconds * 1000 < self._slow_seconds * 1000 + GRACE_MS:
            return Pause(seconds)
        host = self._client.host
        return Pause(seconds, f"{host}'s rate limit leaves one look every {duration(seconds)}")

    def server_ms(self) -> int | None:
        """The server's time, once it has said so."""
        return self._client.server_ms()

    def cut(self) -> None:
        """End the request under way."""
        self._client.cut()

    def _has_dried_up(self, tags: tuple[str, ...], reading: Reading, page: Page) -> bool:
        """Whether there are no new posts at all, and there were some when it was asked before."""
        if not reading.is_live or reading.pages:
            return False
        was_showing = tags in self._showing
        if page.size:
            self._showing.add(tags)
        else:
            self._showing.discard(tags)
        return was_showing and not page.size

    def _look_who_may_read(self, *, at_once: bool = False) -> None:
        # To some whom it does not let in a server answers with an empty page, as if all was well.
        now_ms, known_ms = self._clock.now_ms(), self._accessed_ms
        if not at_once and known_ms is not None and known_ms <= now_ms < known_ms + ASK_EVERY_MS:
            return
        self._accessed_ms = None
        self._client.access()
        self._accessed_ms = self._clock.now_ms()

    def _read(
        self, tags: tuple[str, ...], plan: TimelinePlan, reading: Reading, *, is_last: bool
    ) -> Iterator[Batch]:
        while not reading.is_done:
            # What is new must not wait for what is old; of that at least a page is read a turn.
            if reading.pages and not reading.is_live and self._is_late():
                return
            found = self._client.page(tags, reading.bounds)
            if self._is_doubtful(found):
                yield self._batch(Page(), NOTHING, has_more=False)
                return
            if self._has_dried_up(tags, reading, found.page):
                self._look_who_may_read(at_once=True)
            above = reading.min_id
            span = reading.take(found.page, found.served_ms)
            plan.learn(reading, found.page)
            plan.record(reading, span)
            if found.moved_ms and self._may_move:
                self._move()
            has_more = not (is_last and reading.is_done and plan.is_done)
            has_more = has_more and not self._was_moved
            absent = plan.absent(reading, found.page, above)
            first, *others = common(span, self._plans.values()) or [NOTHING]
            yield self._batch(found.page, first, has_more=has_more or bool(absent))
            for other in others:
                yield self._batch(Page(), other, has_more=has_more or bool(absent))
            for snowflake in absent:
                gone = self._look_after(plan, snowflake)
                is_more = has_more or snowflake != absent[-1]
                yield replace(self._batch(Page(), NOTHING, has_more=is_more), removals=gone)
            if self._was_moved:
                return

    def _is_doubtful(self, found: Found) -> bool:
        """Whether a page is not to be used yet, as more answers must confirm what time it is.

        SourceError once one of them said otherwise.
        """
        if abs(found.moved_ms) > TOLERATED_MS:
            self._disagree = self._doubts > 0
            self._doubts = AFTER_DISAGREEING if self._disagree else AFTER_MOVING
            self._move()
        elif self._doubts:
            self._doubts -= 1
        if not self._doubts:
            self._disagree = False
            return False
        if self._disagree:
            host = self._client.host
            raise SourceError(f"{host}'s clocks disagree on what time it is", first=5.0, cap=60.0)
        self._was_moved = True
        return True

    def _move(self) -> None:
        self._was_moved = True
        for plan in self._plans.values():
            plan.clock_moved(self._clock.now_ms())

    def _is_late(self) -> bool:
        """Whether this poll has taken as long as the pause between two."""
        return self._clock.now_ms() - self._polled_ms > self._poll_seconds * 1000

    def _look_after(self, plan: TimelinePlan, snowflake: int) -> tuple[Removal, ...]:
        # A deletion is told by the streams alone, and by them once: without one, or while it is
        # broken, a post that is missing where it was is asked for by itself.
        name = str(snowflake)
        is_news = not self._statuses.is_gone(name) and self._client.is_gone(name)
        plan.forget(snowflake)
        removal = self._statuses.remove(name, self._clock.now_ms()) if is_news else None
        return (removal,) if removal else ()

    def _batch(self, page: Page, covers: Span, *, has_more: bool) -> Batch:
        removals = self._statuses.note(page.statuses, self._clock.now_ms())
        floor = self._clock.now_ms() - self._window_ms
        if page.unreadable:
            self._unreadable = {name: ms for name, ms in self._unreadable.items() if ms > floor}
        fresh = [entry for entry in page.unreadable if self._is_news(entry, floor)]
        raws = [status.raw for status in page.statuses] + [entry.raw for entry in fresh]
        return Batch(
            source=self.feed.source,
            server=self.feed.server,
            voice=self.voice,
            posts=tuple(status.post for status in page.statuses),
            removals=removals,
            covers=covers if covers.until_ms > covers.since_ms else None,
            unreadable=tuple(entry.at_ms for entry in fresh),
            server_ms=self.server_ms(),
            raw=tuple(raw for raw in raws if raw),
            has_more=has_more,
            remark=self._client.remark,
        )

    def _is_news(self, entry: Unreadable, floor: int) -> bool:
        """Whether it is met for the first time; the same is read again and again."""
        if entry.version in self._unreadable or entry.at_ms <= floor:
            return False
        self._unreadable[entry.version] = entry.at_ms
        self._kinds[entry.kind] += 1
        if self._kinds[entry.kind] == 1:
            log.warning("%s: an entry is left out, and all like it: %s", self.feed.name, entry.kind)
        return True
