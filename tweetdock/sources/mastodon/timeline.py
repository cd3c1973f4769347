"""A Mastodon server's timeline of hashtags as a source: all that is new, missing, or late."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import SEAM_MS, Spans
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.gauge import Bookmark
from tweetdock.core.post import Batch, Feed, Removal, Span, feed_name
from tweetdock.core.times import duration
from tweetdock.settings.networks import host_of
from tweetdock.sources.http import HttpSession
from tweetdock.sources.mastodon.client import (
    ASK_EVERY_MS,
    KnownInstance,
    MastodonClient,
    TimelinePage,
    new_session,
)
from tweetdock.sources.mastodon.posts import (
    SLACK_MS,
    StatusPage,
    UnreadableStatus,
    min_id_for,
    moment_of,
)
from tweetdock.sources.mastodon.stream import TAG_SILENCE_SECONDS, Statuses, TagStream
from tweetdock.sources.polling import GRACE_MS, Pause, Source

log = logging.getLogger(__name__)

# A post has its id a moment before it shows: a transaction ends, a replica follows.
SETTLE_MS = 5_000
# Reading is free. What another server brings late has an id in the past: most of it comes within
# a minute, nearly all of it in ten (a server in trouble is tried again), the rest now and then.
LOOK_BACK_MS = 60_000
LOOK_BACKS_MS = ((60_000, 600_000), (900_000, None))  # how often, and how far; None: the window
MOST_PAGES = 1_000  # 40,000 posts; a server that sends more has no end
MOST_ASKS = 50
MOST_CHECKS = 10  # a page; each costs a request
SOURCE = "mastodon"
# The documentation says one tag and four more; the server's code takes the first four of them all
# and says nothing of the rest.
TAGS_A_REQUEST = 4
STREAMED_POLL_SECONDS = 60.0  # while posts come by stream, the timeline fills and looks back
# By a clock further off than this a post would get a wrong moment, and what is new not be read.
TOLERATED_MS = 30_000
# Answers in a row that must agree before another time is believed: a server may have two clocks.
AFTER_MOVING, AFTER_DISAGREEING = 3, 8
NOTHING = Span(0, 0)


class PagedSpan:
    """A stretch under way, (since, until], by its pages; until None: to the present.

    Forward from an id that is made up for its start, or where ids tell no time backward from the
    newest post of all.
    """

    def __init__(self, since_ms: int, until_ms: int | None, *, forward: bool) -> None:
        self.since_ms = since_ms
        self.is_forward = forward
        self.is_live = until_ms is None
        self.is_done = False
        self.is_odd = False
        self._end_ms = until_ms
        self._until_ms: int | None = None
        self.min_id = min_id_for(since_ms)
        self._max_id = ""
        self._ids: set[str] = set()
        self.pages = 0

    @property
    def bounds(self) -> dict[str, str]:
        """The parameters that ask for the next page."""
        if self.is_forward:
            return {"min_id": str(self.min_id)}
        return {"max_id": self._max_id} if self._max_id else {}

    def add_page(self, page: StatusPage, served_ms: int) -> Span:
        """The stretch that is complete once `page` is read; SourceError if it leads nowhere.

        served_ms: the server's time when it was asked for the page.
        """
        self.pages += 1
        if self._until_ms is None:
            # All pages count as read when the first one was: what shows up between two of them
            # may lie below both.
            settled_ms = served_ms - SETTLE_MS
            self._until_ms = settled_ms if self._end_ms is None else min(self._end_ms, settled_ms)
        if not page.size:
            return self._finish()
        if self.pages >= MOST_PAGES:
            raise _endless()
        add = self._add_forward if self.is_forward else self._add_backward
        return add(page, self._until_ms)

    def _add_forward(self, page: StatusPage, until_ms: int) -> Span:
        if not page.is_by_time:
            self.is_odd = self.is_done = True
            return Span(self.since_ms, self.since_ms)
        newest = max(page.snowflakes)
        if newest <= self.min_id:
            raise _endless()
        self.min_id = newest
        reached_ms = moment_of(newest) // 1000 * 1000 - SLACK_MS
        if self._end_ms is not None and reached_ms > self._end_ms:
            return self._finish()
        return Span(self.since_ms, min(until_ms, reached_ms))

    def _add_backward(self, page: StatusPage, until_ms: int) -> Span:
        if not page.ids or self._ids.issuperset(page.ids):
            raise _endless()
        self._ids.update(page.ids)
        self._max_id = page.ids[-1]
        if page.is_by_time:
            reached_ms = moment_of(min(page.snowflakes)) + 1000 + SLACK_MS
            if reached_ms <= self.since_ms:
                return self._finish()
            return Span(max(self.since_ms, reached_ms), until_ms)
        if page.newest_ms is not None and page.newest_ms <= self.since_ms:
            return self._finish()
        return Span(until_ms, until_ms)

    def _finish(self) -> Span:
        self.is_done = True
        return Span(self.since_ms, self._until_ms or self.since_ms)


class TimelinePlan:
    """What has been read of a tag timeline, and so what to ask for next.

    Each turn reads what is new, with a look back; then what is missing of the window; then, from
    time to time, what was read before, for what has come late and, after a restart, for the ids.

    seen: what an earlier plan had read.
    """

    def __init__(self, window_ms: int, seen: Iterable[Span] = ()) -> None:
        self._window_ms = window_ms
        self._known = Spans(seen)
        self._due: list[Span] = []
        self._looked_ms: dict[int, int] = {}
        self._is_by_time = False  # until a page has shown it
        self._may_be_by_time = True
        self._shown: set[int] = set()
        self._live_ms: int | None = None
        self._now_ms = 0
        self._asks = 0

    def begin(self, now_ms: int) -> None:
        """A new turn."""
        floor = now_ms - self._window_ms
        self._now_ms, self._live_ms, self._asks = now_ms, None, 0
        # Of a time to come, which a wrong clock may have seen, nothing is known.
        self._known = Spans(self._known.overlap(Span(floor, now_ms)))
        self._shown = {one for one in self._shown if moment_of(one) > floor}
        due = Spans(self._due)
        for every, reach in LOOK_BACKS_MS:
            looked_ms = self._looked_ms.get(every)
            if looked_ms is None or not now_ms - every < looked_ms <= now_ms:
                self._looked_ms[every] = now_ms
                due.add(Span(floor if reach is None else max(floor, now_ms - reach), now_ms))
        self._due = list(due)

    def next(self) -> PagedSpan | None:
        """What to read now; None when the turn is over."""
        floor = self._now_ms - self._window_ms
        if self._asks >= MOST_ASKS:
            return None
        self._asks += 1
        if self._live_ms is None:
            since_ms = max(floor, min(self._live_since(), self._now_ms - LOOK_BACK_MS))
            return PagedSpan(since_ms, None, forward=self._is_by_time)
        rest = self._rest()
        return PagedSpan(*rest[-1], forward=self._is_by_time) if rest else None

    @property
    def is_done(self) -> bool:
        """Whether this turn has read all that there is to read."""
        return self._live_ms is not None and not self._rest()

    def record(self, reading: PagedSpan, span: Span) -> None:
        """A page was read and has made `span` complete."""
        self._known.add(span)
        self._due = [left for due in self._due for left in Spans([span]).gaps(due)]
        if reading.is_odd:
            self._is_by_time = self._may_be_by_time = False
        elif reading.is_live and reading.is_done:
            self._live_ms = span.until_ms

    def learn(self, reading: PagedSpan, page: StatusPage) -> None:
        """Go forward from now on if the ids of `page` tell the time."""
        if not self._is_by_time and self._may_be_by_time and page.size and page.is_by_time:
            self._is_by_time = True
            if not reading.is_done:
                # What it has read stays; the rest is read from its start.
                reading.is_done = True

    def clock_moved(self, now_ms: int) -> None:
        """The clock was corrected and says `now_ms`: what it has left behind is read again."""
        self._known.forget_before(now_ms - self._window_ms + SEAM_MS)
        self._looked_ms.clear()

    def absent(self, reading: PagedSpan, page: StatusPage, above: int) -> list[int]:
        """Ids that were shown before and are not among those of a page that should have them.

        above: where the page begins. A young one may only not have reached the server's replica.
        """
        if not reading.is_forward or reading.is_odd:
            self._shown.update(page.snowflakes)
            return []
        upto = reading.min_id if page.size else None
        self._shown.difference_update(page.snowflakes)
        found = [
            one
            for one in self._shown
            if above < one
            and (upto is None or one <= upto)
            and moment_of(one) < self._now_ms - LOOK_BACK_MS
        ]
        self._shown.update(page.snowflakes)
        return sorted(found)[:MOST_CHECKS]

    def forget(self, snowflake: int) -> None:
        """That post is gone, or at least no more in this timeline."""
        self._shown.discard(snowflake)

    def known(self, span: Span) -> list[Span]:
        """What of a stretch has been read."""
        return self._known.overlap(span)

    def _live_since(self) -> int:
        window = Span(self._now_ms - self._window_ms, self._now_ms)
        gaps = self._known.gaps(window)
        if not self._is_by_time:
            # Backward there is but one way, so all is read on it.
            gaps = gaps[:1] + self._due[:1]
            return min(gap.since_ms for gap in gaps) if gaps else self._now_ms
        return gaps[-1].since_ms if gaps and gaps[-1].until_ms == self._now_ms else self._now_ms

    def _rest(self) -> list[Span]:
        until_ms = self._live_ms or 0
        window = Span(self._now_ms - self._window_ms, until_ms)
        if gaps := self._known.gaps(window):
            return gaps
        return Spans(self._due).overlap(window)


def common(span: Span, plans: Iterable[TimelinePlan]) -> list[Span]:
    """What of a stretch all the plans have read."""
    spans = [span] if span.until_ms > span.since_ms else []
    for plan in plans:
        spans = [part for one in spans for part in plan.known(one)]
    return spans


def _endless() -> SourceError:
    what = "the server keeps sending pages that bring nothing new"
    return SourceError(what, kind=Kind.SERVER)


class TagTimeline:
    """One server's timeline of some hashtags, as a source to be polled.

    It alone says what is complete: all that the server shows, which is what has reached it.
    """

    channel = "timeline"

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
        self._check_access()
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
        return Pause(seconds, f"{host}'s rate limit leaves one search every {duration(seconds)}")

    def server_ms(self) -> int | None:
        """The server's time, once it has said so."""
        return self._client.server_ms()

    def cut(self) -> None:
        """End the request under way."""
        self._client.cut()

    def _has_dried_up(self, tags: tuple[str, ...], reading: PagedSpan, page: StatusPage) -> bool:
        """Whether there are no new posts at all, and there were some when it was asked before."""
        if not reading.is_live or reading.pages:
            return False
        was_showing = tags in self._showing
        if page.size:
            self._showing.add(tags)
        else:
            self._showing.discard(tags)
        return was_showing and not page.size

    def _check_access(self, *, at_once: bool = False) -> None:
        # To some whom it does not let in a server answers with an empty page, as if all was well.
        now_ms, known_ms = self._clock.now_ms(), self._accessed_ms
        if not at_once and known_ms is not None and known_ms <= now_ms < known_ms + ASK_EVERY_MS:
            return
        self._accessed_ms = None
        self._client.check_access()
        self._accessed_ms = self._clock.now_ms()

    def _read(
        self, tags: tuple[str, ...], plan: TimelinePlan, reading: PagedSpan, *, is_last: bool
    ) -> Iterator[Batch]:
        while not reading.is_done:
            # What is new must not wait for what is old; of that at least a page is read a turn.
            if reading.pages and not reading.is_live and self._is_late():
                return
            found = self._client.page(tags, reading.bounds)
            if self._is_doubtful(found):
                yield self._batch(StatusPage(), NOTHING, has_more=False)
                return
            if self._has_dried_up(tags, reading, found.page):
                self._check_access(at_once=True)
            above = reading.min_id
            span = reading.add_page(found.page, found.served_ms)
            plan.learn(reading, found.page)
            plan.record(reading, span)
            if found.moved_ms and self._may_move:
                self._begin_anew()
            has_more = not (is_last and reading.is_done and plan.is_done)
            has_more = has_more and not self._was_moved
            absent = plan.absent(reading, found.page, above)
            first, *others = common(span, self._plans.values()) or [NOTHING]
            yield self._batch(found.page, first, has_more=has_more or bool(absent))
            for other in others:
                yield self._batch(StatusPage(), other, has_more=has_more or bool(absent))
            for snowflake in absent:
                gone = self._check_deleted(plan, snowflake)
                is_more = has_more or snowflake != absent[-1]
                yield replace(self._batch(StatusPage(), NOTHING, has_more=is_more), removals=gone)
            if self._was_moved:
                return

    def _is_doubtful(self, found: TimelinePage) -> bool:
        """Whether a page is not to be used yet, as more answers must confirm what time it is.

        SourceError once one of them said otherwise.
        """
        if abs(found.moved_ms) > TOLERATED_MS:
            self._disagree = self._doubts > 0
            self._doubts = AFTER_DISAGREEING if self._disagree else AFTER_MOVING
            self._begin_anew()
        elif self._doubts:
            self._doubts -= 1
        if not self._doubts:
            self._disagree = False
            return False
        if self._disagree:
            host = self._client.host
            raise SourceError(f"{host}'s clocks disagree on what time it is", kind=Kind.STRANGER)
        self._was_moved = True
        return True

    def _begin_anew(self) -> None:
        self._was_moved = True
        for plan in self._plans.values():
            plan.clock_moved(self._clock.now_ms())

    def _is_late(self) -> bool:
        """Whether this poll has taken as long as the pause between two."""
        return self._clock.now_ms() - self._polled_ms > self._poll_seconds * 1000

    def _check_deleted(self, plan: TimelinePlan, snowflake: int) -> tuple[Removal, ...]:
        # Only a stream reports a deletion, and once: without one, or while it is broken, a post
        # that is missing where it was is asked for by itself.
        name = str(snowflake)
        is_newly_gone = not self._statuses.is_gone(name) and self._client.is_gone(name)
        plan.forget(snowflake)
        removal = self._statuses.remove(name, self._clock.now_ms()) if is_newly_gone else None
        return (removal,) if removal else ()

    def _batch(self, page: StatusPage, covers: Span, *, has_more: bool) -> Batch:
        removals = self._statuses.note(page.statuses, self._clock.now_ms())
        floor = self._clock.now_ms() - self._window_ms
        if page.unreadable:
            self._unreadable = {name: ms for name, ms in self._unreadable.items() if ms > floor}
        fresh = [entry for entry in page.unreadable if self._is_new(entry, floor)]
        raws = [status.raw for status in page.statuses] + [entry.raw for entry in fresh]
        return Batch(
            source=self.feed.source,
            server=self.feed.server,
            channel=self.channel,
            posts=tuple(status.post for status in page.statuses),
            removals=removals,
            covers=covers if covers.until_ms > covers.since_ms else None,
            unreadable=tuple(entry.at_ms for entry in fresh),
            server_ms=self.server_ms(),
            raw=tuple(raw for raw in raws if raw),
            has_more=has_more,
            remark=self._client.remark,
        )

    def _is_new(self, entry: UnreadableStatus, floor: int) -> bool:
        """Whether it is met for the first time; the same is read again and again."""
        if entry.version in self._unreadable or entry.at_ms <= floor:
            return False
        self._unreadable[entry.version] = entry.at_ms
        self._kinds[entry.kind] += 1
        if self._kinds[entry.kind] == 1:
            log.warning("%s: an entry is left out, and all like it: %s", self.feed.name, entry.kind)
        return True


