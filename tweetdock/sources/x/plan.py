"""Which search X is asked next, so that all is read once."""

import json
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


def request_by_time(since_ms: int, until_ms: int | None = None) -> SearchRequest:
    """The search for (since_ms, until_ms] by whole seconds: the start inclusive, the end not."""
    start_ms = since_ms // 1000 * 1000
    end_ms = None if until_ms is None else until_ms // 1000 * 1000 + 1000
    return SearchRequest(since_ms=start_ms - 1, until_ms=until_ms, start_ms=start_ms, end_ms=end_ms)
