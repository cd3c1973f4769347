"""Which search X is asked next, by itself or beside its stream, so that all is read once."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tweetdock.core.coverage import Spans
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.post import Span
from tweetdock.sources.x.posts import PostPage, since_id_for, snowflake_ms

# X's search answers for "30 seconds before the time of query", and so do its counts by default.
INDEX_LAG_MS = 30_000
LOOK_BACK_EVERY_MS = 60_000
FUTURE_MS = 60_000  # no clock of X's is further ahead than that
PATIENCE_PAGES = 5  # pages that lead on without leading further back

# Posts of the last minute may have been on their way when a stream broke. That is more than the
# gauge is told to wait for (LATENCY_MS): what is later still comes, but not once it has broken.
IN_FLIGHT_MS = 60_000
# Of a gap that grows, or whose end the index does not have yet, so much is read at a time: with
# the index's lag still sooner than a missing stretch shows in the grade (LAG_MS).
PIECE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """One search with all its pages; complete, it has seen (since_ms, until_ms].

    It is bounded by `since_id` alone or by times alone (whole seconds, start inclusive, end
    exclusive): X refuses the two together. until_ms None: up to the moment of asking, less
    the usual lag of X's index.
    """

    since_ms: int
    until_ms: int | None = None
    since_id: int | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    looks_back: bool = False


class Search:
    """A request under way: what its pages, newest first, have made complete so far."""

    def __init__(self, request: SearchRequest) -> None:
        self.request = request
        self.newest_id = 0
        self.until_ms = request.until_ms
        self._oldest_id: int | None = None
        self._tokens: set[str] = set()
        self._idle_pages = 0

    def add_page(self, page: PostPage, served_ms: int) -> Span:
        """The stretch seen once `page` is read; SourceError if the pages lead nowhere."""
        if self.until_ms is None:
            self.until_ms = served_ms - INDEX_LAG_MS
        # A single odd id must neither seem to complete the past nor hide the future.
        first_ms, last_ms = self.request.since_ms, served_ms + FUTURE_MS
        ids = [i for i in page.ids if first_ms <= snowflake_ms(i) <= last_ms]
        self.newest_id = max([self.newest_id, *ids])
        if page.next_token is None:
            return Span(self.request.since_ms, self.until_ms)
        self._check_progress(min(ids, default=None), page.next_token)
        if self._oldest_id is None:
            return Span(self.until_ms, self.until_ms)
        # A post of the same millisecond may be on the next page: it stays outside of (since, ...
        return Span(snowflake_ms(self._oldest_id), self.until_ms)

    def _check_progress(self, oldest_id: int | None, token: str) -> None:
        known = self._oldest_id
        is_further = oldest_id is not None and (known is None or oldest_id < known)
        if is_further:
            self._oldest_id = oldest_id
        self._idle_pages = 0 if is_further else self._idle_pages + 1
        if token in self._tokens or self._idle_pages >= PATIENCE_PAGES:
            what = "X keeps announcing further pages that bring nothing new"
            raise SourceError(what, kind=Kind.SERVER)
        self._tokens.add(token)


class SearchPlan:
    """Which search X is asked next, given what has been seen.

    First the whole window by time; then what is new since the newest id. That leaves a hole:
    a post that is indexed after a newer one was read. So once a minute the question is what is
    new since `look_back_ms` ago, which closes the holes. What is older than that and was left
    out all the same, by an interrupted search or a restart, is asked for by time.

    cursor: where an earlier plan left off, to go on from there.
    """

    def __init__(
        self, *, window_ms: int, poll_ms: int, look_back_ms: int, cursor: str = ""
    ) -> None:
        self._window_ms = window_ms
        self._poll_ms = poll_ms
        self._look_back_ms = look_back_ms
        self._newest_id = 0
        self._caught_up_ms: int | None = None  # up to when X was asked for what is new
        self._looked_back_ms = 0
        self._asked_new_ms = 0
        self._asked_new = False
        self._by_time = True
        self._id_refusals = 0
        # One that cannot be read costs the window's posts once more, and no truth.
        with suppress(ValueError, TypeError, KeyError, OverflowError, RecursionError):
            self._go_on(json.loads(cursor))

    @property
    def cursor(self) -> str:
        """What a plan after a restart goes on from, as JSON."""
        cursor = {
            "newest_id": self._newest_id,
            "caught_up_ms": self._caught_up_ms,
            "looked_back_ms": self._looked_back_ms,
        }
        return json.dumps(cursor)

    def next(self, seen: Spans, now_ms: int) -> SearchRequest:
        """The search to make now."""
        floor = now_ms - self._window_ms
        reach = self._reach(now_ms)
        if reach is None:
            self._asked_new, self._asked_new_ms = True, now_ms
            return request_by_time(floor)
        gaps = seen.gaps(Span(floor, reach))
        # In turns if answers take as long as the pause, so that neither starves the other.
        is_due = now_ms - self._asked_new_ms >= self._poll_ms
        asks_new = not gaps or (is_due and not self._asked_new)
        self._asked_new = asks_new
        if not asks_new:
            return request_by_time(*gaps[-1])
        self._asked_new_ms = now_ms
        return self._request_new(max(reach, floor), now_ms)

    def is_behind(self, seen: Spans, now_ms: int) -> bool:
        """Whether a stretch of the window was left out and can be asked for at once."""
        reach = self._reach(now_ms)
        return reach is None or bool(seen.gaps(Span(now_ms - self._window_ms, reach)))

    def record(self, search: Search, served_ms: int, *, is_done: bool) -> None:
        """A page of `search` was read, the last one if that is done."""
        if search.request.until_ms is not None:
            return
        self._caught_up_ms = search.until_ms
        self._newest_id = max(self._newest_id, search.newest_id)
        if is_done:
            if search.request.since_id is not None:
                self._id_refusals = 0
            self._by_time = self._id_refusals > 1
            if search.request.looks_back or search.request.start_ms is not None:
                self._looked_back_ms = served_ms

    def refused(self, request: SearchRequest) -> bool:
        """X does not take the request; whether asking by time instead is worth a try."""
        if request.since_id is None:
            return False
        self._by_time = True
        self._id_refusals += 1
        return True

    def _go_on(self, cursor: dict[str, Any]) -> None:
        newest_id, caught_up_ms = int(cursor["newest_id"]), int(cursor["caught_up_ms"])
        self._looked_back_ms = int(cursor["looked_back_ms"])
        self._newest_id, self._caught_up_ms, self._by_time = newest_id, caught_up_ms, False

    def _reach(self, now_ms: int) -> int | None:
        """From when on the next look back would ask; None if nothing of the window was read."""
        caught_up_ms = self._caught_up_ms
        if caught_up_ms is None or not now_ms - self._window_ms < caught_up_ms <= now_ms:
            return None
        return caught_up_ms + INDEX_LAG_MS - self._look_back_ms

    def _request_new(self, reach: int, now_ms: int) -> SearchRequest:
        if self._by_time:
            return request_by_time(reach)
        looks_back = now_ms - self._looked_back_ms >= LOOK_BACK_EVERY_MS
        # A newest id from before the reach would do as well, until X calls it too old.
        if looks_back or snowflake_ms(self._newest_id) < reach:
            return SearchRequest(
                since_ms=reach, since_id=since_id_for(reach + 1), looks_back=looks_back
            )
        return SearchRequest(since_ms=snowflake_ms(self._newest_id), since_id=self._newest_id)


class Sweep:
    """A stretch under way by several queries: each is read from its end down, page by page.

    begun_ms: when X gave the first page of it, the one with the newest posts; 0 before.
    """

    def __init__(self, span: Span, queries: int) -> None:
        self.span = span
        self.begun_ms = 0
        self._read_from = [span.until_ms] * queries

    def next(self, floor_ms: int) -> tuple[int, SearchRequest] | None:
        """The query that has come least far, and the search for what it lacks; None at the end."""
        least, since_ms = max(self._read_from), max(self.span.since_ms, floor_ms)
        if least <= since_ms:
            return None
        return self._read_from.index(least), request_by_time(since_ms, least)

    def read(self, query: int, span: Span, served_ms: int) -> Span:
        """A query was read for a stretch up to where it had come; what is complete by now."""
        self.begun_ms = self.begun_ms or served_ms
        self._read_from[query] = min(self._read_from[query], span.since_ms)
        return Span(max(self._read_from), self.span.until_ms)


class FillPlan:
    """Which stretch is to be searched beside a stream, the newest gap first.

    A gap is searched when X's index has all of it; of one that still grows, a piece at a time.
    What was read sooner than `look_back_ms` after it was written may have lacked posts that the
    index was late with, and what a stream brought just before it broke those that were in flight:
    both are read once more.

    unsettled: what is to be read once more from before a restart.
    """

    def __init__(
        self, *, window_ms: int, look_back_ms: int, unsettled: Iterable[Span] = ()
    ) -> None:
        self._window_ms = window_ms
        self._look_back_ms = max(look_back_ms, INDEX_LAG_MS)
        self._live_ms: int | None = None
        self._last_line_ms = 0
        self._in_flight: Spans | None = None  # not known before what was seen before a restart
        self._unsettled = Spans(unsettled)

    @property
    def live_ms(self) -> int | None:
        """Since when a stream brings every post; None while there is none."""
        return self._live_ms

    def stream_begins(self, since_ms: int) -> None:
        """From that moment on a stream brings every post."""
        self._live_ms = self._last_line_ms = since_ms

    def line_came(self, now_ms: int) -> None:
        """The stream has brought a line."""
        self._last_line_ms = now_ms

    def stream_ends(self) -> None:
        """The stream has ended, if there was one; what it brought until shortly before is known."""
        if self._live_ms is not None and self._in_flight is not None:
            since_ms = max(self._live_ms, self._last_line_ms - IN_FLIGHT_MS)
            self._in_flight.add(Span(since_ms, self._last_line_ms))
        self._live_ms = None

    def next(self, seen: Spans, now_ms: int) -> Span | None:
        """The stretch to search now; None if there is none."""
        if self._in_flight is None:
            # The end of what was seen before a restart may have been a stream's.
            until_ms = seen.until_ms or 0
            self._in_flight = Spans([Span(until_ms - IN_FLIGHT_MS, until_ms)])
        whole = Span(now_ms - self._window_ms, now_ms)
        gaps = Spans([*seen.gaps(whole), *self._in_flight])
        for lacking, lag_ms in ((gaps, INDEX_LAG_MS), (self._unsettled, self._look_back_ms)):
            ripe_ms = now_ms - lag_ms
            end_ms = ripe_ms if self._live_ms is None else min(ripe_ms, self._live_ms)
            is_open = end_ms != self._live_ms
            for gap in reversed(list(lacking & [Span(whole.since_ms, end_ms)])):
                grows = is_open and gap.until_ms == end_ms
                if not grows or gap.until_ms - gap.since_ms >= PIECE_MS:
                    return gap
        return None

    def read(self, span: Span, begun_ms: int) -> None:
        """A stretch was searched; begun_ms: when X gave the first page of that search."""
        if span.since_ms >= span.until_ms:
            return
        self._in_flight = (self._in_flight or Spans()) - [span]
        self._unsettled = self._unsettled - [span]
        self._unsettled.add(Span(max(span.since_ms, begun_ms - self._look_back_ms), span.until_ms))
        for spans in (self._in_flight, self._unsettled):
            spans.forget_before(begun_ms - self._window_ms)

    @property
    def unsettled(self) -> list[Span]:
        """What is still to be read once more."""
        return list(Spans([*self._unsettled, *(self._in_flight or ())]))


def request_by_time(since_ms: int, until_ms: int | None = None) -> SearchRequest:
    """The search for (since_ms, until_ms] by whole seconds: the start inclusive, the end not."""
    start_ms = since_ms // 1000 * 1000
    end_ms = None if until_ms is None else until_ms // 1000 * 1000 + 1000
    return SearchRequest(since_ms=start_ms - 1, until_ms=until_ms, start_ms=start_ms, end_ms=end_ms)
