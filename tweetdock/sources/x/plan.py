"""Which search X is asked next: for what is new, for what is ripe, and for all once more later."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from tweetdock.core.clock import FUTURE_MS
from tweetdock.core.coverage import Known
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.post import Removal, Span
from tweetdock.core.times import DAY_MS, MINUTE_MS
from tweetdock.sources.x.budget import LARGEST_PAGE, NEAR_MS
from tweetdock.sources.x.posts import LARGEST_ID, PostPage, since_id_for, snowflake_ms

RIPE_MS = 50_000  # what becomes certain is asked for so much at a time
MOST_BACK = 6 * LARGEST_PAGE  # posts that are read again to find what is ripe with what is new
AGAIN_MS = 15 * MINUTE_MS
MOST_AGAIN = 30 * LARGEST_PAGE  # posts; what lies before them is not read again
PATIENCE_PAGES = 5  # pages that lead on without leading further back


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One search with all its pages; complete, it has seen (since_ms, until_ms].

    X is asked for what is newer than `since_id`, or else for that time: it refuses the two
    together. since_ms 0: for all that it has. until_ms None: up to the moment of asking.
    is_again: all of it was read before.
    """

    since_ms: int
    until_ms: int | None = None
    since_id: int | None = None
    is_again: bool = False


class Search:
    """A request under way: query after query, each by its pages, newest first.

    read_ms: when X gave the first page, by its own time; 0 before. newest_id: that of the newest
    post which it has shown of then; 0: of none. shown: the keys of all posts that it has shown.
    token: of the next page.
    """

    def __init__(self, request: SearchRequest, queries: Sequence[str]) -> None:
        self.request = request
        self.read_ms = 0
        self.newest_id = 0
        self.shown: set[str] = set()
        self._queries = list(queries)
        self._begin_query()

    def _begin_query(self) -> None:
        self.token: str | None = None
        self._oldest_id: int | None = None
        self._idle_pages = 0
        self._trouble = ""

    @property
    def query(self) -> str:
        """The query under way."""
        return self._queries[0]

    @property
    def is_done(self) -> bool:
        """Whether all pages of all queries were read."""
        return not self._queries

    def go_back(self) -> bool:
        """To the first page of the query under way; whether there are others left behind it.

        What the last one's pages have made complete needs no reading again: that is another search.
        """
        self._begin_query()
        return len(self._queries) > 1

    def add_page(self, page: PostPage) -> Span | None:
        """The stretch that all queries have seen once `page` is read, if there is one."""
        self.read_ms = self.read_ms or page.served_ms
        self.shown.update(post.key for post in page.posts)
        since_ms, until_ms = self.request.since_ms, self.request.until_ms or self.read_ms
        # A single odd id must neither seem to complete the past nor hide the future.
        last_ms = page.served_ms + FUTURE_MS
        ids = [i for i in page.ids if since_ms <= snowflake_ms(i) <= last_ms]
        # What one query shows and another was asked too early for is new the next time, too.
        known = [i for i in ids if snowflake_ms(i) <= self.read_ms]
        self.newest_id = max([self.newest_id, *known])
        if self._oldest_id is not None and max(ids, default=0) > self._oldest_id:
            self._trouble = "X's next page has posts that are newer than the page before it"
            return None
        self._note_oldest(min(ids, default=LARGEST_ID))
        is_last, self.token = len(self._queries) == 1, page.next_token
        if self.token is None:
            del self._queries[0]
            self._begin_query()
            return Span(since_ms, until_ms) if is_last else None
        # A post of the same millisecond may be on the next page: it stays outside of (since, ...
        oldest = self._oldest_id
        return Span(snowflake_ms(oldest), until_ms) if is_last and oldest is not None else None

    def check(self) -> None:
        """Raise SourceError if the pages lead nowhere."""
        if self._trouble:
            raise SourceError(self._trouble, kind=Kind.SERVER)

    def _note_oldest(self, oldest_id: int) -> None:
        if oldest_id < (self._oldest_id or LARGEST_ID):
            self._oldest_id, self._idle_pages = oldest_id, 0
            return
        self._idle_pages += 1
        if self._idle_pages >= PATIENCE_PAGES:
            self._trouble = "X keeps announcing further pages that bring nothing new"


