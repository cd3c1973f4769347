"""Which page of a tag timeline is asked next, so that the window is read whole."""

from collections.abc import Iterable

from tweetdock.core.coverage import Spans
from tweetdock.core.errors import SourceError
from tweetdock.core.post import Span
from tweetdock.sources.mastodon.posts import SLACK_MS, Page, min_id_for, moment_of

# A post has its id a moment before it shows: a transaction ends, a replica follows.
SETTLE_MS = 5_000
# Reading is free. What another server brings late has an id in the past: most of it comes within
# a minute, nearly all of it in ten (a server in trouble is tried again), the rest now and then.
LOOK_BACK_MS = 60_000
LOOK_BACKS_MS = ((60_000, 600_000), (900_000, None))  # how often, and how far; None: the window
SEAM_MS = 2_000
MOST_PAGES = 1_000  # 40,000 posts; a server that sends more has no end
MOST_ASKS = 50
MOST_CHECKS = 10  # a page; each costs a request


class Reading:
    """A stretch under way, (since, until], by its pages; until None: to the present.

    Forward from an id that is made up for its start, or where ids tell no time backward from the
    newest post of all.
    """

    def __init__(self, since_ms: int, until_ms: int | None, *, forward: bool) -> None:
        self.since_ms = since_ms
        self.is_forward = forward
        self.is_live = until_ms is None
        self.is_done = False
        self.is_odd = False
        self._end_ms = until_ms
        self._until_ms: int | None = None
        self.min_id = min_id_for(since_ms)
        self._max_id = ""
        self._ids: set[str] = set()
        self.pages = 0

    @property
    def bounds(self) -> dict[str, str]:
        """The parameters that ask for the next page."""
        if self.is_forward:
            return {"min_id": str(self.min_id)}
        return {"max_id": self._max_id} if self._max_id else {}

    def take(self, page: Page, served_ms: int) -> Span:
        """The stretch that is complete once `page` is read; SourceError if it leads nowhere.

        served_ms: the server's time when it was asked for the page.
        """
        self.pages += 1
        if self._until_ms is None:
            # All pages count as read when the first one was: what shows up between two of them
            # may lie below both.
            settled_ms = served_ms - SETTLE_MS
            self._until_ms = settled_ms if self._end_ms is None else min(self._end_ms, settled_ms)
        if not page.size:
            return self._finish()
        if self.pages >= MOST_PAGES:
            raise _endless()
        take = self._take_forward if self.is_forward else self._take_backward
        return take(page, self._until_ms)

    def _take_forward(self, page: Page, until_ms: int) -> Span:
        if not page.is_by_time:
            self.is_odd = self.is_done = True
            return Span(self.since_ms, self.since_ms)
        newest = max(page.snowflakes)
        if newest <= self.min_id:
            raise _endless()
        self.min_id = newest
        reached_ms = moment_of(newest) // 1000 * 1000 - SLACK_MS
        if self._end_ms is not None and reached_ms > self._end_ms:
            return self._finish()
        return Span(self.since_ms, min(until_ms, reached_ms))

    def _take_backward(self, page: Page, until_ms: int) -> Span:
        if not page.ids or self._ids.issuperset(page.ids):
            raise _endless()
        self._ids.update(page.ids)
        self._max_id = page.ids[-1]
        if page.is_by_time:
            reached_ms = moment_of(min(page.snowflakes)) + 1000 + SLACK_MS
            if reached_ms <= self.since_ms:
                return self._finish()
            return Span(max(self.since_ms, reached_ms), until_ms)
        if page.newest_ms is not None and page.newest_ms <= self.since_ms:
            return self._finish()
        return Span(until_ms, until_ms)

    def _finish(self) -> Span:
        self.is_done = True
        return Span(self.since_ms, self._until_ms or self.since_ms)


