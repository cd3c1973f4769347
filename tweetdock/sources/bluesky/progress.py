"""What the events of one Jetstream connection, nearly in order of time, have made complete."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlencode

from tweetdock.core.coverage import SEAM_MS, Spans
from tweetdock.core.gauge import Bookmark
from tweetdock.core.post import Span
from tweetdock.core.times import clock_time, duration
from tweetdock.sources.bluesky.events import COLLECTION

MARGIN_MS = 2_000  # more than events are ever out of order
LATE_MS = 5_000  # a host whose first event is later than asked for by more lacks what was before
HOLE_MS = 30_000  # the whole network is never silent for so long: the host has lost what was there
LEAST_HOLE_MS = 2_000  # nor are hosts ever so even that a shorter silence proves anything
SILENCE = 30  # nor, by chance, for so many times the mean between events
ENOUGH = 50  # so many steps show that mean
REMEMBERED_STEPS = 2_000
LATE_TIP_MS = 8_000  # what stays further behind our clock is not what is usual
STEADY_MS = 5_000  # a replay comes nearer by more than that
STEADY_FOR_MS = 60_000  # in that time
EVENT_AHEAD_MS = 2_500  # what is later than now by more is wrong, or our clock is
AGREEING = 8  # so many events in a row are believed rather than our own clock
REWIND_MS = LATE_MS  # events are not quite in order, and hosts' times differ a little
SKIP_MS = 600_000  # what was seen already and is longer than that is not worth its replay
CAUGHT_UP_MS = 10_000
AGAIN_MS = 300_000  # a host that broke down is not left another for any sooner
WORTH_MS = 10_000  # what leaves the window that soon is not asked for elsewhere
STEP_MS = 1_000


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """One connection: all after since_ms is wanted, from the cursor on; None: what is new only."""

    host: str
    since_ms: int
    cursor_ms: int | None

    @property
    def url(self) -> str:
        """The address that asks for it."""
        wanted = {"wantedCollections": COLLECTION}
        if self.cursor_ms is not None:
            wanted["cursor"] = str(self.cursor_ms * 1000)
        return f"{self.host}{'&' if '?' in self.host else '?'}{urlencode(wanted)}"


class EventRate:
    """How closely events follow each other: the same at every host, in a replay as live.

    So one is kept for all connections: the next is judged by what was learnt from the last.
    """

    def __init__(self) -> None:
        self._steps = 0
        self._passed_us = 0
        self._holes = 0

    @property
    def hole_us(self) -> int:
        """The shortest silence by which a host shows that it has lost what was there."""
        if self._steps < ENOUGH:
            return HOLE_MS * 1000
        silence = SILENCE * self._passed_us // self._steps
        return min(max(silence, LEAST_HOLE_MS * 1000), HOLE_MS * 1000)

    def learn(self, steps: int, passed_us: int) -> None:
        """Time has passed in so many steps, none of them a hole."""
        if not steps:
            return
        self._holes = 0
        self._steps += steps
        self._passed_us += passed_us
        while self._steps > REMEMBERED_STEPS:
            self._steps //= 2
            self._passed_us //= 2

    def miss(self) -> None:
        """A hole was met; of many in a row the network itself must have become quiet."""
        self._holes += 1
        if self._holes >= AGREEING:
            self._steps = self._passed_us = self._holes = 0


class EventProgress:
    """How far the events of a connection have come.

    No single event is believed: time has come as far as the earliest of three in a row says. So
    one that is off can neither complete the past nor hide the future.

    reported_ms: up to where all is complete, by the last `new_spans()`; None before three events
    came. ahead_ms: what time it is by events that our clock takes for future ones; None as long
    as it may be right. rate: what earlier connections have shown of it.
    """

    def __init__(self, ask: ReplayRequest, rate: EventRate | None = None) -> None:
        self.ask = ask
        self._rate = rate or EventRate()
        self._steady: tuple[int, int] | None = None
        self.reported_ms: int | None = None
        self.ahead_ms: int | None = None
        self._position_us = 0
        self._last: list[int] = []
        self._future: list[int] = []
        self._complete: list[Span] = []
        self._lacking: list[Span] = []

    @property
    def position_ms(self) -> int | None:
        """How far; None before three events came."""
        return None if self.reported_ms is None else self._position_us // 1000

    def advance(self, times_us: Iterable[int], now_ms: int) -> None:
        """Go on by the times of the next events (Unix microseconds); now_ms: by our clock."""
        limit = (now_ms + EVENT_AHEAD_MS) * 1000
        times = iter(times_us)
        if self.reported_ms is None and not self._begin(times, limit):
            return
        before, last = self._last[-2:]
        position, future = self._position_us, self._future
        hole, steps, passed = self._rate.hole_us, 0, 0
        for time_us in times:
            if time_us > limit:
                self._meet_future(time_us)
                continue
            if future:
                future.clear()
            low = before if before < last else last
            low = low if low < time_us else time_us
            before, last = last, time_us
            if low > position:
                if low - position > hole:
                    self._rate.learn(steps, passed)
                    self._miss(position, low)
                    hole, steps, passed = self._rate.hole_us, 0, 0
                else:
                    steps += 1
                    passed += low - position
                position = low
        self._rate.learn(steps, passed)
        self._last, self._position_us = [before, last], position
        self._watch(now_ms)

    def is_plausible(self, time_us: int, before_ms: int | None, now_ms: int) -> bool:
        """Whether an event may be so dated that came after `before_ms` and before our position."""
        here = self.ask.since_ms if self.reported_ms is None else self._position_us // 1000
        low = min(here, self.ask.since_ms) if before_ms is None else before_ms
        return low - HOLE_MS <= time_us // 1000 <= min(here + HOLE_MS, now_ms + EVENT_AHEAD_MS)

    def steadily_behind_ms(self, now_ms: int) -> int:
        """How far the newest events are behind our clock if they come no nearer; else 0."""
        if self._steady is None:
            return 0
        since_ms, behind_ms = self._steady
        behind_ms = min(behind_ms, now_ms - self._position_us // 1000)
        is_late = behind_ms > LATE_TIP_MS and now_ms - since_ms >= STEADY_FOR_MS
        return behind_ms if is_late else 0

    def new_spans(self, now_ms: int) -> tuple[list[Span], list[Span]]:
        """What is complete by now, and what this host lacks, since the last time."""
        if self.reported_ms is not None:
            until = min(self._position_us // 1000 - MARGIN_MS, now_ms)
            if until > self.reported_ms:
                self._complete.append(Span(self.reported_ms, until))
                self.reported_ms = until
        complete, self._complete = self._complete, []
        lacking, self._lacking = self._lacking, []
        return complete, lacking

    def _begin(self, times: Iterator[int], limit: int) -> bool:
        for time_us in times:
            if time_us > limit:
                self._meet_future(time_us)
                continue
            self._future.clear()
            self._last.append(time_us)
            if len(self._last) == 3:
                self._start(sorted(self._last)[1])
                return True
        return False

    def _start(self, first_us: int) -> None:
        self._position_us, first = first_us, first_us // 1000
        since, cursor = self.ask.since_ms, self.ask.cursor_ms
        self.reported_ms = first
        if cursor is None:
            return
        # After a stretch that the host lacks there was no rewind: what is not seen counts as
        # complete no further than the network may have been silent.
        if first <= max(since, cursor + min(LATE_MS, self._rate.hole_us // 1000)):
            self.reported_ms = since
        else:
            self._lacking.append(Span(since, first))

    def _watch(self, now_ms: int) -> None:
        behind_ms = now_ms - self._position_us // 1000
        if self._steady is None or abs(behind_ms - self._steady[1]) > STEADY_MS:
            self._steady = now_ms, behind_ms

    def _miss(self, position_us: int, low_us: int) -> None:
        self._rate.miss()
        reported, low = self.reported_ms, low_us // 1000
        if reported is None or low <= reported:
            return
        until = max(reported, position_us // 1000 - MARGIN_MS)
        self._complete.append(Span(reported, until))
        self._lacking.append(Span(until, low))
        self.reported_ms = low

    def _meet_future(self, time_us: int) -> None:
        self._future.append(time_us)
        if len(self._future) >= AGREEING:
            self.ahead_ms = min(self._future[-AGREEING:]) // 1000


class HostPlan:
    """What has been received from which host, and so what to ask for next.

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

    def next(self, now_ms: int) -> ReplayRequest:
        """Where to connect now, and from when on."""
        host = self._hosts[self._at]
        if self._asks_the_time:
            return ReplayRequest(host, now_ms, None)
        gaps = self._gaps(host, Span(now_ms - self._window_ms, now_ms))
        since = gaps[0].since_ms if gaps else now_ms
        # Not into what this host cannot deliver: it would break there again.
        ends = (lack.until_ms for lack in self._lacking[host] if lack.since_ms < since)
        cursor_ms = max([since - REWIND_MS, *(end for end in ends if end <= since)])
        return ReplayRequest(host, since, cursor_ms)

    def record(self, progress: EventProgress, now_ms: int) -> list[Span]:
        """Note what a connection has made complete since the last time, and return it."""
        floor = now_ms - self._window_ms
        complete, lacking = progress.new_spans(now_ms)
        self._seen.forget_before(floor)
        for span in complete:
            self._seen.add(span)
            self._too_large = 0
        for lack in self._lacking.values():
            lack.forget_before(floor)
        for span in lacking:
            self._lacking[progress.ask.host].add(span)
        return complete

    def failed(self) -> None:
        """The connection failed: it is another host's turn."""
        self._at = (self._at + 1) % len(self._hosts)

    def met_too_large(self, progress: EventProgress) -> None:
        """A host's next event is too large to be read: from there on it is not asked, for a bit."""
        step = STEP_MS << min(self._too_large, 12)
        self._too_large += 1
        since = progress.reported_ms if progress.reported_ms is not None else progress.ask.since_ms
        position = progress.position_ms if progress.position_ms is not None else since
        self._lacking[progress.ask.host].add(Span(since, max(position, since) + step))

    def clock_moved(self, now_ms: int, *, by_old_events: bool = False) -> None:
        """The clock was corrected and says `now_ms`: what it has left behind must be read again.

        by_old_events: it may be later still; what time it is only the newest events can tell.
        """
        self._seen.forget_before(now_ms - self._window_ms + SEAM_MS)
        self._asks_the_time = by_old_events

    def older_by_ms(self, progress: EventProgress) -> int:
        """By how much a host's events are older than asked for, if it is no use to ask again."""
        position = progress.position_ms
        older = progress.ask.since_ms - position if position is not None else 0
        return older if progress.ask.cursor_ms is not None and older > SKIP_MS else 0

    def should_leave(self, progress: EventProgress, now_ms: int) -> bool:
        """Whether another connection does better now: elsewhere, or from a later moment on."""
        if progress.position_ms is None or progress.reported_ms is None:
            return False
        if self._asks_the_time:
            self._asks_the_time = False
            return True
        reported, host = progress.reported_ms, self._hosts[self._at]
        ahead = self._gaps(host, Span(reported, max(reported, now_ms)))
        if (ahead[0].since_ms if ahead else now_ms) - progress.position_ms > SKIP_MS:
            return True
        return progress.position_ms >= now_ms - CAUGHT_UP_MS and self._goes_elsewhere(
            reported, now_ms
        )

    def _goes_elsewhere(self, reported: int, now_ms: int) -> bool:
        if all(not list(lack) for lack in self._lacking.values()):
            return False
        worth = Span(now_ms - self._window_ms + WORTH_MS, reported)
        for step in range(1, len(self._hosts)):
            place = (self._at + step) % len(self._hosts)
            host = self._hosts[place]
            is_due = now_ms - self._left_for_ms.get(host, -AGAIN_MS) >= AGAIN_MS
            if is_due and self._gaps(host, worth):
                self._left_for_ms[host] = now_ms
                self._at = place
                return True
        return False

    def is_behind(self, progress: EventProgress, now_ms: int) -> bool:
        """Whether more of the window's past is on its way."""
        return progress.position_ms is None or progress.position_ms < now_ms - CAUGHT_UP_MS

    def lost(self, now_ms: int, progress: EventProgress | None = None) -> str:
        """Why a stretch of the window never will come; empty if all may."""
        if progress and (behind_ms := progress.steadily_behind_ms(now_ms)):
            behind = duration(behind_ms / 1000)
            return f"its events are {behind} behind our clock: is this machine's clock right?"
        pieces = [Span(now_ms - self._window_ms, now_ms)]
        for known in self._lacking.values():
            pieces = [part for piece in pieces for part in known.overlap(piece)]
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
