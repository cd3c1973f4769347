"""X's recent search as a source: the window read once, then what is new."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.post import Batch, Feed, Span, Tally
from tweetdock.core.times import DAY_MS, MINUTE_MS, duration
from tweetdock.sources.http import WHOLE_SECONDS
from tweetdock.sources.polling import GRACE_MS, Pause
from tweetdock.sources.x.budget import COUNTING_MS, Budget, BudgetError
from tweetdock.sources.x.client import Credentials, XClient
from tweetdock.sources.x.plan import INDEX_LAG_MS, LOOK_BACK_EVERY_MS, Search, SearchPlan

log = logging.getLogger(__name__)

SILENCE = (Kind.CONNECTION, Kind.STRANGER, Kind.SERVER)
OUTAGE_MS = 60_000  # one lost answer is none yet


class Counting:
    """Keeps the number of posts known from what is left of a day's money.

    It goes round for the rest of the day, so it becomes slower when there is less. Where it would
    be slower than the window it is of no use, and nothing is asked.

    count: asks X for the number of posts of a query in a stretch of time; SourceError
    when there is no answer. queries: whose posts are added up; it cannot be told
    which posts are found by two of them. Without any there is no counting.
    """

    def __init__(
        self,
        count: Callable[[str, Span], int],
        budget: Budget,
        queries: Sequence[str],
        window_seconds: float,
    ) -> None:
        self._count = count
        self._budget = budget
        self._queries = tuple(queries)
        self._window_ms = round(window_seconds * 1000)
        self._asked_ms: int | None = None

    def due_seconds(self, now_ms: int) -> float | None:
        """In how many seconds to ask; None if that has no use today, as things are."""
        rounds = self._budget.counts_left(now_ms) // max(1, len(self._queries))
        if not self._queries or not rounds or self._window_ms < MINUTE_MS:
            return None
        every_ms = max(COUNTING_MS, (DAY_MS - now_ms % DAY_MS) / rounds)
        if every_ms > self._window_ms:
            return None
        if self._asked_ms is None or self._asked_ms > now_ms:
            return 0.0
        return max(0.0, (self._asked_ms + every_ms - now_ms) / 1000)

    def ask(self, now_ms: int) -> Tally:
        """The posts of the window that ended with the last whole minute of X's index.

        Not the same as a search finds: posts that were taken down since are counted, too.
        https://docs.x.com/x-api/posts/counts/introduction
        """
        self._asked_ms = now_ms
        until_ms = (now_ms - INDEX_LAG_MS) // MINUTE_MS * MINUTE_MS
        window = Span(until_ms - self._window_ms, until_ms)
        return Tally(sum(self._count(query, window) for query in self._queries), until_ms)


class XSearch:
    """Recent search on X, as a source to be polled.

    Times in seconds. whole_seconds: how long one exchange may take before it is cut.
    keeps_raw: batches bring the posts as X sent them too. cursor: where to go on from.
    budget: what X may cost; once it is spent, the posts are counted instead of read, as far as
    it goes.
    """

    channel = ""

    def __init__(
        self,
        query: str,
        credentials: Credentials,
        *,
        clock: Clock,
        api_url: str,
        window_seconds: float,
        poll_seconds: float,
        look_back_seconds: float,
        whole_seconds: float = WHOLE_SECONDS,
        keeps_raw: bool = False,
        cursor: str = "",
        budget: Budget | None = None,
    ) -> None:
        poll_ms = round(poll_seconds * 1000)
        self.feed = Feed("x", INDEX_LAG_MS + LOOK_BACK_EVERY_MS + poll_ms + GRACE_MS)
        self._query = query
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._window_ms = round(window_seconds * 1000)
        self._budget = budget or Budget()
        self._plan = SearchPlan(
            window_ms=self._window_ms,
            poll_ms=poll_ms,
            look_back_ms=round(look_back_seconds * 1000),
            cursor=cursor,
        )
        self._client = XClient(
            credentials,
            clock=clock,
            api_url=api_url,
            whole_seconds=whole_seconds,
            keeps_raw=keeps_raw,
            budget=self._budget,
        )
        queries = [query] if self._client.can_count else []
        self._counting = Counting(self._client.count, self._budget, queries, window_seconds)
        self._polled_ms = 0
        self._lost_ms: int | None = None  # since when X has not answered, with no money left
        self._knows_time = False

    def poll(self, seen: Spans) -> Iterator[Batch]:
        """One search, a Batch a page; SourceError when X does not deliver.

        When the day's money is spent: a Batch with a tally if one is due, else with nothing, and
        a BudgetError.
        """
        self._budget.settle(seen)
        if self._budget.is_limited and not self._knows_time:
            # Not by our clock: of which day is what a post costs?
            yield self._ask_time()
        try:
            yield from self._search(seen)
        except BudgetError as spent:
            yield from self._do_without(spent)

    def _search(self, seen: Spans) -> Iterator[Batch]:
        self._polled_ms = self._clock.now_ms()
        request = self._plan.next(seen, self._polled_ms)
        search, token = Search(request), None
        while True:
            try:
                found = self._client.search(self._query, request, token)
            except SourceError as error:
                if error.kind is Kind.QUERY and self._plan.refused(request):
                    log.info("%s; going on by time instead of the last id", error.what)
                    return
                raise
            page = found.page
            span = search.add_page(page, found.served_ms)
            token = page.next_token
            self._plan.record(search, found.served_ms, is_done=token is None)
            yield self._batch(
                posts=page.posts,
                covers=span,
                unreadable=tuple(entry.at_ms for entry in page.unreadable),
                raw=page.raw,
                has_more=token is not None,
                server_ms=found.server_ms,
                billed=found.billed,
            )
            if token is None:
                return

    def _ask_time(self) -> Batch:
        server_ms = self._client.ask_time(self._query)
        self._knows_time = True
        return self._batch(server_ms=server_ms, billed=0)

    def _do_without(self, spent: BudgetError) -> Iterator[Batch]:
        """Count, if that is due, or at least ask what time it is: a new day has new money."""
        try:
            if self._counting.due_seconds(self._clock.now_ms()) == 0.0:
                tally = self._counting.ask(self._clock.now_ms())
                yield self._batch(billed=0, tally=tally)
            else:
                yield self._ask_time()
        except SourceError as trouble:
            raise SourceError(
                f"{spent}; until then: {trouble.what}",
                trouble.cure,
                kind=trouble.kind,
                retry_after=trouble.retry_after,
                by_choice=not self._is_outage(trouble),
                server_ms=trouble.server_ms,
            ) from trouble
        self._lost_ms = None
        due = self._counting.due_seconds(self._clock.now_ms())
        waits = [seconds for seconds in (spent.retry_after, due) if seconds is not None]
        raise BudgetError(str(spent), retry_after=min(waits), by_choice=True) from spent

    def _is_outage(self, trouble: SourceError) -> bool:
        """Whether X has been silent for a while: then it is not by choice that it says nothing."""
        now_ms = self._clock.now_ms()
        if trouble.kind not in SILENCE or trouble.retry_after is not None:
            self._lost_ms = None
            return False
        if self._lost_ms is None or self._lost_ms > now_ms:
            self._lost_ms = now_ms
        return now_ms - self._lost_ms >= OUTAGE_MS

    def _batch(self, **fields: Any) -> Batch:
        now_ms = self._clock.now_ms()
        return Batch(
            source=self.feed.source,
            cursor=self._plan.cursor,
            remark=self._budget.remark(now_ms),
            **fields,
        )

    def pause(self, seen: Spans) -> Pause:
        """Until the next poll is due, longer where the rate limit wants it."""
        now_ms = self._clock.now_ms()
        due = self._poll_seconds - max(0, now_ms - self._polled_ms) / 1000
        wanted = 0.0 if self._plan.is_behind(seen, now_ms) else max(0.0, due)
        limit = self._client.limit
        if limit is None:
            return Pause(wanted)
        seconds = limit.pause_seconds(now_ms, wanted)
        if seconds * 1000 < self._poll_seconds * 1000 + GRACE_MS:
            return Pause(seconds)
        return Pause(seconds, f"X's rate limit leaves one search every {duration(seconds)}")

    def cut(self) -> None:
        """End the request under way."""
        self._client.cut()
