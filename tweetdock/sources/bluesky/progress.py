"""What the events of one Jetstream connection, nearly in order of time, have made complete."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from tweetdock.core.clock import FUTURE_MS
from tweetdock.core.coverage import Spans
from tweetdock.core.post import Span
from tweetdock.core.times import DAY_MS, clock_time, duration
from tweetdock.sources.bluesky.events import COLLECTION

MARGIN_MS = 2_000  # more than events are ever out of order
HOLE_MS = 30_000  # the whole network is never silent for so long: the host has lost what was there
LEAST_HOLE_MS = 2_000  # nor are hosts ever so even that a shorter silence proves anything
SILENCE = 30  # nor, by chance, for so many times the mean between events
ENOUGH = 50  # so many steps show that mean
HOLES = 8  # so many in a row: it has changed
REMEMBERED_STEPS = 2_000
LATE_TIP_MS = 8_000  # what stays further behind our clock is not what is usual
NEARER_MS = 500  # a replay comes nearer by more than that
STEADY_FOR_MS = 60_000  # in that time
SEAM_MS = 3_000  # a host loses up to 1.9 s where it goes over from its replay to what is new
FUTURE = 20  # so many events in a row that are later show that it is our clock that is wrong
REWIND_MS = 5_000  # events are not quite in order, and hosts' times differ a little
CAUGHT_UP_MS = 10_000
AGAIN_MS = 300_000  # a host that broke down is not left another for any sooner
SETTLED_MS = 1_000  # beside MARGIN_MS, up to when all is complete: more than a seam
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

    So one is kept for all connections of a plan: the next is judged by what the last has shown.
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
        if self._holes >= HOLES:
            self._steps = self._passed_us = self._holes = 0


class EventProgress:
    """How far the events of a connection have come.

    No single event is believed: time has come as far as the earliest of three in a row says. So
    one that is off can neither complete the past nor hide the future.

    At some moment since it was asked the host has gone over from its replay to what is new, and
    has lost events there (https://github.com/bluesky-social/jetstream-legacy/issues/42): that seam
    is never complete. It ends where the events have come no nearer to our clock since.

    rate: what earlier connections have shown of it. told: what `new_complete()` has told, or never
    will. lacking: what the host has shown not to have. lag_ms: how late its newest events were by
    our clock at the least. is_ahead: so many came that our clock takes for future ones that it may
    be wrong itself.
    """

    def __init__(self, ask: ReplayRequest, rate: EventRate) -> None:
        self.ask = ask
        self.told = Spans()
        self.lacking = Spans()
        self.has_begun = False  # enough events came to tell how far they are
        self.lag_ms = DAY_MS
        self.is_ahead = False
        self._rate = rate
        self._position_us = ask.since_ms * 1000
        self._plausible_ms = ask.since_ms
        self._last: list[int] = []
        self._future = 0  # events of it in a row
        self._behind_ms = 0
        self._nearest_ms: float = math.inf
        self._came_nearer_ms = self._watched_ms = 0
        self._seam = Span(ask.since_ms, ask.since_ms)

    @property
    def position_ms(self) -> int:
        """How far; what is asked for begins there before three events came."""
        return self._position_us // 1000

    @property
    def is_past_seam(self) -> bool:
        """Whether all that was lost as it began to be new lies behind."""
        return self.has_begun and self.position_ms - MARGIN_MS >= self._seam.until_ms

    def advance(self, times_us: Iterable[int], now_ms: int, passed_ms: int = 0) -> None:
        """Go on by the times of the next events (Unix microseconds).

        now_ms: by our clock. passed_ms: how long ago the host was asked.
        """
        if not self._future and self.has_begun:
            self._plausible_ms = self.position_ms
        limit = (now_ms + FUTURE_MS) * 1000
        for time_us in times_us:
            if time_us > limit:
                self._future += 1
                self.is_ahead |= self._future >= FUTURE
                continue
            self._future = 0
            self._last = [*self._last[-2:], time_us]
            if self.has_begun:
                self._step(min(self._last))
            elif len(self._last) == 3:
                self._start(sorted(self._last)[1])
        if self.has_begun:
            self._watch(now_ms, passed_ms)

    def moment(self, time_us: int | None, now_ms: int) -> int | None:
        """When one of the last events was (Unix ms); None if its time cannot be right."""
        low_ms = min(self._plausible_ms, self.position_ms) - HOLE_MS
        if time_us is None or not low_ms <= time_us // 1000 <= now_ms + FUTURE_MS:
            return None
        return time_us // 1000

    @property
    def is_live(self) -> bool:
        """Whether the newest events are of just now, as far as our clock is right."""
        return self.is_past_seam and self.lag_ms <= CAUGHT_UP_MS

    def is_behind(self, now_ms: int) -> bool:
        """Whether more of the past is on its way."""
        return not self.has_begun or self.position_ms < now_ms - CAUGHT_UP_MS

    def steadily_behind_ms(self, now_ms: int) -> int:
        """How far the newest events are behind our clock if they come no nearer; else 0."""
        return self._behind_ms if now_ms - self._came_nearer_ms >= STEADY_FOR_MS else 0

    def new_complete(self, now_ms: int) -> Spans:
        """What has become complete since the last time."""
        until_ms = min(self.position_ms - MARGIN_MS, now_ms)
        if self.is_past_seam:
            self.told.add(self._seam)
        read = Spans([Span(self.ask.since_ms, until_ms)] if self.has_begun else ())
        new = read - [*self.lacking, self._seam, *self.told]
        for span in new:
            self.told.add(span)
        return new

    def _step(self, low_us: int) -> None:
        step_us = low_us - self._position_us
        if step_us <= 0:
            return
        if step_us > self._rate.hole_us:
            self._rate.miss()
            self.lacking.add(Span(self.position_ms - MARGIN_MS, low_us // 1000))
        else:
            self._rate.learn(step_us)
        self._position_us = low_us

    def _start(self, first_us: int) -> None:
        self._position_us, first = first_us, first_us // 1000
        self._plausible_ms = min(self._plausible_ms, first)
        self.lacking.add(Span(self.ask.since_ms, first))
        self.has_begun = True

    def _watch(self, now_ms: int, passed_ms: int) -> None:
        self._behind_ms = now_ms - self.position_ms
        self.lag_ms = min(self.lag_ms, self._behind_ms)
        if self._behind_ms < self._nearest_ms - NEARER_MS:
            self._nearest_ms, self._came_nearer_ms = self._behind_ms, now_ms
            since_ms = self.position_ms - passed_ms - SEAM_MS
            self._seam = Span(since_ms, max(self._last) // 1000 + SEAM_MS)
        # Of a time in which nobody has listened it is not known how far behind they were.
        elif self._behind_ms <= LATE_TIP_MS or now_ms - self._watched_ms > HOLE_MS:
            self._came_nearer_ms = now_ms
        self._watched_ms = now_ms


def middle_ms(times_us: Sequence[int]) -> int:
    """When the last three events were (Unix ms), of which one may be off."""
    return sorted(times_us[-3:])[1] // 1000


class Hosts:
    """Whose turn it is."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = list(urls)  # the one whose turn it is first
        self._due_ms = dict.fromkeys(urls, 0)  # before that a host is not to be asked

    @property
    def current(self) -> str:
        """The one whose turn it is, even if it is to be left alone for some time yet."""
        return self._urls[0]

    def in_turn(self, now_ms: int) -> list[str]:
        """Those that may be asked, in the order of their turns."""
        return [url for url in self._urls if self._due_ms[url] <= now_ms]

    def turn_to(self, url: str) -> str:
        """It is the turn of that one."""
        place = self._urls.index(url)
        self._urls = self._urls[place:] + self._urls[:place]
        return url

    def failed(self, now_ms: int, retry_after: float | None = None) -> float | None:
        """The connection failed: it is the turn of the one that may be asked soonest.

        retry_after: seconds that this one asks to be left alone for. Returns those that the next
        one is still to be left alone for; None if it is not.
        """
        self._due_ms[self._urls[0]] = now_ms + round((retry_after or 0.0) * 1000)
        others = [*self._urls[1:], self._urls[0]]
        url = self.turn_to(min(others, key=lambda url: max(now_ms, self._due_ms[url])))
        return max(0, self._due_ms[url] - now_ms) / 1000 or None


class LivePlan:
    """One connection brings all since the last that was seen, and goes on with what is new."""

    def __init__(self, hosts: Sequence[str], *, window_ms: int) -> None:
        self.hosts = Hosts(hosts)
        self._window_ms = window_ms
        self._rate = EventRate()
        self._left_for_ms: dict[str, int] = {}
        self._late = ""

    def begin(self, seen: Spans, now_ms: int) -> EventProgress:
        """At the host whose turn it is."""
        host = self.hosts.current
        since_ms = min(max(seen.until_ms or 0, now_ms - self._window_ms), now_ms)
        return EventProgress(_ask(host, since_ms, self._rate), self._rate)

    def should_leave(self, progress: EventProgress, now_ms: int) -> bool:
        """Once it stays behind where another host may not."""
        if progress.steadily_behind_ms(now_ms):
            for host in self.hosts.in_turn(now_ms):
                since_ms = now_ms - self._left_for_ms.get(host, -AGAIN_MS)
                if host != progress.ask.host and since_ms >= AGAIN_MS:
                    self._left_for_ms[self.hosts.turn_to(host)] = now_ms
                    return True
        return False

    def lost(self, progress: EventProgress | None, _: Spans, now_ms: int) -> str:
        """Why what is new does not come."""
        if progress and (behind_ms := progress.steadily_behind_ms(now_ms)):
            behind = duration(behind_ms / 1000)
            self._late = f"its events are {behind} behind our clock: is this machine's clock right?"
        elif progress and not progress.is_behind(now_ms):
            self._late = ""
        return self._late  # another host that was asked for it may be no nearer


class GapPlan:
    """Other connections bring what the first one lacks, a gap each.

    That is the seam of each connection, and what its host has lost: every host is asked for it
    until one has it or all lack it. The end is left to the first one, and so much before it that
    no seam of these falls into a gap.
    """

    def __init__(self, hosts: Sequence[str], *, window_ms: int) -> None:
        self.hosts = Hosts([*hosts[1:], hosts[0]])  # another one at first, if there is one
        self._window_ms = window_ms
        self._rate = EventRate()
        self._lacking = {host: Spans() for host in hosts}
        self._gap = Span(0, 0)

    def begin(self, seen: Spans, now_ms: int) -> EventProgress | None:
        """The oldest gap first."""
        for gap in self._gaps(seen, now_ms):
            for host in self.hosts.in_turn(now_ms):
                if pieces := list(Spans([gap]) - self._lacking[host]):
                    self._gap = pieces[0]
                    ask = _ask(self.hosts.turn_to(host), self._gap.since_ms, self._rate)
                    return EventProgress(ask, self._rate)
        return None

    def should_leave(self, progress: EventProgress, now_ms: int) -> bool:
        """Once it is beyond the gap, or stays behind it."""
        lacking = self._lacking[progress.ask.host]
        lacking.forget_before(now_ms - self._window_ms)
        for span in progress.lacking:
            lacking.add(span)
        if progress.steadily_behind_ms(now_ms):
            lacking.add(self._gap)
        is_read = not any(Spans([self._gap]) - [*progress.told, *lacking])
        return is_read or progress.is_past_seam

    def lost(self, _: EventProgress | None, seen: Spans, now_ms: int) -> str:
        """Which stretch no host has."""
        pieces = Spans(self._gaps(seen, now_ms))
        for lacking in self._lacking.values():
            pieces &= lacking
        if (until_ms := pieces.until_ms) is None:
            return ""
        since, until = clock_time(next(iter(pieces)).since_ms), clock_time(until_ms)
        return f"no Jetstream host has all posts from {since} to {until}"

    def _gaps(self, seen: Spans, now_ms: int) -> list[Span]:
        floor_ms, until_ms = now_ms - self._window_ms, seen.until_ms or 0
        settled = Span(floor_ms + WORTH_MS, until_ms - SETTLED_MS)
        gaps = seen.gaps(Span(floor_ms, until_ms))
        return [gap for gap in gaps if settled.since_ms < gap.until_ms <= settled.until_ms]


def _ask(host: str, since_ms: int, rate: EventRate) -> ReplayRequest:
    rewind_ms = max(REWIND_MS, rate.hole_us // 1000)  # a network may be quiet for so long
    return ReplayRequest(host, since_ms, since_ms - rewind_ms)