class TimelinePlan:
    """What a tag timeline has been asked, and so what it is to be asked next.

    Each turn reads what is new, with a look back; then what is missing of the window; then, from
    time to time, what was read before, for what has come late and, after a restart, for the ids.

    seen: what an earlier plan had read.
    """

    def __init__(self, window_ms: int, seen: Iterable[Span] = ()) -> None:
        self._window_ms = window_ms
        self._known = Spans(seen)
        self._due: list[Span] = []
        self._looked_ms: dict[int, int] = {}
        self._is_by_time = False  # until a page has shown it
        self._may_be_by_time = True
        self._shown: set[int] = set()
        self._live_ms: int | None = None
        self._now_ms = 0
        self._asks = 0

    def begin(self, now_ms: int) -> None:
        """A new turn."""
        floor = now_ms - self._window_ms
        self._now_ms, self._live_ms, self._asks = now_ms, None, 0
        # Of a time to come, which a wrong clock may have seen, nothing is known.
        self._known = Spans(within(Span(floor, now_ms), self._known))
        self._shown = {one for one in self._shown if moment_of(one) > floor}
        due = Spans(self._due)
        for every, reach in LOOK_BACKS_MS:
            looked_ms = self._looked_ms.get(every)
            if looked_ms is None or not now_ms - every < looked_ms <= now_ms:
                self._looked_ms[every] = now_ms
                due.add(Span(floor if reach is None else max(floor, now_ms - reach), now_ms))
        self._due = list(due)

    def next(self) -> Reading | None:
        """What to read now; None when the turn is over."""
        floor = self._now_ms - self._window_ms
        if self._asks >= MOST_ASKS:
            return None
        self._asks += 1
        if self._live_ms is None:
            since_ms = max(floor, min(self._live_since(), self._now_ms - LOOK_BACK_MS))
            return Reading(since_ms, None, forward=self._is_by_time)
        rest = self._rest()
        return Reading(*rest[-1], forward=self._is_by_time) if rest else None

    @property
    def is_done(self) -> bool:
        """Whether this turn has read all that there is to read."""
        return self._live_ms is not None and not self._rest()

    def record(self, reading: Reading, span: Span) -> None:
        """A page was read and has made `span` complete."""
        self._known.add(span)
        self._due = [left for due in self._due for left in Spans([span]).gaps(due)]
        if reading.is_odd:
            self._is_by_time = self._may_be_by_time = False
        elif reading.is_live and reading.is_done:
            self._live_ms = span.until_ms

    def learn(self, reading: Reading, page: Page) -> None:
        """Go forward from now on if the ids of `page` tell the time."""
        if not self._is_by_time and self._may_be_by_time and page.size and page.is_by_time:
            self._is_by_time = True
            if not reading.is_done:
                # What it has read stays; the rest is read from its start.
                reading.is_done = True

    def clock_moved(self, now_ms: int) -> None:
        """The clock was corrected and says `now_ms`: what it has left behind must be read again.

        Of the same stretch the gauge forgets its posts, a moment later by its own clock; what both
        can tell is asked for once more.
        """
        self._known.forget_before(now_ms - self._window_ms + SEAM_MS)
        self._looked_ms.clear()

    def absent(self, reading: Reading, page: Page, above: int) -> list[int]:
        """Ids that were shown before and are not among those of a page that should have them.

        above: where the page begins. A young one may only not have reached the server's replica.
        """
        if not reading.is_forward or reading.is_odd:
            self._shown.update(page.snowflakes)
            return []
        upto = reading.min_id if page.size else None
        self._shown.difference_update(page.snowflakes)
        found = [
            one
            for one in self._shown
            if above < one
            and (upto is None or one <= upto)
            and moment_of(one) < self._now_ms - LOOK_BACK_MS
        ]
        self._shown.update(page.snowflakes)
        return sorted(found)[:MOST_CHECKS]

    def forget(self, snowflake: int) -> None:
        """That post is gone, or at least no more in this timeline."""
        self._shown.discard(snowflake)

    def known(self, span: Span) -> list[Span]:
        """What of a stretch has been read."""
        return within(span, self._known)

    def _live_since(self) -> int:
        window = Span(self._now_ms - self._window_ms, self._now_ms)
        gaps = self._known.gaps(window)
        if not self._is_by_time:
            # Backward there is but one way, so all is read on it.
            gaps = gaps[:1] + self._due[:1]
            return min(gap.since_ms for gap in gaps) if gaps else self._now_ms
        return gaps[-1].since_ms if gaps and gaps[-1].until_ms == self._now_ms else self._now_ms

    def _rest(self) -> list[Span]:
        until_ms = self._live_ms or 0
        window = Span(self._now_ms - self._window_ms, until_ms)
        if gaps := self._known.gaps(window):
            return gaps
        return [part for due in self._due for part in within(due, Spans([window]))]


def within(span: Span, spans: Spans) -> list[Span]:
    """What of `span` is in `spans`."""
    return Spans(spans.gaps(span)).gaps(span)


def common(span: Span, plans: Iterable[TimelinePlan]) -> list[Span]:
    """What of a stretch all the plans have read."""
    spans = [span] if span.until_ms > span.since_ms else []
    for plan in plans:
        spans = [part for one in spans for part in plan.known(one)]
    return spans


def _endless() -> SourceError:
    return SourceError(
        "the server keeps sending pages that bring nothing new", first=5.0, cap=320.0
    )
