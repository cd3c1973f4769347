"""Which stretches of the window X's stream left out, and which search is due for them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tweetdock.core.coverage import SEAM_MS, Spans
from tweetdock.core.post import Span
from tweetdock.sources.x.plan import INDEX_LAG_MS, SearchRequest

# Posts of the last minute may have been on their way when a stream broke. That is more than the
# gauge is told to wait for (LATENCY_MS): what is later still comes, but not once it has broken.
IN_FLIGHT_MS = 60_000
# Of a gap that grows, or whose end the index does not have yet, so much is read at a time: with
# the index's lag still sooner than a missing stretch shows in the grade (LAG_MS).
PIECE_MS = 60_000


class Reads:
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


class Work(NamedTuple):
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
        self._seen = Reads(queries, known)
        self._settled = Reads(queries, _without(known, Spans(unsettled)))

    def ask_by(self, queries: int) -> None:
        """From now on there are so many queries, and they are others; what was seen stays so."""
        self._seen = Reads(queries, self._seen.whole)
        self._settled = Reads(queries, self._settled.whole)

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

    def next(self, now_ms: int) -> Work | None:
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
                    return Work(found[0], _request(found[1]))
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


def _request(gap: Span) -> SearchRequest:
    # By times, which X takes in whole seconds: the start inclusive, the end exclusive.
    start_ms = gap.since_ms // 1000 * 1000
    end_ms = gap.until_ms // 1000 * 1000 + 1000
    return SearchRequest(
        since_ms=start_ms - 1, until_ms=gap.until_ms, start_ms=start_ms, end_ms=end_ms
    )
