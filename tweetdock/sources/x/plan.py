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


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One search with all its pages; complete, it has seen (since_ms, until_ms].

    X is asked for what is newer than `since_id`, or else for that time: it refuses the two
    together. since_ms 0: for all that it has. until_ms None: up to the moment of asking, less the
    usual lag of X's index.
    """

    since_ms: int
    until_ms: int | None = None
    since_id: int | None = None
    looks_back: bool = False


class Search:
    """A request under way: what its pages, newest first, have made complete so far."""

    def __init__(self, request: SearchRequest) -> None:
        self.request = request
        self.newest_id = 0
        self.until_ms = request.until_ms
        self._oldest_id: int | None = None
        self._idle_pages = 0

    def add_page(self, page: PostPage) -> Span:
        """The stretch seen once `page` is read."""
        if self.until_ms is None:
            self.until_ms = page.served_ms - INDEX_LAG_MS
        # A single odd id must neither seem to complete the past nor hide the future.
        first_ms, last_ms = self.request.since_ms, page.served_ms + FUTURE_MS
        ids = [i for i in page.ids if first_ms <= snowflake_ms(i) <= last_ms]
        self.newest_id = max([self.newest_id, *ids])
        if page.next_token is None:
            return Span(self.request.since_ms, self.until_ms)
        self._note_oldest(min(ids, default=None))
        if self._oldest_id is None:
            return Span(self.until_ms, self.until_ms)
        # A post of the same millisecond may be on the next page: it stays outside of (since, ...
        return Span(snowflake_ms(self._oldest_id), self.until_ms)

    def check_progress(self) -> None:
        """Raise SourceError if the pages lead nowhere."""
        if self._idle_pages >= PATIENCE_PAGES:
            what = "X keeps announcing further pages that bring nothing new"
            raise SourceError(what, kind=Kind.SERVER)

    def _note_oldest(self, oldest_id: int | None) -> None:
        known = self._oldest_id
        if oldest_id is not None and (known is None or oldest_id < known):
            self._oldest_id, self._idle_pages = oldest_id, 0
        else:
            self._idle_pages += 1


class SearchPlan:
    """Which search X is asked next, given what has been seen.

    First the whole window by time; then what is new since the newest id. That leaves a hole:
    a post that is indexed after a newer one was read. So once a minute the question is what is
    new since `look_back_ms` ago, which closes the holes. What is older than that and was left
    out all the same, by an interrupted search or a restart, is asked for by time.

    cursor: where an earlier plan left off, to go on from there.
    """

    def __init__(self, *, window_ms: int, look_back_ms: int, cursor: str = "") -> None:
        self._window_ms = window_ms
        self._look_back_ms = look_back_ms
        self._newest_id = 0
        self._caught_up_ms: int | None = None  # up to when X was asked for what is new
        self._looked_back_ms = 0
        self._asked_new = False
        self._by_time = False  # after a refusal of the last id
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
            self._asked_new = True
            return SearchRequest(floor)
        gaps = seen.gaps(Span(floor, reach))
        # In turns, so that neither starves the other, however long an answer takes.
        self._asked_new = not gaps or not self._asked_new
        if self._asked_new:
            return self._request_new(max(reach, floor), now_ms)
        return SearchRequest(*gaps[-1])

    def is_behind(self, seen: Spans, now_ms: int) -> bool:
        """Whether a stretch of the window was left out and can be asked for at once."""
        reach = self._reach(now_ms)
        return reach is None or bool(seen.gaps(Span(now_ms - self._window_ms, reach)))

    def record(self, search: Search, page: PostPage, now_ms: int) -> None:
        """A page of `search` was read."""
        if search.request.until_ms is not None or search.until_ms is None:
            return
        # X's clock may be ahead of the one that all have agreed on.
        self._caught_up_ms = min(search.until_ms, now_ms)
        self._newest_id = max(self._newest_id, search.newest_id)
        if page.next_token is None:
            self._by_time = False
            if search.request.looks_back or search.request.since_id is None:
                self._looked_back_ms = min(page.served_ms, now_ms)

    def refused(self, request: SearchRequest) -> bool:
        """X does not take the request; whether asking by time instead is worth a try."""
        if request.since_id is None:
            return False
        self._by_time = True
        return True

    def _go_on(self, cursor: dict[str, Any]) -> None:
        newest_id, caught_up_ms = int(cursor["newest_id"]), int(cursor["caught_up_ms"])
        self._looked_back_ms = int(cursor["looked_back_ms"])
        self._newest_id, self._caught_up_ms = newest_id, caught_up_ms

    def _reach(self, now_ms: int) -> int | None:
        """From when on the next look back would ask; None if nothing of the window was read."""
        caught_up_ms = self._caught_up_ms
        if caught_up_ms is None or not now_ms - self._window_ms < caught_up_ms <= now_ms:
            return None
        return caught_up_ms + INDEX_LAG_MS - self._look_back_ms

    def _request_new(self, reach: int, now_ms: int) -> SearchRequest:
        if self._by_time:
            return SearchRequest(reach)
        looks_back = now_ms - self._looked_back_ms >= LOOK_BACK_EVERY_MS
        # A newest id from before the reach would do as well, until X calls it too old.
        if looks_back or snowflake_ms(self._newest_id) < reach:
            since_id = since_id_for(reach + 1)
            return SearchRequest(reach, since_id=since_id, looks_back=looks_back)
        return SearchRequest(snowflake_ms(self._newest_id), since_id=self._newest_id)
