"""X's recent search as the other channel of its stream: it reads what the stream did not bring."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import SourceError
from tweetdock.core.post import Batch, Feed, Span
from tweetdock.sources.polling import Pause
from tweetdock.sources.x.budget import Budget
from tweetdock.sources.x.client import XClient
from tweetdock.sources.x.plan import INDEX_LAG_MS, SearchRequest

IDLE_SECONDS = 1.0
RULES_SETTLE_MS = 30_000  # a rule holds after about 20 s
CHECK_MS = 60_000  # X allows 450 checks in 15 min
# Posts of the last minute may have been on their way when a stream broke. That is more than the
# gauge is told to wait for (LATENCY_MS): what is later still comes, but not once it has broken.
IN_FLIGHT_MS = 60_000
# Of a gap that grows, or whose end the index does not have yet, so much is read at a time: with
# the index's lag still sooner than a missing stretch shows in the grade (LAG_MS).
PIECE_MS = 60_000


class Sweep:
    """A stretch under way by several queries: each is read from its end down, page by page.

    begun_ms: when X gave the first page of it, the one with the newest posts; 0 before.
    """

    def __init__(self, span: Span, queries: Iterable[str]) -> None:
        self.span = span
        self.begun_ms = 0
        self._read_from = dict.fromkeys(queries, span.until_ms)

    def next(self, floor_ms: int) -> tuple[str, SearchRequest] | None:
        """The query that has come least far, and the search for what it lacks; None at the end."""
        query, least = max(self._read_from.items(), key=itemgetter(1))
        since_ms = max(self.span.since_ms, floor_ms)
        return (query, SearchRequest(since_ms, least)) if least > since_ms else None

    def read(self, query: str, span: Span, served_ms: int) -> Span:
        """A query was read for a stretch up to where it had come; what is complete by now."""
        self.begun_ms = self.begun_ms or served_ms
        self._read_from[query] = min(self._read_from[query], span.since_ms)
        return Span(max(self._read_from.values()), self.span.until_ms)


class Streamed:
    """What a stream brings by itself, and what is left to the search; shared by their two threads.

    A gap is searched when X's index has all of it, the newest first; of one that still grows, a
    piece at a time. So is what a stream brought just before it broke, as posts were in flight. What
    was read sooner than `look_back_ms` after it was written may have lacked posts that the index
    was late with: it is read once more, when it is as old as that.

    unsettled, rules_ms: as `dump` gave them before a restart. has_lost_rules: whether the open
    stream lacks a rule of its own; deleted and added it is another one.
    """

    def __init__(
        self,
        *,
        window_ms: int,
        look_back_ms: int,
        unsettled: Iterable[Span] = (),
        rules_ms: int = 0,
    ) -> None:
        self._window_ms = window_ms
        self._look_back_ms = max(look_back_ms, INDEX_LAG_MS)
        self._lock = threading.Lock()
        self._queries: tuple[str, ...] = ()
        self._sweep: Sweep | None = None
        self._unsettled = Spans(unsettled)
        self._broken_off = Spans()
        self._live_ms: int | None = None  # since when a stream brings every post
        self._last_line_ms = 0
        self._rules_hold_ms = rules_ms
        self._rule_ids: frozenset[str] = frozenset()
        self._checked_ms = 0
        self.has_lost_rules = False

    def dump(self) -> dict[str, Any]:
        """What a restart goes on from, as JSON has it."""
        with self._lock:
            unsettled = Spans([*self._unsettled, *self._broken_off, *self._in_flight()])
            return {"rules_ms": self._rules_hold_ms, "unsettled": list(unsettled)}

    # For the stream.

    def ask_by(self, queries: Sequence[str]) -> None:
        """Search by these from now on: together they find what the stream brings."""
        with self._lock:
            self._queries, self._sweep = tuple(queries), None

    def rules_changed(self, now_ms: int) -> None:
        """Rules were added, and hold a while later."""
        with self._lock:
            self._rules_hold_ms = now_ms + RULES_SETTLE_MS

    def begins(self, since_ms: int, rule_ids: Iterable[str], checked_ms: int, now_ms: int) -> None:
        """The stream is there, and brings every post from that moment on, if its rules hold.

        checked_ms: when the rules were there.
        """
        with self._lock:
            known, self._rule_ids = self._rule_ids, frozenset(rule_ids)
            self.has_lost_rules = False
            self._checked_ms = checked_ms
            if known and not self._rule_ids <= known:  # whoever has added it meanwhile
                self._rules_hold_ms = max(self._rules_hold_ms, now_ms + RULES_SETTLE_MS)
            self._begin(since_ms)

    def line_came(self, now_ms: int) -> Span:
        """The stream has brought a line; since when it brings every post, and until when for sure.

        Not until now: its rules may have been deleted after the last check.
        """
        with self._lock:
            since_ms = self._live_ms or now_ms
            until_ms = self._last_line_ms = max(since_ms, min(now_ms, self._checked_ms))
            return Span(since_ms, until_ms)

    def stumbled(self, now_ms: int) -> None:
        """The stream has brought a line that cannot be read, of just now: the search is to."""
        with self._lock:
            self._end()
            self._begin(now_ms)

    def ends(self) -> None:
        """The stream has ended, if there was one."""
        with self._lock:
            self._end()

    def _begin(self, since_ms: int) -> None:
        self._live_ms = self._last_line_ms = max(since_ms, self._rules_hold_ms)

    def _end(self) -> None:
        for span in self._in_flight():
            self._broken_off.add(span)
        self._live_ms = None

    def _in_flight(self) -> list[Span]:
        """The last that an open stream has brought, of which some may still be on its way."""
        if self._live_ms is None:
            return []
        since_ms = max(self._live_ms, self._last_line_ms - IN_FLIGHT_MS)
        return [Span(since_ms, self._last_line_ms)]

    # For the search.

    def due_search(self, seen: Spans, now_ms: int) -> tuple[str, SearchRequest] | None:
        """The search that is due, by its query, given what has been seen; None if there is none."""
        floor_ms = now_ms - self._window_ms
        with self._lock:
            if not self._queries:
                return None
            found = self._sweep.next(floor_ms) if self._sweep else None
            if not found and (span := self._next_gap(seen, now_ms)):
                self._sweep = Sweep(span, self._queries)
                found = self._sweep.next(floor_ms)
            return found

    def _next_gap(self, seen: Spans, now_ms: int) -> Span | None:
        floor_ms = now_ms - self._window_ms
        gaps = Spans([*seen.gaps(Span(floor_ms, now_ms)), *self._broken_off])
        for lacking, lag_ms in ((gaps, INDEX_LAG_MS), (self._unsettled, self._look_back_ms)):
            ripe_ms = now_ms - lag_ms
            end_ms = ripe_ms if self._live_ms is None else min(ripe_ms, self._live_ms)
            is_open = end_ms != self._live_ms
            for gap in reversed(list(lacking & [Span(floor_ms, end_ms)])):
                grows = is_open and gap.until_ms == end_ms
                if not grows or gap.until_ms - gap.since_ms >= PIECE_MS:
                    return gap
        return None

    def read(self, query: str, span: Span, served_ms: int) -> Span | None:
        """A search has read a stretch by `served_ms`; what of the window is complete by that."""
        with self._lock:
            if self._sweep is None:
                return None  # whom we follow has changed meanwhile
            complete = self._sweep.read(query, span, served_ms)
            if complete.since_ms >= complete.until_ms:
                return None
            young_ms = max(complete.since_ms, self._sweep.begun_ms - self._look_back_ms)
            self._broken_off -= [complete]
            self._unsettled -= [complete]
            self._unsettled.add(Span(young_ms, complete.until_ms))
            for spans in (self._broken_off, self._unsettled):
                spans.forget_before(self._sweep.begun_ms - self._window_ms)
            return complete

    def check_is_due(self, now_ms: int) -> bool:
        """Whether it is time to see if the open stream's rules are still there."""
        with self._lock:
            is_open = self._live_ms is not None and not self.has_lost_rules
            return is_open and now_ms - self._checked_ms >= CHECK_MS

    def rules_are(self, ids: Iterable[str], asked_ms: int) -> None:
        """X was asked which rules there are: these."""
        with self._lock:
            if self._rule_ids <= set(ids):
                self._checked_ms = max(self._checked_ms, asked_ms)
            else:
                self.has_lost_rules = True


