"""What counts: the sources' threads, the gauge that they fill, and the keeper of what it knows."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Self

from tweetdock.core.clock import STEP_MS, Clock, TimeVote, is_off
from tweetdock.core.counter import NOBODY
from tweetdock.core.coverage import Known
from tweetdock.core.gauge import Gauge
from tweetdock.core.post import Batch, Trouble
from tweetdock.core.reading import Reading
from tweetdock.core.times import duration
from tweetdock.factory import make_keeper
from tweetdock.keep.archive_reader import read_lines
from tweetdock.keep.database import HistoryRow
from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board
from tweetdock.sources.choice import make_budget, make_sources, subjects_of
from tweetdock.sources.polling import Poller, Source
from tweetdock.sources.x.budget import Budget
from tweetdock.threads import Crash, WatchedThread

log = logging.getLogger(__name__)

READ_SECONDS = 1.0  # how soon a needle follows posts that leave the window
JOIN_SECONDS = 0.3
UNCONFIRMED = (
    "nobody has confirmed what time it is: let a time server set this machine's clock (sudo "
    "timedatectl set-ntp true)"
)


@dataclass(frozen=True, slots=True)
class ClockStep:
    """How a count ended, by a message if one has set the clock, and what the next goes on from.

    vote: on what time it is. budget: what X was paid, saved or not. heard: the feeds that have
    delivered by the time that was wrong.
    """

    message: Batch | Trouble | None
    vote: TimeVote
    budget: Budget
    heard: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Delivery:
    """What a thread has to say, None to wake the loop only, and the monotonic time when it did."""

    message: Batch | Trouble | Crash | None
    arrived_ms: int
    handled: threading.Event = field(default_factory=threading.Event)


class Counting:
    """One count, from its saved state on: sources deliver, readings come out.

    Only the thread that takes the readings touches the gauge and what is kept of it.

    clock: shared with the sources, set by what their servers say. angles: where the needles are,
    to be kept; none while there are no needles. stopping: ends the readings. reopening: set when
    the archive is to begin a new file. is_guest: if another TweetDock has locked the state, do
    without.
    Raises UnavailableError if something that the settings demand cannot be had, and while it is
    read whatever ended one of its threads: a bug of ours.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        board: Board,
        *,
        angles: Callable[[], tuple[float, ...]],
        stopping: threading.Event,
        reopening: threading.Event,
        is_guest: bool = False,
        step: ClockStep | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._board = board
        self._angles = angles
        self._stopping = stopping
        self._reopening = reopening
        self._is_guest = is_guest
        self._inbox: SimpleQueue[_Delivery] = SimpleQueue()
        self._ending = threading.Event()
        self._step: ClockStep | None = None
        self._is_confirmed = False  # what time it is
        self._unmendable: set[tuple[str, str]] = set()
        self._answered: set[str] = set()
        self._heard: set[str] = set()
        self._pollers: list[WatchedThread] = []
        self.threads: list[WatchedThread] = []
        with ExitStack() as stack:
            subjects = subjects_of(settings)
            self._keeper = make_keeper(settings, subjects, self._start, stack, is_guest=is_guest)
            stack.callback(lambda: self._keeper.close(self._clock.now_ms()))
            saved = self._keeper.recall()
            if step:
                seen = {name: of for name, of in saved.seen.items() if name not in step.heard}
                saved = replace(saved, seen=seen)
            elif not clock.is_synchronised():
                clock.not_before(self._keeper.state.saved_ms if self._keeper.state else 0)
            self._vote = step.vote if step else TimeVote(subjects)
            now_ms = clock.now_ms()
            if self._keeper.state and self._keeper.state.saved_ms > now_ms + STEP_MS:
                saved = replace(saved, seen={})  # by a clock that was wrong
            self._budget = (
                step.budget
                if step
                else make_budget(settings, self._keeper.spent, is_guest=self._keeper.is_guest)
            )
            self._sources = make_sources(
                settings,
                clock=clock,
                cursor=self._keeper.cursor,
                budget=self._budget,
                lines=read_lines,
            )
            feeds = [source.feed for source in self._sources]
            self._gauge = Gauge(settings.gauge, feeds, now_ms, saved)
            self._keeper.recall_archive(self._gauge, now_ms)
            self._known = {feed.name: self._gauge.known(feed.name, now_ms) for feed in feeds}
            if step and isinstance(step.message, Batch):
                self._keeper.note_spent(step.message, now_ms)
                self._count(replace(step.message, billed=0, tally=None))
            self._stack = stack.pop_all()

    def reopened(self) -> Self:
        """The same count after a step of the clock, from its saved state on; this one is closed.

        It begins with the message by which the clock was set: what that has seen goes by the
        server's own time.
        """
        self.close()
        return type(self)(
            self._settings,
            self._clock,
            self._board,
            angles=self._angles,
            stopping=self._stopping,
            reopening=self._reopening,
            is_guest=self._is_guest,
            step=self._step,
        )

    @property
    def has_stepped(self) -> bool:
        """Whether the readings ended as the clock was set to another time."""
        return self._step is not None

    @property
    def cost_usd(self) -> float:
        """What today (UTC) has cost at X."""
        return self._budget.cost_usd(self._clock.now_ms())

    @property
    def saved_angles(self) -> tuple[float, ...]:
        """Where the needles were when the state was saved; empty if that is not known."""
        return self._keeper.state.angles if self._keeper.state else ()

    def past(self) -> list[HistoryRow]:
        """The readings that were kept, oldest first."""
        return self._keeper.past()

    def readings(self) -> Iterator[Reading]:
        """A reading at once if there is a saved state, then after messages and each second."""
        if self._steps_the_clock():
            return
        if self._keeper.state is not None:
            yield self._read()
        self._start_sources()
        while not self._stopping.is_set():
            for delivery in self._deliveries():
                if not self._handle(delivery):
                    return
            if self._reopening.is_set():
                self._reopening.clear()
                self._keeper.reopen(self._clock.now_ms())
            if self._steps_the_clock():
                return
            reading = self._read()
            yield reading
            self._keeper.turn(self._gauge, reading, self._angles(), is_confirmed=self._is_confirmed)

    def is_settled(self, now_ms: int) -> bool:
        """Whether waiting would not improve any feed."""
        channels: dict[str, set[tuple[str, str]]] = {}
        for source in self._sources:
            channels.setdefault(source.feed.name, set()).add((source.feed.name, source.channel))
        done = self._gauge.whole_feeds(now_ms) & self._answered
        return all(feed in done or of <= self._unmendable for feed, of in channels.items())

    # For the sources' threads, and any other.

    def deliver(self, message: Batch | Trouble) -> None:
        """Take a message in; returns when it is counted, or never will be."""
        delivery = _Delivery(message, self._clock.monotonic_ms())
        self._inbox.put(delivery)
        while not delivery.handled.wait(READ_SECONDS) and not self._ending.is_set():
            pass

    def seen(self, feed: str) -> Known:
        """What a feed has seen for certain."""
        known = self._known[feed]
        return Known(known, known.late_ms)

    def wake(self, message: Crash | None = None) -> None:
        """Let the readings go on at once, or end with a crash."""
        self._inbox.put(_Delivery(message, self._clock.monotonic_ms()))

    def _stop_sources(self) -> None:
        # A thread that hangs all the same is left behind.
        self._ending.set()
        for source in self._sources:
            source.cut()
        with suppress(Empty):
            while True:
                self._inbox.get_nowait().handled.set()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self._pollers:
            thread.join(max(0.0, deadline - time.monotonic()))

    def close(self, angles: tuple[float, ...] = ()) -> None:
        """Stop the sources, save, and give up what is kept, once; angles: where the needles go."""
        if self._ending.is_set():
            return
        self._stop_sources()
        self.threads = []  # whoever looks at them must not take their end for a failure
        now_ms, angles = self._clock.now_ms(), angles or self._angles()
        is_confirmed = self._is_confirmed and not self.has_stepped
        self._keeper.save(self._gauge, now_ms, angles, is_confirmed=is_confirmed)
        self._stack.close()

    def _deliveries(self) -> Iterator[_Delivery]:
        """All that are waiting, or the first to come; none when something is due."""
        seconds = min(READ_SECONDS, max(0.0, self._keeper.due_seconds()))
        due = time.monotonic() + seconds
        try:
            first = self._inbox.get(timeout=seconds)
        except Empty:
            self._board.note_delay(time.monotonic() - due)
            return
        self._board.note_delay((self._clock.monotonic_ms() - first.arrived_ms) / 1000)
        yield first
        with suppress(Empty):
            for _ in range(len(self._sources)):  # many messages must not hold up the needles
                yield self._inbox.get_nowait()

    def _handle(self, delivery: _Delivery) -> bool:
        """Count a message; False if the clock has stepped by it instead."""
        message = delivery.message
        if isinstance(message, Crash):
            log.critical("the thread %s has failed", message.thread)
            raise message.error
        if message is not None:
            if message.server_ms is not None:
                self._vote.cast(message.feed, message.server_ms, delivery.arrived_ms)
                if self._steps_the_clock(message):
                    return False
            self._count(message)
        delivery.handled.set()
        return True

    def _agreed_ms(self) -> int | None:
        """What time it is by a time server, or by most who say it; None if nobody has."""
        clock = self._clock
        if not self._settings.is_live:  # the posts go by this clock, whatever it shows
            return clock.now_ms()
        if clock.is_synchronised():
            return clock.machine_ms()
        return self._vote.winner(clock.machine_ms(), clock.monotonic_ms())

    def _steps_the_clock(self, message: Batch | Trouble | None = None) -> bool:
        """Set the clock to what most say; whether that was a step, by the message if there is one.

        Then the count is to end.
        """
        now_ms, agreed_ms = self._clock.now_ms(), self._agreed_ms()
        self._is_confirmed = agreed_ms is not None
        if agreed_ms is None or not is_off(agreed_ms, now_ms) or not self._clock.set(agreed_ms):
            return False
        off = duration(abs(agreed_ms - now_ms) / 1000)
        log.warning("the clock was off by %s: counting anew by the right one", off)
        self._step = ClockStep(message, self._vote, self._budget, frozenset(self._heard))
        return True

    def _read(self) -> Reading:
        doubt = "" if self._is_confirmed else UNCONFIRMED
        return self._gauge.read(self._clock.now_ms(), doubt)

    def _count(self, message: Batch | Trouble) -> None:
        now_ms = self._clock.now_ms()
        if isinstance(message, Batch):
            message = self._vote.doubted(message, now_ms, self._clock.monotonic_ms())
        fresh = self._gauge.deliver(message, now_ms)
        self._board.count(message, sum(mark.author != NOBODY for _, mark in fresh.marks))
        self._known[message.feed] = self._gauge.known(message.feed, now_ms)
        channel = message.feed, message.channel
        if isinstance(message, Batch):
            self._heard.add(message.feed)
            self._unmendable.discard(channel)
            if not message.has_more:
                self._answered.add(message.feed)
            self._keeper.keep(message, fresh, now_ms)
        elif message.needs_owner or message.by_choice:
            self._unmendable.add(channel)

    def _start_sources(self) -> None:
        for source in self._sources:
            name = f"source {source.feed.name} {source.channel}".strip()
            self._pollers.append(self._start(name, partial(self._poll, source)))

    def _poll(self, source: Source) -> None:
        with closing(source):
            Poller(source, self, self._ending).run()

    def _start(self, name: str, work: Callable[[], None]) -> WatchedThread:
        thread = WatchedThread(name, work, self.wake)
        self.threads.append(thread)
        return thread
