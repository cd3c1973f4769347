"""X's recent search as a source: the window read once, what is new, and what has become ripe."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Known
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.post import Batch, Feed, Late, Span, Tally
from tweetdock.core.times import MINUTE_MS
from tweetdock.settings.networks import XSettings
from tweetdock.sources.polling import GRACE_MS, Pause
from tweetdock.sources.unreadable import UnreadableLog
from tweetdock.sources.x.budget import LARGEST_PAGE, Budget, BudgetError
from tweetdock.sources.x.client import XClient
from tweetdock.sources.x.plan import RIPE_MS, Search, SearchPlan

log = logging.getLogger(__name__)

SILENCE = (Kind.CONNECTION, Kind.STRANGER, Kind.SERVER)
OUTAGE_MS = 60_000  # one lost answer is none yet
COUNTS_LAG_MS = 30_000  # X's counts are of the time up to then by default
IDLE_SECONDS = 1.0  # while it is not known what to ask for
SECONDS_A_QUERY = 3.0  # that takes 300 of the 450 requests that X allows in 15 min


class XSearch:
    """Recent search on X, as a source to be polled.

    queries: what to ask for by now, together; none yet, as long as that is not known. Times in
    seconds. budget: what X may cost; once it is spent, the posts are counted instead of read, as
    far as it goes. keeps_raw: batches bring the posts as X sent them too. cursor: where to go on
    from. source, channel: of which it is one of the ways; what `beside` tells is in the cursor,
    too. A source of several ways is not counted.
    """

    def __init__(
        self,
        queries: Callable[[], Sequence[str]],
        x: XSettings,
        *,
        clock: Clock,
        budget: Budget,
        window_seconds: float,
        poll_seconds: float,
        keeps_raw: bool = False,
        cursor: str = "",
        source: str = "x",
        channel: str = "",
        beside: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        late_ms = round(x.look_back_seconds * 1000)
        lag_ms = RIPE_MS + round(poll_seconds * 1000) + GRACE_MS
        self.feed = Feed(source, lag_ms, late=Late(late_ms, late_ms))
        self.channel = channel
        self._beside = beside
        self._queries = queries
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._window_ms = round(window_seconds * 1000)
        self._budget = budget
        self._plan = SearchPlan(
            window_ms=self._window_ms, cursor=cursor, reads_again=self._has_money_for_a_page
        )
        self._search: Search | None = None
        self._client = XClient(x, clock=clock, budget=budget, keeps_raw=keeps_raw)
        self._unreadable = UnreadableLog(source)
        self._counted_ms: int | None = None
        self._polled_ms = 0
        self._lost_ms: int | None = None  # since when X has not answered, with no money left
        self._knows_time = False

    @property
    def cursor(self) -> str:
        """Where the feed goes on after a restart, as JSON."""
        parts = {**self._beside(), "newest_id": self._plan.newest_id}
        return json.dumps(parts, separators=(",", ":"))

    def poll(self, seen: Known) -> Iterator[Batch]:
        """One search, a Batch a page; SourceError when X does not deliver.

        When the day's money is spent: a Batch with a tally if one is due, else with nothing, and
        a BudgetError.
        """
        if not self._queries():
            return
        self._budget.settle(seen)
        if self._budget.is_limited and not self._knows_time:
            # Not by our clock: of which day is what a post costs?
            yield self._ask_time()
        try:
            yield from self._read(seen)
        except BudgetError as spent:
            yield from self._do_without(spent)

    def _read(self, seen: Known) -> Iterator[Batch]:
        search = self._search = self._search or self._next(seen)
        try:
            while not search.is_done:
                page = self._client.search(search.query, search.request, search.token)
                covers = search.add_page(page)
                gone = self._plan.record(search, page, self._clock.now_ms())
                floor_ms = self._clock.now_ms() - self._window_ms
                fresh = self._unreadable.new(page.unreadable, floor_ms)
                yield page.batch(
                    unreadable=tuple(one.at_ms for one in fresh),
                    covers=covers,
                    read_ms=search.read_ms,
                    removals=gone,
                    has_more=not search.is_done,
                    **self._marks(),
                )
                search.check()  # not before the page is told of, which is paid for
        except SourceError as error:
            is_refused = error.kind is Kind.QUERY and self._plan.refused(search.request)
            if is_refused or not search.go_back():
                self._search = None
            if not is_refused:
                raise
            log.info("%s; going on by time instead of the last id", error.what)
        else:
            self._search = None

    def _next(self, seen: Known) -> Search:
        now_ms = self._clock.now_ms()
        request = self._plan.next(seen, now_ms)
        if self._plan.is_live:
            self._polled_ms = now_ms
        return Search(request, self._queries())

    def _has_money_for_a_page(self) -> bool:
        left = self._budget.posts_left(self._client.now_ms)
        return left is None or left >= LARGEST_PAGE

    def _ask_time(self) -> Batch:
        server_ms = self._client.ask_time(self._queries()[0])
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
        return due if self._client.can_count and not self.channel else None

    def _count(self) -> Iterator[Batch]:
        """The posts of the window that ended with the last whole minute of X's index.

        Not the same as a search finds: posts that were taken down since are counted, too.
        https://docs.x.com/x-api/posts/counts/introduction
        """
        self._counted_ms = self._clock.now_ms()
        until_ms = (self._counted_ms - COUNTS_LAG_MS) // MINUTE_MS * MINUTE_MS
        window = Span(until_ms - self._window_ms, until_ms)
        posts, server_ms = self._client.count(self._queries()[0], window)
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
            "channel": self.channel,
            "cursor": self.cursor,
            "remark": self._budget.remark(self._client.now_ms),
        }

    def pause(self, seen: Known) -> Pause:
        """Until the next poll is due, longer where the rate limit wants it."""
        queries, now_ms = len(self._queries()), self._clock.now_ms()
        if not queries:
            return Pause(IDLE_SECONDS)
        usual = max(self._poll_seconds, queries * SECONDS_A_QUERY if queries > 1 else 0.0)
        due = max(0.0, usual - max(0, now_ms - self._polled_ms) / 1000)
        wanted = 0.0 if self._plan.is_behind(seen, now_ms) else due
        return self._client.pause(wanted, usual, queries)

    def cut(self) -> None:
        """End the request under way."""
        self._client.cut()

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()
