"""What the events of one Jetstream connection, nearly in order of time, have made complete."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tweetdock.core.post import Span

MARGIN_MS = 2_000  # more than events are ever out of order
LATE_MS = 5_000  # a host whose first event is later than asked for by more lacks what was before
HOLE_MS = 30_000  # the whole network is never silent for so long: the host has lost what was there
LEAST_HOLE_MS = 2_000  # nor are hosts ever so even that a shorter silence proves anything
SILENCE = 30  # nor, by chance, for so many times the mean between events
ENOUGH = 50  # so many steps show that mean
REMEMBERED = 2_000
LATE_TIP_MS = 8_000  # what stays further behind our clock is not what is usual
STEADY_MS = 5_000  # a replay comes nearer by more than that
STEADY_FOR_MS = 60_000  # in that time
FUTURE_MS = 2_500  # what is later than now by more is wrong, or our clock is
AGREEING = 8  # so many events in a row are believed rather than our own clock


@dataclass(frozen=True, slots=True)
class Ask:
    """One connection: all after since_ms is wanted, from the cursor on; None: what is new only."""

    host: str
    since_ms: int
    cursor_ms: int | None


class Pace:
    """How closely events follow each other: as closely in a replay as in life, at every host.

    So one is kept for all connections: on what was learnt from one the next is judged.
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
        while self._steps > REMEMBERED:
            self._steps //= 2
            self._passed_us //= 2

    def miss(self) -> None:
        """A hole was met; of many in a row the network itself must have become quiet."""
        self._holes += 1
        if self._holes >= AGREEING:
            self._steps = self._passed_us = self._holes = 0


class Course:
    """How far the events of a connection have come.

    No single event is believed: time has come as far as the earliest of three in a row says. So
    one that is off can neither complete the past nor hide the future.

    told_ms: up to where everything is complete, by the last `news()`; None before three events
    came. ahead_ms: what time it is by events that our clock takes for future ones; None as long
    as it may be right. pace: what earlier connections have shown of it.
    """

    def __init__(self, ask: Ask, pace: Pace | None = None) -> None:
        self.ask = ask
        self._pace = pace or Pace()
        self._steady: tuple[int, int] | None = None
        self.told_ms: int | None = None
        self.ahead_ms: int | None = None
        self._position_us = 0
        self._last: list[int] = []
        self._future: list[int] = []
        self._complete: list[Span] = []
        self._lacking: list[Span] = []

    @property
    def position_ms(self) -> int | None:
        """How far; None before three events came."""
        return None if self.told_ms is None else self._position_us // 1000

    def take(self, times_us: Iterable[int], now_ms: int) -> None:
        """Take the times of the next events in Unix microseconds; now_ms: what our clock says."""
        limit = (now_ms + FUTURE_MS) * 1000
        times = iter(times_us)
        if self.told_ms is None and not self._begin(times, limit):
            return
        before, last = self._last[-2:]
        position, future = self._position_us, self._future
        hole, steps, passed = self._pace.hole_us, 0, 0
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
                    self._pace.learn(steps, passed)
                    self._miss(position, low)
                    hole, steps, passed = self._pace.hole_us, 0, 0
                else:
                    steps += 1
                    passed += low - position
                position = low
        self._pace.learn(steps, passed)
        self._last, self._position_us = [before, last], position
        self._watch(now_ms)

    def is_plausible(self, time_us: int, before_ms: int | None, now_ms: int) -> bool:
        """Whether an event may be so dated that came after `before_ms` and before our position."""
        here = self.ask.since_ms if self.told_ms is None else self._position_us // 1000
        low = min(here, self.ask.since_ms) if before_ms is None else before_ms
        return low - HOLE_MS <= time_us // 1000 <= min(here + HOLE_MS, now_ms + FUTURE_MS)

    def steadily_behind_ms(self, now_ms: int) -> int:
        """How far the newest events are behind our clock if they come no nearer; else 0."""
        if self._steady is None:
            return 0
        since_ms, behind_ms = self._steady
        behind_ms = min(behind_ms, now_ms - self._position_us // 1000)
        is_late = behind_ms > LATE_TIP_MS and now_ms - since_ms >= STEADY_FOR_MS
        return behind_ms if is_late else 0

    def news(self, now_ms: int) -> tuple[list[Span], list[Span]]:
        """What is complete by now, and what this host lacks, since the last time."""
        if self.told_ms is not None:
            until = min(self._position_us // 1000 - MARGIN_MS, now_ms)
            if until > self.told_ms:
                self._complete.append(Span(self.told_ms, until))
                self.told_ms = until
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
        self.told_ms = first
        if cursor is None:
            return
        # From the end of a lack on there was no rewind: what is not seen is told of no further
        # than the network may have been silent.
        if first <= max(since, cursor + min(LATE_MS, self._pace.hole_us // 1000)):
            self.told_ms = since
        else:
            self._lacking.append(Span(since, first))

    def _watch(self, now_ms: int) -> None:
        behind_ms = now_ms - self._position_us // 1000
        if self._steady is None or abs(behind_ms - self._steady[1]) > STEADY_MS:
            self._steady = now_ms, behind_ms

    def _miss(self, position_us: int, low_us: int) -> None:
        self._pace.miss()
        told, low = self.told_ms, low_us // 1000
        if told is None or low <= told:
            return
        until = max(told, position_us // 1000 - MARGIN_MS)
        self._complete.append(Span(told, until))
        self._lacking.append(Span(until, low))
        self.told_ms = low

    def _meet_future(self, time_us: int) -> None:
        self._future.append(time_us)
        if len(self._future) >= AGREEING:
            self.ahead_ms = min(self._future[-AGREEING:]) // 1000