class XFill:
    """Asks X's search for each gap, and for what was read too young once more.

    It also sees now and then, while the stream is open, if its rules are still there.
    """

    channel = "search"

    def __init__(
        self,
        feed: Feed,
        streamed: Streamed,
        client: XClient,
        budget: Budget,
        *,
        clock: Clock,
        cursor: Callable[[], str],
    ) -> None:
        self.feed = feed
        self._streamed = streamed
        self._client = client
        self._budget = budget
        self._clock = clock
        self._cursor = cursor
        self._is_in_trouble = False

    def poll(self, seen: Spans) -> Iterator[Batch]:
        """One search, a Batch a page, if there is a gap; SourceError when X does not deliver."""
        self._budget.settle(seen)
        trouble = self._check_rules()
        due = self._streamed.due_search(seen, self._clock.now_ms())
        if due is None:
            if trouble:
                self._is_in_trouble = True
                raise trouble
            if self._is_in_trouble:  # what could not be read has become old: no trouble any more
                self._is_in_trouble = False
                yield Batch(billed=0, **self._marks())
            return
        self._is_in_trouble = True
        for _, page, span in self._client.pages(*due):
            self._is_in_trouble = False
            covers = self._streamed.read(due[0], span, page.served_ms)
            yield page.batch(covers=covers, **self._marks())
            self._check_rules()

    def pause(self, seen: Spans) -> Pause:
        """A moment, or as long as the rate limit wants it while there is more to ask."""
        if self._streamed.due_search(seen, self._clock.now_ms()) is None:
            return Pause(IDLE_SECONDS)
        return self._client.pause(0.0, 0.0)

    def cut(self) -> None:
        """End the request under way."""
        self._client.cut()

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _check_rules(self) -> SourceError | None:
        """Check if the stream's rules are still there, if it is time; here, as it must not wait."""
        asked_ms = self._clock.now_ms()
        if not self._streamed.check_is_due(asked_ms):
            return None
        try:
            there = self._client.rules()
        except SourceError as error:
            # Not with the wait that X wants: gaps are to be filled meanwhile.
            return SourceError(error.what, error.cure)
        self._streamed.rules_are((rule.id for rule in there), asked_ms)
        return None

    def _marks(self) -> dict[str, Any]:
        """What every Batch has."""
        return {
            "source": self.feed.source,
            "channel": self.channel,
            "cursor": self._cursor(),
            "remark": self._budget.remark(self._clock.now_ms()),
        }
