"""Which search X is asked next, by itself or beside its stream, so that all is read once."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from tweetdock.core.coverage import SEAM_MS, Spans
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.gauge import Bookmark
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
    """What X has been asked, and so what it is to be asked next.

    First the whole window by time; then what is new since the newest id. That leaves a hole:
    a post that is indexed after a newer one was read. So once a minute the question is what is
    new since `look_back_ms` ago, which closes the holes. What is older than that and was left
    out all the same, by an interrupted search or a restart, is asked for by time.

    bookmark: where an earlier plan left off, to go on from there.
    """

    def __init__(
        self,
        *,
        window_ms: int,
        poll_ms: int,
        look_back_ms: int,
        bookmark: Bookmark = Bookmark(),  # noqa: B008 - it cannot change
    ) -> None:
        self._window_ms = window_ms
        self._poll_ms = poll_ms
        self._look_back_ms = look_back_ms
        self._seen = Spans()
        self._newest_id = 0
        self._caught_up_ms: int | None = None
        self._asked_new_ms = 0
        self._asked_new = False
        self._looked_back_ms = 0
        self._by_time = True
        self._id_refusals = 0
        # One that cannot be read costs the window's posts once more, and no truth.
        with suppress(ValueError, TypeError, KeyError, OverflowError, RecursionError):
            self._go_on(json.loads(bookmark.cursor), bookmark.seen)

    @property
    def cursor(self) -> str:
        """What a plan after a restart goes on from, as JSON."""
        cursor = {
            "newest_id": self._newest_id,
            "caught_up_ms": self._caught_up_ms,
            "looked_back_ms": self._looked_back_ms,
        }
        return json.dumps(cursor)

    def next(self, now_ms: int) -> SearchRequest:
        """The search to make now."""
        floor = now_ms - self._window_ms
        caught_up = self._caught_up_ms
        if caught_up is None or not floor < caught_up <= now_ms:
            self._asked_new, self._asked_new_ms = True, now_ms
            return _request_by_time(floor)
        gaps = self._gaps(now_ms)
        # In turns if answers take as long as the pause, so that neither starves the other.
        is_due = now_ms - self._asked_new_ms >= self._poll_ms
        asks_new = not gaps or (is_due and not self._asked_new)
        self._asked_new = asks_new
        if not asks_new:
            return _request_by_time(gaps[-1].since_ms, gaps[-1].until_ms)
        self._asked_new_ms = now_ms
        return self._request_new(max(self._reach(caught_up), floor), now_ms)

    def clock_moved(self, now_ms: int) -> None:
        """The clock was corrected and says `now_ms`: what it has left behind is read again."""
        self._seen.forget_before(now_ms - self._window_ms + SEAM_MS)

    def is_behind(self, now_ms: int) -> bool:
        """Whether a stretch of the window was left out and can be asked for at once."""
        return bool(self._gaps(now_ms))

    def _go_on(self, cursor: dict[str, Any], seen: tuple[Span, ...]) -> None:
        newest_id, caught_up_ms = int(cursor["newest_id"]), int(cursor["caught_up_ms"])
        self._looked_back_ms = int(cursor["looked_back_ms"])
        self._seen, self._newest_id, self._caught_up_ms = Spans(seen), newest_id, caught_up_ms
        self._by_time = False

    def _request_new(self, reach: int, now_ms: int) -> SearchRequest:
        if self._by_time:
            return _request_by_time(reach)
        looks_back = now_ms - self._looked_back_ms >= LOOK_BACK_EVERY_MS
        # A newest id from before the reach would do as well, until X calls it too old.
        if looks_back or snowflake_ms(self._newest_id) < reach:
            return SearchRequest(
                since_ms=reach, since_id=since_id_for(reach + 1), looks_back=looks_back
            )
        return SearchRequest(since_ms=snowflake_ms(self._newest_id), since_id=self._newest_id)

    def _reach(self, caught_up: int) -> int:
        return caught_up + INDEX_LAG_MS - self._look_back_ms

    def _gaps(self, now_ms: int) -> list[Span]:
        if self._caught_up_ms is None:
            return [Span(now_ms - self._window_ms, now_ms)]
        return self._seen.gaps(Span(now_ms - self._window_ms, self._reach(self._caught_up_ms)))

    def record(self, search: Search, span: Span, served_ms: int, *, is_done: bool) -> None:
        """A page of `search` was read and made `span` complete."""
        # Not before X has answered: our clock may have been wrong until then.
        self._seen.forget_before(served_ms - self._window_ms)
        self._seen.add(span)
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


class ReadSpans:
    """A union of stretches, each complete once every query was read for it."""

    def __init__(self, queries: int, whole: Iterable[Span] = ()) -> None:
        self.whole = Spans(whole)
        self._own = [Spans() for _ in range(queries)]

    def add(self, query: int, span: Span) -> list[Span]:
        """One query was read for a stretch; what that makes complete."""
        self._own[query].add(span)
        missing = Spans(gap for own in self._own for gap in own.gaps(span))
        complete = missing.gaps(span)
        for piece in complete:
            self.whole.add(piece)
        return complete

    def missing(self, gap: Span) -> tuple[int, Span] | None:
        """A query that was not read for the whole gap, and the newest stretch that it lacks."""
        for query, own in enumerate(self._own):
            if gaps := own.gaps(gap):
                return query, gaps[-1]
        return None

    def forget_before(self, ms: int) -> None:
        """Forget all that lies at `ms` or earlier."""
        for spans in (self.whole, *self._own):
            spans.forget_before(ms)


class DueSearch(NamedTuple):
    """One search to make: which query, and what of it."""

    query: int
    request: SearchRequest


class Gaps:
    """What has been seen, and which of the searches is due next, the newest gap first.

    A gap is asked for when X's index has all of it; of one that still grows, a piece at a time.
    What was read sooner than `look_back_ms` after it was written may have lacked posts that the
    index was late with: it is read once more.

    seen: what was complete before a restart. unsettled: what of it is to be read once more.
    """

    def __init__(
        self,
        *,
        queries: int,
        window_ms: int,
        look_back_ms: int,
        seen: Sequence[Span] = (),
        unsettled: Sequence[Span] = (),
    ) -> None:
        self._window_ms = window_ms
        self._look_back_ms = max(look_back_ms, INDEX_LAG_MS)
        self._live_ms: int | None = None
        self._last_line_ms = 0
        known = Spans(seen)
        if known.until_ms is not None:
            # It may have been a stream's, with posts in flight.
            known = Spans(_without(known, Spans([Span(known.until_ms - IN_FLIGHT_MS, 1 << 60)])))
        self._seen = ReadSpans(queries, known)
        self._settled = ReadSpans(queries, _without(known, Spans(unsettled)))

    def ask_by(self, queries: int) -> None:
        """From now on there are so many queries, and they are others; what was seen stays so."""
        self._seen = ReadSpans(queries, self._seen.whole)
        self._settled = ReadSpans(queries, self._settled.whole)

    def stream_begins(self, since_ms: int) -> None:
        """From that moment on a stream brings every post."""
        self._live_ms = self._last_line_ms = since_ms

    def line_came(self, now_ms: int) -> None:
        """The stream has brought a line."""
        self._last_line_ms = now_ms

    def stream_ends(self) -> None:
        """The stream has ended, if there was one; what it brought until shortly before is known."""
        if self._live_ms is not None:
            span = Span(self._live_ms, self._last_line_ms - IN_FLIGHT_MS)
            self._seen.whole.add(span)
            self._settled.whole.add(span)
        self._live_ms = None

    def clock_moved(self, now_ms: int) -> None:
        """The clock was corrected and says `now_ms`: what it has left behind is read again."""
        for reads in (self._seen, self._settled):
            reads.forget_before(now_ms - self._window_ms + SEAM_MS)
        if self._live_ms is not None:
            self._live_ms = self._last_line_ms = now_ms

    @property
    def live_ms(self) -> int | None:
        """Since when a stream brings every post; None while there is none."""
        return self._live_ms

    def next(self, now_ms: int) -> DueSearch | None:
        """The search to make now; None if there is none."""
        for reads, lag_ms in (
            (self._seen, INDEX_LAG_MS),
            (self._settled, self._look_back_ms),
        ):
            ripe_ms = now_ms - lag_ms
            end_ms = ripe_ms if self._live_ms is None else min(ripe_ms, self._live_ms)
            within = Span(now_ms - self._window_ms, end_ms)
            is_open = end_ms != self._live_ms
            for gap in reversed(reads.whole.gaps(within)):
                grows = is_open and gap.until_ms == end_ms
                is_due = not grows or gap.until_ms - gap.since_ms >= PIECE_MS
                if is_due and (found := reads.missing(gap)):
                    query, lack = found
                    return DueSearch(query, _request_by_time(lack.since_ms, lack.until_ms))
        return None

    def read(self, query: int, span: Span, served_ms: int) -> list[Span]:
        """A search has read a stretch; what is complete by that.

        served_ms: when X gave the first page of it, the one with the newest posts.
        """
        # Not before X has answered: our clock may have been wrong until then.
        for reads in (self._seen, self._settled):
            reads.forget_before(served_ms - self._window_ms)
        late_ms = served_ms - self._look_back_ms
        self._settled.add(query, Span(span.since_ms, min(span.until_ms, late_ms)))
        return self._seen.add(query, span)

    def unsettled(self, now_ms: int) -> list[Span]:
        """What of the window is still to be read, or read once more."""
        end_ms = now_ms if self._live_ms is None else self._live_ms
        return self._settled.whole.gaps(Span(now_ms - self._window_ms, end_ms))


def _without(spans: Iterable[Span], others: Spans) -> list[Span]:
    return [piece for span in spans for piece in others.gaps(span)]


def _request_by_time(since_ms: int, until_ms: int | None = None) -> SearchRequest:
    # X takes whole seconds: the start inclusive, the end exclusive.
    start_ms = since_ms // 1000 * 1000
    end_ms = None if until_ms is None else until_ms // 1000 * 1000 + 1000
    return SearchRequest(since_ms=start_ms - 1, until_ms=until_ms, start_ms=start_ms, end_ms=end_ms)
