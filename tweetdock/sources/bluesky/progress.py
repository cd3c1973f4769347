"""What the events of one Jetstream connection, nearly in order of time, have made complete."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from tweetdock.core.coverage import AHEAD_MS, Spans
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

    def learn(self, step_us: int) -> None:
        """The next event came so much later, and nothing was lost before it."""
        self._holes = 0
        self._steps += 1
        self._passed_us += step_us
        if self._steps > REMEMBERED_STEPS:
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

    lacking: what the host is known to lack, to be added to. rate: what earlier connections have
    shown of it. ahead_ms: so much an event may be dated later than now. reported_ms: up to where
    all is complete, by the last `new_complete()`; None before three events came. future_ms: what
    time it is by events that our clock takes for future ones; None as long as it may be right.
    """

    def __init__(
        self,
        ask: ReplayRequest,
        lacking: Spans,
        rate: EventRate,
        ahead_ms: int = EVENT_AHEAD_MS,
    ) -> None:
        self.ask = ask
        self._lacking = lacking
        self._rate = rate
        self._ahead_ms = ahead_ms
        self.reported_ms: int | None = None
        self.future_ms: int | None = None
        self._position_us = 0
        self._plausible_ms = ask.since_ms
        self._last: list[int] = []
        self._future: list[int] = []
        self._behind_ms = 0
        self._nearest_ms: float = math.inf
        self._came_nearer_ms = 0
        self._complete: list[Span] = []

    @property
    def position_ms(self) -> int:
        """How far; what is asked for begins there before three events came."""
        return self.ask.since_ms if self.reported_ms is None else self._position_us // 1000

    @property
    def is_doubtful(self) -> bool:
        """Whether the next events will show if the last ones, or our clock, are wrong."""
        return bool(self._future)

    def advance(self, times_us: Iterable[int], now_ms: int) -> None:
        """Go on by the times of the next events (Unix microseconds); now_ms: by our clock."""
        if not self._future and self.reported_ms is not None:
            self._plausible_ms = self.position_ms
        limit = (now_ms + self._ahead_ms) * 1000
        for time_us in times_us:
            if time_us > limit:
                self._meet_future(time_us)
                continue
            self._future.clear()
            self._last = [*self._last[-2:], time_us]
            if self.reported_ms is not None:
                self._step(min(self._last))
            elif len(self._last) == 3:
                self._start(sorted(self._last)[1])
        if self.reported_ms is not None:
            self._watch(now_ms)

    def moment(self, time_us: int | None, now_ms: int) -> int | None:
        """When one of the last events was (Unix ms); None if its time cannot be right."""
        low_ms = min(self._plausible_ms, self.position_ms) - HOLE_MS
        if time_us is None or not low_ms <= time_us // 1000 <= now_ms + self._ahead_ms:
            return None
        return time_us // 1000

    def is_behind(self, now_ms: int) -> bool:
        """Whether more of the past is on its way."""
        return self.reported_ms is None or self.position_ms < now_ms - CAUGHT_UP_MS

    def steadily_behind_ms(self, now_ms: int) -> int:
        """How far the newest events are behind our clock if they come no nearer; else 0."""
        return self._behind_ms if now_ms - self._came_nearer_ms >= STEADY_FOR_MS else 0

    def new_complete(self, now_ms: int) -> list[Span]:
        """What has become complete since the last time."""
        if self.reported_ms is not None:
            until = min(self.position_ms - MARGIN_MS, now_ms)
            if until > self.reported_ms:
                self._complete.append(Span(self.reported_ms, until))
                self.reported_ms = until
        complete, self._complete = self._complete, []
        return complete

    def _step(self, low_us: int) -> None:
        step_us = low_us - self._position_us
        if step_us <= 0:
            return
        if step_us > self._rate.hole_us:
            self._miss(low_us // 1000)
        else:
            self._rate.learn(step_us)
        self._position_us = low_us

    def _start(self, first_us: int) -> None:
        self._position_us, first = first_us, first_us // 1000
        self._plausible_ms = min(self._plausible_ms, first)
        since, cursor = self.ask.since_ms, self.ask.cursor_ms
        self.reported_ms = first
        if cursor is None:
            return
        # After a stretch that the host lacks there was no rewind: what is not seen counts as
        # complete no further than the network may have been silent.
        if first <= max(since, cursor + min(LATE_MS, self._rate.hole_us // 1000)):
            self.reported_ms = since
        else:
            self._lacking.add(Span(since, first))

    def _watch(self, now_ms: int) -> None:
        self._behind_ms = now_ms - self.position_ms
        if self._behind_ms <= max(LATE_TIP_MS, self._nearest_ms - STEADY_MS):
            self._nearest_ms, self._came_nearer_ms = self._behind_ms, now_ms

    def _miss(self, low_ms: int) -> None:
        self._rate.miss()
        if self.reported_ms is None or low_ms <= self.reported_ms:
            return
        until = max(self.reported_ms, self.position_ms - MARGIN_MS)
        self._complete.append(Span(self.reported_ms, until))
        self._lacking.add(Span(until, low_ms))
        self.reported_ms = low_ms

    def _meet_future(self, time_us: int) -> None:
        self._future.append(time_us)
        if len(self._future) >= AGREEING:
            self.future_ms = min(self._future[-AGREEING:]) // 1000


class HostPlan:
    """Which host to ask for what, given what has been seen.

    A host replays from a cursor on, up to now. The cursor is where the oldest gap begins that
    the host has not shown to lack itself; each host is asked for a gap until one has it or all
    lack it.
    """

    def __init__(self, hosts: Sequence[str], *, window_ms: int) -> None:
        self._hosts = list(hosts)
        self._window_ms = window_ms
        self._rate = EventRate()
        self._lacking = {host: Spans() for host in hosts}
        self._left_for_ms: dict[str, int] = {}
        self._due_ms = dict.fromkeys(hosts, 0)  # before that a host is not to be asked
        self._at = 0
        self._late = ""
        self._asks_the_time = False
        self._ahead_ms = EVENT_AHEAD_MS

    def begin(self, seen: Spans, now_ms: int) -> EventProgress:
        """The next connection: its `ask` says where to, and from when on."""
        host, floor = self._hosts[self._at], now_ms - self._window_ms
        lacking = self._lacking[host]
        lacking.forget_before(floor)
        gaps = self._gaps(host, seen, Span(floor, now_ms))
        since = gaps[0].since_ms if gaps else now_ms
        # Not into what this host cannot deliver: it would break there again.
        ends = (lack.until_ms for lack in lacking if lack.until_ms <= since)
        ask = ReplayRequest(host, since, max([since - REWIND_MS, *ends]))
        if self._asks_the_time:
            self._asks_the_time = False
            ask = ReplayRequest(host, now_ms, None)
        return EventProgress(ask, lacking, self._rate, self._ahead_ms)

    def failed(self, now_ms: int, retry_after: float | None = None) -> float | None:
        """The connection failed: it is another host's turn, of those that may be asked soonest.

        retry_after: seconds that this one asks to be left alone for. Returns those that the next
        one is still to be left alone for; None if it is not.
        """
        self._due_ms[self._hosts[self._at]] = now_ms + round((retry_after or 0.0) * 1000)
        places = [(self._at + step) % len(self._hosts) for step in range(1, len(self._hosts) + 1)]
        waits = {place: max(0, self._due_ms[self._hosts[place]] - now_ms) for place in places}
        self._at = min(places, key=waits.__getitem__)
        return waits[self._at] / 1000 or None

    def met_the_future(self, progress: EventProgress, now_ms: int) -> int | None:
        """Events are later than our clock; what time it is, if they were the newest there are.

        Events of old only show that it is later than we think: so the next connection asks for
        the newest. If our clock stays as it is, those that come after that are allowed for.
        """
        if progress.ask.cursor_ms is not None:
            self._asks_the_time = True
        elif progress.future_ms is not None:
            self._ahead_ms = EVENT_AHEAD_MS + min(progress.future_ms - now_ms, AHEAD_MS)
            return progress.future_ms
        return None

    def should_leave(self, progress: EventProgress, seen: Spans, now_ms: int) -> bool:
        """Whether another connection does better now: elsewhere, or from a later moment on."""
        reported, position, ask = progress.reported_ms, progress.position_ms, progress.ask
        if reported is None:
            return False
        if ask.cursor_ms is None:
            return True
        ahead = self._gaps(ask.host, seen, Span(reported, max(reported, now_ms)))
        skips_ms = (ahead[0].since_ms if ahead else now_ms) - position
        if skips_ms > SKIP_MS and position >= ask.since_ms:
            return True
        if progress.steadily_behind_ms(now_ms):
            reported = now_ms - LATE_TIP_MS
        elif progress.is_behind(now_ms):
            return False
        return self._goes_elsewhere(
            seen, Span(now_ms - self._window_ms + WORTH_MS, reported), now_ms
        )

    def _goes_elsewhere(self, seen: Spans, worth: Span, now_ms: int) -> bool:
        for step in range(1, len(self._hosts)):
            place = (self._at + step) % len(self._hosts)
            host = self._hosts[place]
            is_due = now_ms >= max(
                self._due_ms[host], self._left_for_ms.get(host, -AGAIN_MS) + AGAIN_MS
            )
            if is_due and self._gaps(host, seen, worth):
                self._left_for_ms[host] = now_ms
                self._at = place
                return True
        return False

    def lost(self, progress: EventProgress | None, seen: Spans, now_ms: int) -> str:
        """Why a stretch of the window never will come; empty if all may."""
        if progress and (behind_ms := progress.steadily_behind_ms(now_ms)):
            behind = duration(behind_ms / 1000)
            self._late = f"its events are {behind} behind our clock: is this machine's clock right?"
        elif progress and not progress.is_behind(now_ms):
            self._late = ""
        if self._late:  # another host that was asked for it may be no nearer
            return self._late
        pieces = Spans([Span(now_ms - self._window_ms, now_ms)]) - seen
        for lacking in self._lacking.values():
            pieces &= lacking
        if (until_ms := pieces.until_ms) is None:
            return ""
        since, until = clock_time(next(iter(pieces)).since_ms), clock_time(until_ms)
        return f"no Jetstream host has all posts from {since} to {until}"

    def _gaps(self, host: str, seen: Spans, within: Span) -> list[Span]:
        return Spans([*seen, *self._lacking[host]]).gaps(within)
