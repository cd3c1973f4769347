"""Which Jetstream host is asked to replay what, until all of the window was had from one."""

import json
from collections.abc import Sequence
from contextlib import suppress

from tweetdock.core.coverage import Spans
from tweetdock.core.memory import Bookmark
from tweetdock.core.post import Span
from tweetdock.core.times import clock_time, duration
from tweetdock.sources.bluesky.progress import LATE_MS, Ask, Course

SEAM_MS = 2_000
REWIND_MS = LATE_MS  # events are not quite in order, and hosts' times differ a little
SKIP_MS = 600_000  # what was seen already and is longer than that is not worth its replay
CAUGHT_UP_MS = 10_000
AGAIN_MS = 300_000  # a host that broke down is not left another for any sooner
WORTH_MS = 10_000  # what leaves the window that soon is not asked for elsewhere
STEP_MS = 1_000


class Plan:
    """What was had from which host, and so what is to be asked for next.

    A host replays from a cursor on, up to now. The cursor is where the oldest gap begins that
    the host has not shown to lack itself; each host is asked for a gap until one has it or all
    lack it.

    bookmark: where an earlier plan left off, to go on from there.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        window_ms: int,
        bookmark: Bookmark = Bookmark(),  # noqa: B008 - it cannot change
    ) -> None:
        self._hosts = list(hosts)
        self._window_ms = window_ms
        self._seen = Spans(bookmark.seen)
        self._lacking = {host: Spans() for host in hosts}
        self._left_for_ms: dict[str, int] = {}
        self._at = 0
        self._too_large = 0
        self._asks_the_time = False
        with suppress(ValueError, TypeError, KeyError, RecursionError):
            self._at = self._hosts.index(json.loads(bookmark.cursor)["host"])

    @property
    def cursor(self) -> str:
        """What a plan after a restart goes on from, as JSON."""
        return json.dumps({"host": self._hosts[self._at]})

    @property
    def asks_the_time(self) -> bool:
        """Whether the next events are only to show what time it is."""
        return self._asks_the_time

    def next(self, now_ms: int) -> Ask:
        """Where to connect now, and from when on."""
        host = self._hosts[self._at]
        if self._asks_the_time:
            return Ask(host, now_ms, None)
        gaps = self._gaps(host, Span(now_ms - self._window_ms, now_ms))
        since = gaps[0].since_ms if gaps else now_ms
        # Not into what this host cannot deliver: it would break there again.
        ends = (lack.until_ms for lack in self._lacking[host] if lack.since_ms < since)
        cursor_ms = max([since - REWIND_MS, *(end for end in ends if end <= since)])
        return Ask(host, since, cursor_ms)

    def record(self, course: Course, now_ms: int) -> list[Span]:
        """Take what a connection has made complete since the last time, and return it."""
        floor = now_ms - self._window_ms
        complete, lacking = course.news(now_ms)
        self._seen.forget_before(floor)
        for span in complete:
            self._seen.add(span)
            self._too_large = 0
        for lack in self._lacking.values():
            lack.forget_before(floor)
        for span in lacking:
            self._lacking[course.ask.host].add(span)
        return complete

    def failed(self) -> None:
        """The connection failed: it is another host's turn."""
        self._at = (self._at + 1) % len(self._hosts)

    def met_too_large(self, course: Course) -> None:
        """A host's next event is too large to be read: from there on it is not asked, for a bit."""
        step = STEP_MS << min(self._too_large, 12)
        self._too_large += 1
        since = course.told_ms if course.told_ms is not None else course.ask.since_ms
        position = course.position_ms if course.position_ms is not None else since
        self._lacking[course.ask.host].add(Span(since, max(position, since) + step))

    def clock_moved(self, now_ms: int, *, by_old_events: bool = False) -> None:
        """The clock was corrected and says `now_ms`: what it has left behind must be read again.

        by_old_events: it may be later still; what time it is only the newest events can tell.
        """
        self._seen.forget_before(now_ms - self._window_ms + SEAM_MS)
        self._asks_the_time = by_old_events

    def older_by_ms(self, course: Course) -> int:
        """By how much a host's events are older than asked for, if it is no use to ask again."""
        position = course.position_ms
        older = course.ask.since_ms - position if position is not None else 0
        return older if course.ask.cursor_ms is not None and older > SKIP_MS else 0

    def should_leave(self, course: Course, now_ms: int) -> bool:
        """Whether another connection does better now: elsewhere, or from a later moment on."""
        if course.position_ms is None or course.told_ms is None:
            return False
        if self._asks_the_time:
            self._asks_the_time = False
            return True
        told, host = course.told_ms, self._hosts[self._at]
        ahead = self._gaps(host, Span(told, max(told, now_ms)))
        if (ahead[0].since_ms if ahead else now_ms) - course.position_ms > SKIP_MS:
            return True
        return course.position_ms >= now_ms - CAUGHT_UP_MS and self._goes_elsewhere(told, now_ms)

    def _goes_elsewhere(self, told: int, now_ms: int) -> bool:
        if all(not list(lack) for lack in self._lacking.values()):
            return False
        worth = Span(now_ms - self._window_ms + WORTH_MS, told)
        for step in range(1, len(self._hosts)):
            place = (self._at + step) % len(self._hosts)
            host = self._hosts[place]
            is_due = now_ms - self._left_for_ms.get(host, -AGAIN_MS) >= AGAIN_MS
            if is_due and self._gaps(host, worth):
                self._left_for_ms[host] = now_ms
                self._at = place
                return True
        return False

    def is_behind(self, course: Course, now_ms: int) -> bool:
        """Whether more of the window's past is on its way."""
        return course.position_ms is None or course.position_ms < now_ms - CAUGHT_UP_MS

    def lost(self, now_ms: int, course: Course | None = None) -> str:
        """Why a stretch of the window never will come; empty if all may."""
        if course and (behind_ms := course.steadily_behind_ms(now_ms)):
            behind = duration(behind_ms / 1000)
            return f"its events are {behind} behind our clock: is this machine's clock right?"
        pieces = [Span(now_ms - self._window_ms, now_ms)]
        for known in self._lacking.values():
            pieces = [part for piece in pieces for part in _within(known, piece)]
        pieces = [part for piece in pieces for part in self._seen.gaps(piece)]
        if not pieces:
            return ""
        since, until = clock_time(pieces[0].since_ms), clock_time(pieces[-1].until_ms)
        return f"no Jetstream host has all posts from {since} to {until}"

    def _gaps(self, host: str, within: Span) -> list[Span]:
        known = Spans(self._seen)
        for lack in self._lacking[host]:
            known.add(lack)
        return known.gaps(within)


def _within(known: Spans, piece: Span) -> list[Span]:
    return Spans(known.gaps(piece)).gaps(piece)