def make_mastodon(
    hashtags: Sequence[str],
    *,
    servers: Sequence[str],
    tokens: Mapping[str, str],
    make_clock: Callable[[], Clock],
    window_seconds: float,
    poll_seconds: float,
    keeps_raw: bool,
    bookmark_of: Callable[[str], Bookmark],
    make_session: Callable[[], HttpSession] = new_session,
    silence_seconds: float = TAG_SILENCE_SECONDS,
) -> list[Source]:
    """The sources for some hashtags (without `#`) on some servers (`https://fosstodon.org`).

    tokens: of users, by the server's host; a server with one is streamed from, too.
    bookmark_of: where a feed left off, by its name. silence_seconds: after which a stream is dead.
    """
    sources: list[Source] = []
    window_ms = round(window_seconds * 1000)
    for server in servers:
        host = host_of(server)
        token, statuses = tokens.get(host, ""), Statuses(window_ms)
        make_client = partial(
            MastodonClient,
            server,
            token,
            KnownInstance(),
            make_session=make_session,
            keeps_raw=keeps_raw,
        )
        clock = make_clock()
        timeline = TagTimeline(
            hashtags,
            make_client(clock=clock),
            statuses,
            clock=clock,
            is_streamed=bool(token),
            window_ms=window_ms,
            poll_seconds=poll_seconds,
            bookmark=bookmark_of(feed_name(SOURCE, host)),
        )
        sources.append(timeline)
        for tag in hashtags if token else ():
            clock = make_clock()
            sources.append(
                TagStream(
                    timeline.feed,
                    tag,
                    make_client(clock=clock),
                    statuses,
                    clock=clock,
                    keeps_raw=keeps_raw,
                    silence_seconds=silence_seconds,
                )
            )
    return sources
