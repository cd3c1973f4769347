"""A Mastodon server's timeline of hashtags as a source: all that is new, missing, or late."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Known, Spans
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.post import Batch, Feed, Late, Removal, Span
from tweetdock.core.times import MINUTE_MS, duration
from tweetdock.settings.networks import host_of
from tweetdock.sources.http import HttpSession
from tweetdock.sources.mastodon.client import MastodonClient, new_session
from tweetdock.sources.mastodon.posts import (
    SLACK_MS,
    StatusPage,
    ids_of,
    moment_of,
)
from tweetdock.sources.mastodon.statuses import Statuses
from tweetdock.sources.mastodon.stream import TAG_SILENCE_SECONDS, TagStream
from tweetdock.sources.polling import GRACE_MS, Pause, Source
from tweetdock.sources.unreadable import UnreadableLog

log = logging.getLogger(__name__)

# Reading is free. What another server brings late has an id in the past: most of it comes within
# a minute, nearly all of it in ten (a server in trouble is tried again), the rest now and then.
LATE = Late(least_ms=60_000, assumed_ms=1_800_000)
LOOK_BACK_MS = 60_000
SOON_MS, SOON_EVERY_MS, WHOLE_EVERY_MS = 600_000, 50_000, 300_000
MOST_PAGES = 1_000  # 40,000 posts; a server that sends more has no end
MOST_CHECKS = 10  # a page; each costs a request
SOURCE = "mastodon"
STREAMED_POLL_SECONDS = 60.0  # while posts come by stream, the timeline fills and looks back


class PagedSpan:
    """A stretch of a tag's timeline under way, (since, until], by its pages, newest first.

    until_ms: None: to the present. by_time: whether ids tell the time, so that bounds can be made
    up; None: that is not known yet.
    is_sure: whether its end is seen by what lies beyond: a page may be short, or empty, anywhere.
    read: what is complete so far. read_ms: when the first page was asked for, by the server's time.
    ids: of all entries. bounds: the parameters that ask for the next page.
    """

    def __init__(self, since_ms: int, until_ms: int | None, *, by_time: bool | None) -> None:
        self.is_live, self.is_done = until_ms is None, False
        self.is_sure = not (by_time and self.is_live)
        self.pages = self.read_ms = 0
        self.read = Span(0, 0)
        self.ids: set[str] = set()
        self.bounds: dict[str, str] = {}
        self._since_ms, self._until_ms = since_ms, until_ms or 0
        self._by_time = by_time
        self._since_id, max_id = map(str, ids_of(Span(since_ms, until_ms or since_ms)))
        if by_time:
            self.bounds = {"since_id": self._since_id} if self.is_live else {"max_id": max_id}

    def add_page(self, page: StatusPage) -> None:
        """Take in the next page; SourceError if it leads nowhere."""
        self.pages += 1
        if self.pages == 1:
            # All pages count as read when the first one was: what shows up between two of them
            # may lie below both.
            self.read_ms = page.served_ms
            self._until_ms = self._until_ms or page.served_ms
        if page.size and (
            self.pages >= MOST_PAGES or not page.ids or self.ids.issuperset(page.ids)
        ):
            what = "the server keeps sending pages that bring nothing new"
            raise SourceError(what, kind=Kind.SERVER)
        self.ids.update(page.ids)
        if not page.size:
            self._end()
        elif page.is_by_time:
            self._go_on(page.snowflakes)
        elif self._by_time:
            self.is_done = True  # its ids tell the time no more
        else:
            self.bounds["max_id"] = page.ids[-1]
            is_old = [status.post.created_ms <= self._since_ms for status in page.statuses]
            if is_old and all(is_old):
                self._reach(self._since_ms)

    def _go_on(self, snowflakes: Sequence[int]) -> None:
        self._by_time = True
        if "min_id" in self.bounds:
            self.bounds["min_id"] = str(max(snowflakes))
            return
        oldest = min(snowflakes)
        self.bounds["max_id"] = str(oldest)
        self._reach(moment_of(oldest) + 1000 + SLACK_MS)

    def _end(self) -> None:
        """There is nothing more, or the server has kept back a whole page.

        The latter shows from the other side: oldest first.
        """
        if self._by_time and self.is_sure and "min_id" not in self.bounds:
            self.bounds["min_id"] = self._since_id
        else:
            self._reach(self._since_ms)

    def _reach(self, ms: int) -> None:
        self.is_done = ms <= self._since_ms
        self.read = Span(max(self._since_ms, ms), self._until_ms)


def complete(parts: Sequence[PagedSpan]) -> Span | None:
    """What all tags were read for, whose parts of a stretch these are."""
    reads = [part.read for part in parts]
    whole = Span(max(read.since_ms for read in reads), min(read.until_ms for read in reads))
    return whole if whole.until_ms > whole.since_ms else None


class TimelinePlan:
    """What to read of tag timelines, given what is certain.

    Each turn reads what is new, with a look back; then what is due: once a minute all of the
    window that is old enough to be certain and is not, and what is young, once more; from time to
    time all of it, for what has come very late and, after a restart, for the ids.

    tags: how many timelines there are.
    """

    def __init__(self, window_ms: int, tags: int) -> None:
        self._window_ms = window_ms
        self._tags = tags
        self._soon, self._soon_ms = Spans(), 0
        self._whole, self._whole_ms = Spans(), 0
        self._live_ms = 0  # up to when the present was read
        self._is_by_time: bool | None = None  # until a page has shown it

    def turn(self, seen: Known, now_ms: int) -> Iterator[list[PagedSpan]]:
        """What to read, a stretch after the other, the present first; of each a part a tag."""
        window = Span(now_ms - self._window_ms, now_ms)
        ripe_ms = now_ms - seen.late_ms
        live = Span(min(now_ms - LOOK_BACK_MS, max(self._live_ms, ripe_ms)), now_ms)
        due = [live]  # what of it a break leaves out
        if self._soon_ms <= now_ms - SOON_EVERY_MS:
            self._soon_ms = now_ms
            due += [*seen.gaps(Span(window.since_ms, ripe_ms)), Span(now_ms - SOON_MS, now_ms)]
        self._soon = Spans([*self._soon, *due]) & [window]
        self._whole &= [window]
        # Where many posts take longer than that they are read to the end first.
        if self._whole_ms <= now_ms - WHOLE_EVERY_MS and not list(self._whole):
            self._whole_ms, self._whole = now_ms, Spans([window])
        since_ms = max(window.since_ms, live.since_ms)
        if not self._is_by_time:
            # Without bounds there is but one way, so all is read on it.
            since_ms = min(span.since_ms for span in (*self._soon, *self._whole))
        yield self._stretch(since_ms, None)
        while rest := self.rest:
            yield self._stretch(*rest[0])

    @property
    def rest(self) -> list[Span]:
        """What is to be read in this turn beside the present."""
        past = [Span(0, self._live_ms)] if self._is_by_time else []
        return list(self._soon & past) or list(self._whole & past)

    def record(self, parts: Sequence[PagedSpan], part: PagedSpan, page: StatusPage) -> None:
        """A page of one of the parts of a stretch was read."""
        if whole := complete(parts):
            self._soon -= [whole]
            self._whole -= [whole]
            if part.is_live:
                self._live_ms = whole.until_ms
        if page.size and self._is_by_time is not False:
            self._is_by_time = page.is_by_time

    def _stretch(self, since_ms: int, until_ms: int | None) -> list[PagedSpan]:
        by_time = self._is_by_time
        return [PagedSpan(since_ms, until_ms, by_time=by_time) for _ in range(self._tags)]


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
        self._tags = hashtags
        self._plan = TimelinePlan(window_ms, len(hashtags))
        # Of each tag the ids that it has shown, and their moments: to notice what is gone.
        self._shown: list[dict[str, int]] = [{} for _ in hashtags]
        self._polled_ms = 0
        self._is_behind = False
        self._unreadable = UnreadableLog(feed.name)

    def poll(self, seen: Known) -> Iterator[Batch]:
        """Read what is new, missing, or to be read again; a Batch a page."""
        self._polled_ms = self._clock.now_ms()
        self._is_behind = False
        self._forget_before(self._polled_ms - self._window_ms)
        self._client.check_access()
        for parts in self._plan.turn(seen, self._polled_ms):
            yield from self._read(parts)
            if _are_open(parts):
                self._is_behind = True
                return

    def pause(self, _: Known) -> Pause:
        """Until the next poll is due, longer where the rate limit wants it."""
        now_ms, polled_ms = self._clock.now_ms(), self._polled_ms
        usual = self._slow_seconds if all(s.is_up for s in self._streams) else self._poll_seconds
        wanted = 0.0 if self._is_behind else max(0.0, usual - max(0, now_ms - polled_ms) / 1000)
        seconds = self._seconds_by_limit(now_ms, wanted)
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
        self._shown = [{i: at for i, at in shown.items() if at > ms} for shown in self._shown]

    def _read(self, parts: list[PagedSpan]) -> Iterator[Batch]:
        while _are_open(parts):
            for number, part in enumerate(parts):
                # What is new must not wait for what is old; of that at least a page is read a turn,
                # the empty one behind it, and one from the other side: so each stretch has an end.
                if part.pages > 2 and not part.is_live and self._is_present_due():
                    return
                if not part.is_done:
                    yield self._read_page(parts, number)

    def _is_present_due(self) -> bool:
        """Whether it is time for the next poll, or the rate limit leaves no more than the polls."""
        now_ms, seconds = self._clock.now_ms(), self._poll_seconds
        is_short = self._seconds_by_limit(now_ms, seconds) > seconds
        return is_short or now_ms - self._polled_ms > seconds * 1000

    def _seconds_by_limit(self, now_ms: int, wanted: float) -> float:
        # A page and the empty one behind it for each tag, and a look back.
        requests, limit = 2 * len(self._tags) + 1, self._client.questions.limit
        return limit.pause_seconds(now_ms, wanted, requests) if limit else wanted

    def _read_page(self, parts: list[PagedSpan], number: int) -> Batch:
        part = parts[number]
        page = self._client.page(self._tags[number], part.bounds)
        if part.is_sure and not page.size and self._shown[number]:
            # To some whom it does not let in a server answers so, as if all was well.
            self._client.check_access(at_once=True)
        part.add_page(page)
        self._plan.record(parts, part, page)
        noted = self._statuses.note(self._client.host, page.statuses)
        floor_ms = self._clock.now_ms() - self._window_ms
        fresh = self._unreadable.new(page.unreadable, floor_ms)
        raws = [status.raw for status in page.statuses] + [
            entry.raw for entry in fresh if self._client.keeps_raw
        ]
        return Batch(
            source=self.feed.source,
            server=self.feed.server,
            channel=self.channel,
            server_ms=page.server_ms,
            posts=tuple(status.post for status in page.statuses),
            removals=(*noted, *self._missing(self._shown[number], part, page)),
            covers=complete(parts) if part.is_sure else None,
            read_ms=parts[0].read_ms,
            unreadable=tuple(entry.at_ms for entry in fresh),
            raw=tuple(raw for raw in raws if raw),
            has_more=_are_open(parts) or self._plan.rest != [],
            remark=self._client.remark,
        )

    def _missing(
        self, shown: dict[str, int], part: PagedSpan, page: StatusPage
    ) -> Iterator[Removal]:
        """The removals of what a tag has shown before, and of what is no more where it was.

        Only a stream reports a deletion, and once, and none an edit that drops the tag: what is
        missing is asked for by itself.
        """
        shown |= {status.id: status.post.created_ms for status in page.statuses if status.id}
        host, now_ms, (since_ms, until_ms) = self._client.host, self._clock.now_ms(), part.read
        # A young one may only not have reached the server's replica.
        until_ms = min(until_ms, now_ms - LOOK_BACK_MS)
        absent = [i for i, at in shown.items() if since_ms < at <= until_ms and i not in part.ids]
        for name in absent[:MOST_CHECKS]:
            try:
                status = self._client.status(name)
            except SourceError:
                return  # when it is missing again it is asked for again
            del shown[name]
            if status is None or not self._statuses.counts(status):
                yield from self._statuses.lose(host, name, now_ms)


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
    statuses = Statuses(hashtags)
    for server in servers:
        host = host_of(server)
        token = tokens.get(host, "")
        slow_seconds = max(poll_seconds, STREAMED_POLL_SECONDS if token else 0.0)
        lag_ms = MINUTE_MS + round(slow_seconds * 1000) + GRACE_MS
        feed = Feed(SOURCE, lag_ms, host, LATE)
        client = MastodonClient(
            server, token, clock=clock, session=make_session(), keeps_raw=keeps_raw
        )
        listen = partial(TagStream, feed, silence_seconds=silence_seconds)
        tags = hashtags if token else ()
        streams = [listen(tag, client, statuses, session=make_session()) for tag in tags]
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
