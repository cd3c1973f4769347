"""X's recent search as a source: the window read once, then what is new."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.post import Batch, Feed, Span, Tally
from tweetdock.core.times import MINUTE_MS
from tweetdock.settings.networks import XSettings
from tweetdock.sources.polling import GRACE_MS, Pause
from tweetdock.sources.x.budget import Budget, BudgetError
from tweetdock.sources.x.client import XClient
from tweetdock.sources.x.plan import INDEX_LAG_MS, LOOK_BACK_EVERY_MS, SearchPlan

log = logging.getLogger(__name__)

SILENCE = (Kind.CONNECTION, Kind.STRANGER, Kind.SERVER)
OUTAGE_MS = 60_000  # one lost answer is none yet


class XSearch:
    """Recent search on X, as a source to be polled.

    Times in seconds. budget: what X may cost; once it is spent, the posts are counted instead of
    read, as far as it goes. keeps_raw: batches bring the posts as X sent them too. cursor: where
    to go on from.
    """

    channel = ""

    def __init__(
        self,
        query: str,
        x: XSettings,
        *,
        clock: Clock,
        budget: Budget,
        window_seconds: float,
        poll_seconds: float,
        keeps_raw: bool = False,
        cursor: str = "",
    ) -> None:
        lag_ms = INDEX_LAG_MS + LOOK_BACK_EVERY_MS + round(poll_seconds * 1000) + GRACE_MS
        self.feed = Feed("x", lag_ms)
        self._query = query
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._window_ms = round(window_seconds * 1000)
        self._budget = budget
        self._plan = SearchPlan(
            window_ms=self._window_ms,
            look_back_ms=round(x.look_back_seconds * 1000),
            cursor=cursor,
        )
        self._client = XClient(x, clock=clock, budget=budget, keeps_raw=keeps_raw)
        self._counted_ms: int | None = None
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
        try:
            for search, page, span in self._client.pages(self._query, request):
                self._plan.record(search, page, self._clock.now_ms())
                yield page.batch(covers=span, **self._marks())
        except SourceError as error:
            if error.kind is not Kind.QUERY or not self._plan.refused(request):
                raise
            log.info("%s; going on by time instead of the last id", error.what)

    def _ask_time(self) -> Batch:
        server_ms = self._client.ask_time(self._query)
        self._knows_time = True
        return Batch(server_ms=server_ms, billed=0, **self._marks())

    def _do_without(self, spent: BudgetError) -> Iterator[Batch]:
        """Count, if that is due, or at least ask what time it is: a new day has new money."""
        try:
            if self._counting_due() == 0.0:
                yield from self._count()
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
        waits = [s for s in (spent.retry_after, self._counting_due()) if s is not None]
        raise BudgetError(str(spent), retry_after=min(waits), by_choice=True) from spent

    def _counting_due(self) -> float | None:
        now_ms = self._clock.now_ms()
        due = self._budget.counting_due(now_ms, self._counted_ms, self._window_ms)
        return due if self._client.can_count else None

    def _count(self) -> Iterator[Batch]:
        """The posts of the window that ended with the last whole minute of X's index.

        Not the same as a search finds: posts that were taken down since are counted, too.
        https://docs.x.com/x-api/posts/counts/introduction
        """
        self._counted_ms = self._clock.now_ms()
        until_ms = (self._counted_ms - INDEX_LAG_MS) // MINUTE_MS * MINUTE_MS
        window = Span(until_ms - self._window_ms, until_ms)
        posts, server_ms = self._client.count(self._query, window)
        counted = Batch(billed=0, tally=Tally(posts, until_ms), **self._marks())
        # A Batch tells of one question, and those whose answers were lost were paid, too.
        yield from [counted] * (self._budget.pop_untold() - 1)
        yield replace(counted, server_ms=server_ms)

    def _is_outage(self, trouble: SourceError) -> bool:
        """Whether X has been silent for a while: then it is not by choice that it says nothing."""
        now_ms = self._clock.now_ms()
        if trouble.kind not in SILENCE or trouble.retry_after is not None:
            self._lost_ms = None
            return False
        if self._lost_ms is None or self._lost_ms > now_ms:
            self._lost_ms = now_ms
        return now_ms - self._lost_ms >= OUTAGE_MS

    def _marks(self) -> dict[str, Any]:
        """What every Batch has."""
        return {
            "source": self.feed.source,
            "cursor": self._plan.cursor,
            "remark": self._budget.remark(self._clock.now_ms()),
        }

    def pause(self, seen: Spans) -> Pause:
        """Until the next poll is due, longer where the rate limit wants it."""
        now_ms = self._clock.now_ms()
        due = self._poll_seconds - max(0, now_ms - self._polled_ms) / 1000
        wanted = 0.0 if self._plan.is_behind(seen, now_ms) else max(0.0, due)
        return self._client.pause(wanted, self._poll_seconds)

    def cut(self) -> None:
        """End the request under way."""
        self._client.cut()

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()
