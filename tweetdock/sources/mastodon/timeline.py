"""A Mastodon server's timeline of hashtags as a source: all that is new, missing, or late."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.post import Batch, Feed, Removal, Span
from tweetdock.core.times import duration
from tweetdock.settings.networks import host_of
from tweetdock.sources.http import HttpSession
from tweetdock.sources.mastodon.client import (
    ASK_EVERY_MS,
    KnownInstance,
    MastodonClient,
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
MOST_CHECKS = 10  # a page; each costs a request
SOURCE = "mastodon"
# The documentation says one tag and four more; the server's code takes the first four of them all
# and says nothing of the rest.
TAGS_A_REQUEST = 4
STREAMED_POLL_SECONDS = 60.0  # while posts come by stream, the timeline fills and looks back


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


class Stretch:
    """A stretch under way, by a page of each group of tags in turns."""

    def __init__(self, parts: Sequence[PagedSpan]) -> None:
        self.parts = parts
        self._read = [Span(parts[0].since_ms, parts[0].since_ms)] * len(parts)

    @property
    def is_done(self) -> bool:
        """Whether all is read, or there is another way to read it."""
        return all(part.is_done for part in self.parts)

    def end(self) -> None:
        """Read no more of it."""
        for part in self.parts:
            part.is_done = True

    def read(self, number: int, span: Span) -> Span | None:
        """A group was read for a stretch so far; what all of them were read for."""
        self._read[number] = span
        whole = Span(max(s.since_ms for s in self._read), min(s.until_ms for s in self._read))
        return whole if whole.until_ms > whole.since_ms else None


class TimelinePlan:
    """What to read of tag timelines, given what has been seen.

    Each turn reads what is new, with a look back; then what is missing of the window; then, from
    time to time, what was read before, for what has come late and, after a restart, for the ids.

    groups: how many timelines there are.
    """

    def __init__(self, window_ms: int, groups: int) -> None:
        self._window_ms = window_ms
        self._groups = groups
        self._window = Span(0, 0)
        self._gaps: list[Span] = []
        self._due = Spans()
        self._is_live_asked = False
        self._live_ms = 0  # up to when the present was read
        self._looked_ms: dict[int, int] = {}
        self._is_by_time = False  # until a page has shown it
        self._may_be_by_time = True

    def begin(self, seen: Spans, now_ms: int) -> None:
        """A new turn, given what has been seen."""
        self._window = Span(now_ms - self._window_ms, now_ms)
        self._gaps = seen.gaps(self._window)
        self._is_live_asked, self._live_ms = False, 0
        self._due &= [self._window]
        for every, reach in LOOK_BACKS_MS:
            looked_ms = self._looked_ms.get(every)
            if looked_ms is None or looked_ms <= now_ms - every:
                self._looked_ms[every] = now_ms
                since_ms = now_ms - (reach or self._window_ms)
                self._due.add(Span(max(self._window.since_ms, since_ms), now_ms))

    def next(self) -> Stretch | None:
        """What to read now; None when the turn is over."""
        if not self._is_live_asked:
            self._is_live_asked = True
            return self._stretch(Span(self._live_since(), 0), is_live=True)
        return self._stretch(rest[-1]) if (rest := self._rest()) else None

    @property
    def is_done(self) -> bool:
        """Whether this turn has read all that there is to read."""
        return self._is_live_asked and not self._rest()

    def record(
        self, stretch: Stretch, part: PagedSpan, page: StatusPage, complete: Span | None
    ) -> None:
        """A page of a part was read, which has made so much of the stretch complete."""
        if complete:
            self._due -= [complete]
            self._gaps = list(Spans(self._gaps) - [complete])
            if part.is_live:
                self._live_ms = complete.until_ms
        if part.is_odd:
            self._is_by_time = self._may_be_by_time = False
        elif not self._is_by_time and self._may_be_by_time and page.size and page.is_by_time:
            # Forward from now on: what it has read stays, the rest is read from its start.
            self._is_by_time, self._is_live_asked = True, False
            stretch.end()

    def _live_since(self) -> int:
        floor, now_ms = self._window
        since_ms = now_ms
        if not self._is_by_time:
            # Backward there is but one way, so all is read on it.
            since_ms = min([now_ms, *(span.since_ms for span in (*self._gaps, *self._due))])
        elif self._gaps and self._gaps[-1].until_ms == now_ms:
            since_ms = self._gaps[-1].since_ms
        return max(floor, min(since_ms, now_ms - LOOK_BACK_MS))

    def _rest(self) -> list[Span]:
        """What is to be read beside the present, oldest first."""
        if not self._is_by_time:
            return []
        past = [Span(self._window.since_ms, self._live_ms)]
        return list(Spans(self._gaps) & past) or list(self._due & past)

    def _stretch(self, span: Span, *, is_live: bool = False) -> Stretch:
        until_ms = None if is_live else span.until_ms
        return Stretch(
            [
                PagedSpan(span.since_ms, until_ms, forward=self._is_by_time)
                for _ in range(self._groups)
            ]
        )


class ShownStatuses:
    """Which posts a timeline has shown, to notice those that it shows no more."""

    def __init__(self) -> None:
        self._shown: set[int] = set()

    def note(self, part: PagedSpan, page: StatusPage, above: int, now_ms: int) -> list[int]:
        """Ids that were shown before and are not among those of a page that should have them.

        above: where the page begins. A young one may only not have reached the server's replica.
        """
        found: list[int] = []
        if part.is_forward and not part.is_odd:
            upto = part.min_id if page.size else None
            found = [
                one
                for one in self._shown.difference(page.snowflakes)
                if above < one
                and (upto is None or one <= upto)
                and moment_of(one) < now_ms - LOOK_BACK_MS
            ]
        self._shown.update(page.snowflakes)
        return sorted(found)[:MOST_CHECKS]

    def forget(self, snowflake: int) -> None:
        """That post is gone, or at least no more in this timeline."""
        self._shown.discard(snowflake)

    def forget_before(self, ms: int) -> None:
        """Forget all that is of that moment (Unix ms) or earlier."""
        self._shown = {one for one in self._shown if moment_of(one) > ms}


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
        starts = range(0, len(hashtags), TAGS_A_REQUEST)
        self._groups = [tuple(hashtags[start : start + TAGS_A_REQUEST]) for start in starts]
        self._plan = TimelinePlan(window_ms, len(self._groups))
        self._shown = [ShownStatuses() for _ in self._groups]
        self._accessed_ms: int | None = None
        self._polled_ms = 0
        self._is_behind = False
        self._showing: set[int] = set()
        self._unreadable: dict[str, int] = {}
        self._kinds: Counter[str] = Counter()

    def poll(self, seen: Spans) -> Iterator[Batch]:
        """Read what is new, missing, or to be read again; a Batch a page."""
        self._polled_ms = self._clock.now_ms()
        self._is_behind = False
        self._check_access()
        for shown in self._shown:
            shown.forget_before(self._polled_ms - self._window_ms)
        self._plan.begin(seen, self._polled_ms)
        while stretch := self._plan.next():
            yield from self._read(stretch)
            if not stretch.is_done:
                self._is_behind = True
                return

    def pause(self, _: Spans) -> Pause:
        """Until the next poll is due, longer where the rate limit wants it."""
        now_ms = self._clock.now_ms()
        is_streaming = self._statuses.all_streaming(self._hashtags)
        usual = self._slow_seconds if is_streaming else self._poll_seconds
        due = 0.0 if self._is_behind else usual - max(0, now_ms - self._polled_ms) / 1000
        wanted = max(0.0, due)
        limit = self._client.limit
        if limit is None:
            return Pause(wanted)
        # A page and the empty one behind it for each group, and a look back.
        seconds = limit.pause_seconds(now_ms, wanted, 2 * len(self._groups) + 1)
        if seconds * 1000 < self._slow_seconds * 1000 + GRACE_MS:
            return Pause(seconds)
        host = self._client.host
        return Pause(seconds, f"{host}'s rate limit leaves one search every {duration(seconds)}")

    def cut(self) -> None:
        """End the request under way."""
        self._client.cut()

    def _has_dried_up(self, group: int, part: PagedSpan, page: StatusPage) -> bool:
        """Whether there are no new posts at all, and there were some when it was asked before."""
        if not part.is_live or part.pages:
            return False
        was_showing = group in self._showing
        if page.size:
            self._showing.add(group)
        else:
            self._showing.discard(group)
        return was_showing and not page.size

    def _check_access(self, *, at_once: bool = False) -> None:
        # To some whom it does not let in a server answers with an empty page, as if all was well.
        now_ms, known_ms = self._clock.now_ms(), self._accessed_ms
        if not at_once and known_ms is not None and known_ms <= now_ms < known_ms + ASK_EVERY_MS:
            return
        self._accessed_ms = None
        self._client.check_access()
        self._accessed_ms = self._clock.now_ms()

    def _read(self, stretch: Stretch) -> Iterator[Batch]:
        while not stretch.is_done:
            for number, part in enumerate(stretch.parts):
                # What is new must not wait for what is old; of that at least a page is read a turn.
                if part.pages and not part.is_live and self._is_late():
                    return
                if not part.is_done:
                    yield from self._read_page(stretch, number, part)

    def _read_page(self, stretch: Stretch, number: int, part: PagedSpan) -> Iterator[Batch]:
        found = self._client.page(self._groups[number], part.bounds)
        page, shown = found.page, self._shown[number]
        if self._has_dried_up(number, part, page):
            self._check_access(at_once=True)
        above = part.min_id
        complete = stretch.read(number, part.add_page(page, found.served_ms))
        self._plan.record(stretch, part, page, complete)
        absent = shown.note(part, page, above, self._clock.now_ms())
        has_more = not (stretch.is_done and self._plan.is_done)
        batch = self._batch(page, has_more=has_more or bool(absent))
        yield replace(batch, covers=complete, server_ms=found.server_ms)
        for snowflake in absent:
            gone = self._check_deleted(shown, snowflake)
            is_more = has_more or snowflake != absent[-1]
            yield replace(self._batch(StatusPage(), has_more=is_more), removals=gone)

    def _is_late(self) -> bool:
        """Whether this poll has taken as long as the pause between two."""
        return self._clock.now_ms() - self._polled_ms > self._poll_seconds * 1000

    def _check_deleted(self, shown: ShownStatuses, snowflake: int) -> tuple[Removal, ...]:
        # Only a stream reports a deletion, and once: without one, or while it is broken, a post
        # that is missing where it was is asked for by itself.
        name = str(snowflake)
        is_newly_gone = not self._statuses.is_gone(name) and self._client.is_gone(name)
        shown.forget(snowflake)
        removal = self._statuses.remove(name, self._clock.now_ms()) if is_newly_gone else None
        return (removal,) if removal else ()

    def _batch(self, page: StatusPage, *, has_more: bool) -> Batch:
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
            unreadable=tuple(entry.at_ms for entry in fresh),
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
    clock: Clock,
    window_seconds: float,
    poll_seconds: float,
    keeps_raw: bool,
    make_session: Callable[[], HttpSession] = new_session,
    silence_seconds: float = TAG_SILENCE_SECONDS,
) -> list[Source]:
    """The sources for some hashtags (without `#`) on some servers (`https://fosstodon.org`).

    tokens: of users, by the server's host; a server with one is streamed from, too.
    silence_seconds: after which a stream is dead.
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
            clock=clock,
            keeps_raw=keeps_raw,
        )
        timeline = TagTimeline(
            hashtags,
            make_client(),
            statuses,
            clock=clock,
            is_streamed=bool(token),
            window_ms=window_ms,
            poll_seconds=poll_seconds,
        )
        sources.append(timeline)
        sources += [
            TagStream(
                timeline.feed,
                tag,
                make_client(),
                statuses,
                clock=clock,
                keeps_raw=keeps_raw,
                silence_seconds=silence_seconds,
            )
            for tag in (hashtags if token else ())
        ]
    return sources
