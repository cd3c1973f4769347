"""A Mastodon server's timeline of hashtags as a source: all that is new, missing, or late."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.post import Batch, Feed, Removal, Span
from tweetdock.core.times import duration
from tweetdock.settings.networks import host_of
from tweetdock.sources.http import HttpSession
from tweetdock.sources.mastodon.client import MastodonClient, new_session
from tweetdock.sources.mastodon.posts import (
    SLACK_MS,
    StatusPage,
    UnreadableStatus,
    ids_of,
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
MOST_ID = 1 << 63
SOURCE = "mastodon"
# The documentation says one tag and four more; the server's code takes the first four of them all
# and says nothing of the rest.
TAGS_A_REQUEST = 4
STREAMED_POLL_SECONDS = 60.0  # while posts come by stream, the timeline fills and looks back


class PagedSpan:
    """A stretch under way, (since, until], by its pages, newest first; until None: to the present.

    by_time: whether ids tell the time, so that bounds can be made up.
    read: what is complete so far; None until a page is read.
    """

    def __init__(self, since_ms: int, until_ms: int | None, *, by_time: bool) -> None:
        self.is_live = until_ms is None
        self.is_done = self.is_odd = False
        self.pages = 0
        self.read: Span | None = None
        self._since_ms, self._until_ms = since_ms, until_ms
        self._since_id = self._max_id = ""
        if by_time:
            since_id, max_id = ids_of(Span(since_ms, until_ms or since_ms))
            self._since_id, self._max_id = str(since_id), "" if self.is_live else str(max_id)
        self._ids: set[str] = set()

    @property
    def bounds(self) -> dict[str, str]:
        """The parameters that ask for the next page."""
        bounds = {"since_id": self._since_id, "max_id": self._max_id}
        return {name: bound for name, bound in bounds.items() if bound}

    def add_page(self, page: StatusPage) -> range:
        """Take in the next page; SourceError if it leads nowhere.

        Returns the ids of which it has all that show, as far as ids tell the time.
        """
        self.pages += 1
        if self.pages == 1:
            # All pages count as read when the first one was: what shows up between two of them
            # may lie below both.
            settled_ms = page.served_ms - SETTLE_MS
            self._until_ms = min(settled_ms, self._until_ms or settled_ms)
        if page.size and (
            self.pages >= MOST_PAGES or not page.ids or self._ids.issuperset(page.ids)
        ):
            what = "the server keeps sending pages that bring nothing new"
            raise SourceError(what, kind=Kind.SERVER)
        self._ids.update(page.ids)
        if not page.size or page.is_by_time:
            return self._add_by_time(page)
        if self._since_id:
            self.is_odd = self.is_done = True
        else:
            self._max_id = page.ids[-1]
            is_old = [status.post.created_ms <= self._since_ms for status in page.statuses]
            if is_old and all(is_old):
                self._reach(self._since_ms)
        return range(0)

    def _add_by_time(self, page: StatusPage) -> range:
        below = int(self._max_id) if self._max_id.isdecimal() else MOST_ID
        if not page.size:
            self._reach(self._since_ms)
            return range(int(self._since_id or below), below)
        oldest = min(page.snowflakes)
        self._max_id = str(oldest)
        self._reach(moment_of(oldest) + 1000 + SLACK_MS)
        return range(oldest, below)

    def _reach(self, ms: int) -> None:
        self.is_done = ms <= self._since_ms
        self.read = Span(max(self._since_ms, ms), self._until_ms or 0)


def complete(parts: Sequence[PagedSpan]) -> Span | None:
    """What all groups of tags were read for, whose parts of a stretch these are."""
    read = [part.read for part in parts if part.read]
    if len(read) < len(parts):
        return None
    whole = Span(max(s.since_ms for s in read), min(s.until_ms for s in read))
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
        self._gaps = self._due = Spans()
        self._live_ms = 0  # up to when the present was read
        self._looked_ms: dict[int, int] = {}
        self._is_by_time: bool | None = None  # until a page has shown it

    def turn(self, seen: Spans, now_ms: int) -> Iterator[list[PagedSpan]]:
        """What to read, a stretch after the other, the present first; of each a part a group."""
        self._window = Span(now_ms - self._window_ms, now_ms)
        self._gaps = Spans(seen.gaps(self._window))
        self._live_ms = 0
        self._due &= [self._window]
        for every, reach in LOOK_BACKS_MS:
            looked_ms = self._looked_ms.get(every)
            if looked_ms is None or looked_ms <= now_ms - every:
                self._looked_ms[every] = now_ms
                since_ms = now_ms - (reach or self._window_ms)
                self._due.add(Span(max(self._window.since_ms, since_ms), now_ms))
        yield self._stretch(self._live_since(), None)
        # By a second clock that is behind, nothing is settled: that may change by the next turn.
        before: list[Span] = []
        while (rest := self.rest) and rest != before:
            before = rest
            yield self._stretch(*rest[-1])

    @property
    def rest(self) -> list[Span]:
        """What is to be read in this turn beside the present, oldest first."""
        if not self._is_by_time:
            return []
        past = [Span(self._window.since_ms, self._live_ms)]
        return list(self._gaps & past) or list(self._due & past)

    def record(self, parts: Sequence[PagedSpan], part: PagedSpan, page: StatusPage) -> None:
        """A page of one of the parts of a stretch was read."""
        if whole := complete(parts):
            self._due -= [whole]
            self._gaps -= [whole]
            if part.is_live:
                self._live_ms = whole.until_ms
        if part.is_odd:
            self._is_by_time = False
        elif self._is_by_time is None and page.is_by_time:
            self._is_by_time = True

    def _live_since(self) -> int:
        floor, now_ms = self._window
        since_ms, gaps = now_ms, list(self._gaps)
        if not self._is_by_time:
            # Without bounds there is but one way, so all is read on it.
            since_ms = min([now_ms, *(span.since_ms for span in (*gaps, *self._due))])
        elif gaps and gaps[-1].until_ms == now_ms:
            since_ms = gaps[-1].since_ms
        return max(floor, min(since_ms, now_ms - LOOK_BACK_MS))

    def _stretch(self, since_ms: int, until_ms: int | None) -> list[PagedSpan]:
        by_time = self._is_by_time is True
        return [PagedSpan(since_ms, until_ms, by_time=by_time) for _ in range(self._groups)]


class TagTimeline:
    """One server's timeline of some hashtags, as a source to be polled.

    It alone says what is complete: all that the server shows, which is what has reached it.

    streams: those of the same tags, if there are any: while they are up it is asked every
    `slow_seconds`.
    """

    channel = "timeline"

    def __init__(
        self,
        feed: Feed,
        hashtags: Sequence[str],
        client: MastodonClient,
        statuses: Statuses,
        streams: Sequence[TagStream],
        *,
        window_ms: int,
        poll_seconds: float,
        slow_seconds: float,
    ) -> None:
        self.feed = feed
        self._client = client
        self._statuses = statuses
        self._streams = streams
        self._clock = client.clock
        self._window_ms = window_ms
        self._poll_seconds, self._slow_seconds = poll_seconds, slow_seconds
        starts = range(0, len(hashtags), TAGS_A_REQUEST)
        self._groups = [tuple(hashtags[start : start + TAGS_A_REQUEST]) for start in starts]
        self._plan = TimelinePlan(window_ms, len(self._groups))
        self._shown: list[set[int]] = [set() for _ in self._groups]  # to notice what is gone
        self._showing: set[int] = set()  # groups that had posts lately
        self._polled_ms = 0
        self._is_behind = False
        self._unreadable: dict[str, int] = {}
        # Once a kind.
        self._warn = cache(partial(log.warning, "%s: an entry is left out: %s", feed.name))

    def poll(self, seen: Spans) -> Iterator[Batch]:
        """Read what is new, missing, or to be read again; a Batch a page."""
        self._polled_ms = self._clock.now_ms()
        self._is_behind = False
        self._forget_before(self._polled_ms - self._window_ms)
        # To some whom it does not let in a server answers with an empty page, as if all was well.
        self._client.check_access()
        for parts in self._plan.turn(seen, self._polled_ms):
            yield from self._read(parts)
            if _are_open(parts):
                self._is_behind = True
                return

    def pause(self, _: Spans) -> Pause:
        """Until the next poll is due, longer where the rate limit wants it."""
        now_ms = self._clock.now_ms()
        usual = self._slow_seconds if all(s.is_up for s in self._streams) else self._poll_seconds
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

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _forget_before(self, ms: int) -> None:
        self._statuses.forget_before(ms)
        self._shown = [{one for one in shown if moment_of(one) > ms} for shown in self._shown]
        self._unreadable = {name: at for name, at in self._unreadable.items() if at > ms}

    def _read(self, parts: list[PagedSpan]) -> Iterator[Batch]:
        while _are_open(parts):
            for number, part in enumerate(parts):
                # What is new must not wait for what is old; of that at least a page is read a turn,
                # and the empty one behind it, without which the rest of a stretch is never known.
                lasted_ms = self._clock.now_ms() - self._polled_ms
                is_late = lasted_ms > self._poll_seconds * 1000
                if part.pages > 1 and not part.is_live and is_late:
                    return
                if not part.is_done:
                    yield from self._read_page(parts, number)

    def _read_page(self, parts: list[PagedSpan], number: int) -> Iterator[Batch]:
        part = parts[number]
        page = self._client.page(self._groups[number], part.bounds)
        if part.is_live and not part.pages:
            if number in self._showing and not page.size:
                self._client.check_access(at_once=True)
            (self._showing.add if page.size else self._showing.discard)(number)
        ids = part.add_page(page)
        self._plan.record(parts, part, page)
        absent = self._absent(number, page, ids)
        has_more = _are_open(parts) or self._plan.rest != []
        more = has_more or absent != []
        yield self._batch(page, covers=complete(parts), has_more=more)
        for snowflake in absent:
            more = has_more or snowflake != absent[-1]
            yield self._batch(
                StatusPage(), removals=self._removals(number, snowflake), has_more=more
            )

    def _absent(self, number: int, page: StatusPage, ids: range) -> list[int]:
        """Those of a group that were shown before, and that the page should have and has not."""
        # A young one may only not have reached the server's replica.
        young_ms = self._clock.now_ms() - LOOK_BACK_MS
        shown = self._shown[number]
        absent = [one for one in shown.difference(page.snowflakes) if one in ids]
        shown.update(page.snowflakes)
        return sorted(one for one in absent if moment_of(one) < young_ms)[:MOST_CHECKS]

    def _removals(self, number: int, snowflake: int) -> tuple[Removal, ...]:
        # Only a stream reports a deletion, and once: without one, or while it is broken, a post
        # that is missing where it was is asked for by itself.
        name = str(snowflake)
        is_newly_gone = not self._statuses.is_gone(name) and self._client.is_gone(name)
        self._shown[number].discard(snowflake)
        return self._statuses.remove(name, self._clock.now_ms()) if is_newly_gone else ()

    def _batch(
        self,
        page: StatusPage,
        *,
        covers: Span | None = None,
        removals: tuple[Removal, ...] = (),
        has_more: bool,
    ) -> Batch:
        fresh = [entry for entry in page.unreadable if self._is_new(entry)]
        raws = [status.raw for status in page.statuses] + [
            entry.raw for entry in fresh if self._client.keeps_raw
        ]
        return Batch(
            source=self.feed.source,
            server=self.feed.server,
            channel=self.channel,
            server_ms=page.server_ms,
            posts=tuple(status.post for status in page.statuses),
            removals=(*removals, *self._statuses.note(page.statuses)),
            covers=covers,
            unreadable=tuple(entry.at_ms for entry in fresh),
            raw=tuple(raw for raw in raws if raw),
            has_more=has_more,
            remark=self._client.remark,
        )

    def _is_new(self, entry: UnreadableStatus) -> bool:
        """Whether it is met for the first time; the same is read again and again."""
        floor = self._clock.now_ms() - self._window_ms
        if entry.raw.version in self._unreadable or entry.at_ms <= floor:
            return False
        self._unreadable[entry.raw.version] = entry.at_ms
        self._warn(entry.kind)
        return True


def _are_open(parts: Sequence[PagedSpan]) -> bool:
    return not all(part.is_done for part in parts)


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
    for server in servers:
        host, statuses = host_of(server), Statuses()
        token = tokens.get(host, "")
        slow_seconds = max(poll_seconds, STREAMED_POLL_SECONDS if token else 0.0)
        feed = Feed(SOURCE, SETTLE_MS + round(slow_seconds * 1000) + GRACE_MS, host)
        client = MastodonClient(
            server, token, clock=clock, session=make_session(), keeps_raw=keeps_raw
        )
        streams = [
            TagStream(
                feed,
                tag,
                client,
                statuses,
                session=make_session(),
                silence_seconds=silence_seconds,
            )
            for tag in (hashtags if token else ())
        ]
        timeline = TagTimeline(
            feed,
            hashtags,
            client,
            statuses,
            streams,
            window_ms=round(window_seconds * 1000),
            poll_seconds=poll_seconds,
            slow_seconds=slow_seconds,
        )
        sources += [timeline, *streams]
    return sources