class _Shown(NamedTuple):
    """A post that X has shown: its latest version, its moment, and if it was missed since."""

    version_id: int
    created_ms: int
    is_missed: bool = False


class Brought:
    """The newest posts that were brought, to read them once more: what X has to show by then.

    Since `since_ms` all of them are known.
    """

    def __init__(self) -> None:
        self.since_ms: int | None = None
        self._posts: dict[str, _Shown] = {}

    def begin(self, request: SearchRequest) -> None:
        """A search begins."""
        if self.since_ms is None:
            self.since_ms = request.since_ms

    def add_page(self, page: PostPage) -> None:
        """These are shown."""
        for post, version_id in zip(page.posts, page.ids, strict=True):
            self._posts[post.key] = _Shown(version_id, post.created_ms)
        if len(self._posts) > MOST_AGAIN:
            newest = sorted(one.version_id for one in self._posts.values())
            self.forget_before(snowflake_ms(newest[-MOST_AGAIN // 2]))

    def forget_before(self, ms: int) -> None:
        """Forget all that is of that moment (Unix ms) or earlier."""
        if self.since_ms is not None:
            self.since_ms = max(ms, self.since_ms)
        self._posts = {
            k: one for k, one in self._posts.items() if snowflake_ms(one.version_id) > ms
        }

    def number_since(self, ms: int) -> int:
        """How many there are that are newer."""
        return sum(snowflake_ms(one.version_id) > ms for one in self._posts.values())

    def end(self, search: Search) -> tuple[Removal, ...]:
        """All was read again: what X does not show for the second time is gone."""
        gone, (since_ms, until_ms) = [], (search.request.since_ms, search.request.until_ms or 0)
        for key, one in list(self._posts.items()):
            if key in search.shown or not since_ms < snowflake_ms(one.version_id) <= until_ms:
                continue
            if one.is_missed:
                gone.append(Removal(key, search.read_ms, one.created_ms))
                del self._posts[key]
            else:
                self._posts[key] = one._replace(is_missed=True)
        return tuple(gone)


class SearchPlan:
    """Which search X is asked next, given what is known for certain.

    In turns for what is newer than the newest id, and for what was left out, by an interrupted
    search or a restart: the newest first, by time. About once a minute what is new is asked for
    from further back, so that what has become so old that all of it shows is read once more, and
    it is seen how late posts show; of too many posts the former alone. Every quarter of an hour
    the past of X's day is read again. That costs nothing: a day's posts are billed once.

    reads_again: whether there is money for what that may bring. cursor: where an earlier plan left
    off, to go on from there.
    """

    def __init__(
        self,
        *,
        window_ms: int,
        cursor: str = "",
        reads_again: Callable[[], bool] = lambda: True,
    ) -> None:
        self._window_ms = window_ms
        self._reads_again = reads_again
        self._brought = Brought()
        self._again_ms = 0  # when all was read once more, or first asked for; 0: not yet
        self._ripe_since_ms = 0
        self._by_time = False  # after a refusal of the last id
        self.is_live = False  # whether the last search was for what is new
        self.newest_id = 0  # 0: unknown
        # One that cannot be read costs the window's posts once more, and no truth.
        with suppress(ValueError, TypeError, KeyError, OverflowError, RecursionError):
            self.newest_id = int(json.loads(cursor)["newest_id"])

    def next(self, seen: Known, now_ms: int) -> SearchRequest:
        """The search to make now."""
        self._brought.forget_before(now_ms - self._window_ms)
        self._again_ms = min(self._again_ms or now_ms, now_ms)
        ripe = self._ripe(seen, now_ms)
        self.is_live = ripe is None or not self.is_live
        request = self._live(seen, now_ms) if ripe is None or self.is_live else ripe
        if not self.is_live:
            self._ripe_since_ms = request.since_ms
        self._brought.begin(request)
        return request

    def is_behind(self, seen: Known, now_ms: int) -> bool:
        """Whether something is to be asked for at once, which the last search was not for."""
        ripe = self._ripe(seen, now_ms)
        return ripe is not None and ripe.since_ms != self._ripe_since_ms

    def record(self, search: Search, page: PostPage, now_ms: int) -> tuple[Removal, ...]:
        """A page of `search` was read; what it shows to be gone."""
        self._brought.add_page(page)
        is_live = search.request.until_ms is None
        if is_live:
            # What an interrupted search has left out is not to be skipped.
            least_id = self.newest_id or since_id_for(search.request.since_ms + 1)
            self.newest_id = (search.newest_id or least_id) if search.is_done else 0
            self._by_time &= not search.is_done
        elif search.is_done and self.newest_id:
            self.newest_id = max(self.newest_id, search.newest_id)
        if not search.is_done or not search.request.is_again:
            return ()
        self._again_ms = now_ms
        return self._brought.end(search)

    def refused(self, request: SearchRequest) -> bool:
        """X does not take the request; whether asking by time instead is worth a try."""
        if request.since_id is None:
            return False
        self.newest_id, self._by_time = 0, True
        return True

    def _live(self, seen: Known, now_ms: int) -> SearchRequest:
        floor_ms = now_ms - self._window_ms
        starts = snowflake_ms(self.newest_id), self._back_ms(seen, now_ms)
        known = [ms for ms in starts if floor_ms <= ms <= now_ms + FUTURE_MS]
        since_ms = min(known or [seen.until_ms or 0])
        if not floor_ms <= since_ms <= now_ms + FUTURE_MS:
            return SearchRequest(floor_ms)
        is_newest = since_ms == snowflake_ms(self.newest_id)
        since_id = self.newest_id if is_newest else since_id_for(since_ms + 1)
        return SearchRequest(since_ms, since_id=None if self._by_time else since_id)

    def _back_ms(self, seen: Known, now_ms: int) -> int:
        """From when on what is new is asked for to find what is ripe with it; 0 if not so."""
        certain_ms = seen.until_ms or 0
        if not self.newest_id or now_ms - seen.late_ms - certain_ms < RIPE_MS:
            return 0
        back_ms = min(certain_ms, max(certain_ms - seen.late_ms, self._free_ms(now_ms)))
        return back_ms if self._brought.number_since(back_ms) <= MOST_BACK else 0

    def _free_ms(self, now_ms: int) -> int:
        """Since when in the window all was read that X bills to this day."""
        day_ms, floor_ms = now_ms - now_ms % DAY_MS + NEAR_MS, now_ms - self._window_ms
        return max(floor_ms, day_ms, self._brought.since_ms or now_ms)

    def _ripe(self, seen: Known, now_ms: int) -> SearchRequest | None:
        floor_ms, ripe_ms = now_ms - self._window_ms, now_ms - seen.late_ms
        for gap in reversed(seen.gaps(Span(floor_ms, ripe_ms))):
            is_long = gap.until_ms - gap.since_ms >= RIPE_MS
            if gap.until_ms < ripe_ms or (is_long and not self._back_ms(seen, now_ms)):
                return SearchRequest(*gap)
        since_ms = self._free_ms(now_ms)
        is_due = now_ms - self._again_ms >= AGAIN_MS and since_ms < ripe_ms
        # What has become ripe goes first: with it posts are found before they seem to be late.
        if not is_due or self._back_ms(seen, now_ms) or not self._reads_again():
            return None
        return SearchRequest(since_ms, ripe_ms, is_again=True)
