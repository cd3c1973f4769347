"""Builds the gauge from its parts, and runs the loop that owns them."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from queue import Empty, Full, Queue
from typing import Self

from tweetdock.core.clock import Clock, TimeVote
from tweetdock.core.errors import UnavailableError
from tweetdock.core.gauge import Gauge
from tweetdock.core.post import Batch, Trouble
from tweetdock.core.reading import Reading
from tweetdock.factory import make_board, make_keeper, make_past, open_page
from tweetdock.keep.archive_reader import read_lines
from tweetdock.servos.choice import make_servos, read_model
from tweetdock.servos.needles import NeedleThread
from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board
from tweetdock.show.journal import Journal
from tweetdock.show.systemd import Systemd
from tweetdock.sources.choice import make_budget, make_sources, subjects_of
from tweetdock.sources.polling import Poller
from tweetdock.threads import Crash, WatchedThread

log = logging.getLogger(__name__)

InboxMessage = Batch | Trouble | Crash | None  # None: only wakes the loop

READ_SECONDS = 1.0  # how soon a needle follows posts that leave the window
INBOX_SIZE = 1000
STOP_SECONDS = 1.6
JOIN_SECONDS = 0.1


class Daemon:
    """A running TweetDock: sources put messages into the inbox, only the loop touches the gauge.

    reopening: set when the archive is to begin a new file. is_guest: if another TweetDock has
    locked the state, do without.
    Raises UnavailableError if something that the settings demand cannot be had, and in `run` and
    `read_once` whatever ended one of its threads: a bug of ours.
    """

    def __init__(
        self,
        settings: Settings,
        stopping: threading.Event,
        reopening: threading.Event,
        *,
        is_guest: bool = False,
    ) -> None:
        self._settings = settings
        self._stopping = stopping
        self._reopening = reopening
        # Each with the monotonic time of its arrival.
        self._inbox: Queue[tuple[InboxMessage, float]] = Queue(INBOX_SIZE)
        self._unmendable: set[tuple[str, str]] = set()
        self._answered: set[str] = set()
        with ExitStack() as stack:
            subjects = subjects_of(settings)
            self._threads: list[WatchedThread] = []
            self._keeper = make_keeper(settings, subjects, self._start, stack, is_guest=is_guest)
            state = self._keeper.state
            saved_ms = state.saved_ms if state else 0
            self._angles: Callable[[], tuple[float, ...]] = lambda: state.angles if state else ()
            self._clock = Clock(time.time, time.monotonic, saved_ms, settings.networks.speed)
            now_ms = self._clock.now_ms()
            budget = make_budget(settings, self._keeper.spent, is_guest=self._keeper.is_guest)
            self._sources = make_sources(
                settings,
                clock=self._clock,
                not_before_ms=saved_ms,
                bookmark=self._keeper.bookmark,
                budget=budget,
                lines=read_lines,
            )
            feeds = [source.feed for source in self._sources]
            self._vote = TimeVote([feed.name for feed in feeds])
            self._gauge = Gauge(settings.gauge, feeds, now_ms, self._keeper.recall())
            self._keeper.recall_archive(self._gauge, now_ms)
            self._needle_thread: NeedleThread | None = None
            self._board = make_board(
                settings,
                threads=lambda: tuple(self._threads),
                needle_thread=lambda: self._needle_thread,
                cost_usd=lambda: budget.cost_usd(self._clock.now_ms()),
            )
            stack.callback(lambda: self._keeper.close(self._clock.now_ms()))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def run(
        self, show: Callable[[Board], None] | None = None, systemd: Systemd | None = None
    ) -> None:
        """Show readings on the dials until stopped, and by `show` if there is a live view.

        systemd: notified of each turn, so that it restarts us if the loop is stuck.
        Raises UnavailableError if a servo backend that was asked for is out of reach at start, or
        the page's address, if it was asked for, is taken.
        """
        self._board.past = make_past(self._keeper.past())
        web = open_page(self._settings, self._board, self._start)
        threads = self._start_sources()
        needle_thread = self._needle_thread = self._start_needle_thread()
        self._stack.callback(self._stop, needle_thread)
        self._stack.callback(self._stop_sources, threads)
        if web is not None:
            self._stack.callback(web.stop)
        reads_log = show is None and (not self._settings.is_live or sys.stderr.isatty())
        journal = Journal(is_watched=reads_log, speed=self._settings.networks.speed)
        systemd = systemd or Systemd()
        self._stack.callback(systemd.stopping)
        begun = time.monotonic()
        for reading in self._readings():
            needle_thread.aim([dial.angle for dial in reading.dials.values()])
            journal.note(reading)
            self._board.publish(reading)
            if show is not None:
                show(self._board)
            self._check_servos(needle_thread, time.monotonic() - begun)
            systemd.note(reading)

    def read_once(self) -> Reading | None:
        """The first reading that is complete, or that waiting cannot improve; None if stopped."""
        self._stack.callback(self._save)
        self._stack.callback(self._stop_sources, self._start_sources())
        moved, best = time.monotonic(), (0.0, 0)
        for reading in self._readings():
            if (reading.covered, reading.posts) > best:
                moved, best = time.monotonic(), (reading.covered, reading.posts)
            is_stuck = time.monotonic() - moved > self._settings.stale_seconds
            if is_stuck or self._is_settled(reading.at_ms):
                return reading
        return None

    def _is_settled(self, now_ms: int) -> bool:
        """Whether waiting would not improve any feed."""
        channels: dict[str, set[tuple[str, str]]] = {}
        for source in self._sources:
            channels.setdefault(source.feed.name, set()).add((source.feed.name, source.channel))
        done = self._gauge.whole_feeds(now_ms) & self._answered
        return all(feed in done or of <= self._unmendable for feed, of in channels.items())

    def _readings(self) -> Iterator[Reading]:
        """A reading at once if there is a saved state, then after messages and each second."""
        if self._keeper.state is not None:
            yield self._gauge.read(self._clock.now_ms())
        while not self._stopping.is_set():
            for message, arrived in self._messages():
                if message is not None:
                    self._handle(message, arrived)
            if self._reopening.is_set():
                self._reopening.clear()
                self._keeper.reopen(self._clock.now_ms())
            reading = self._gauge.read(self._clock.now_ms())
            yield reading
            self._keeper.turn(self._gauge, reading, self._angles())

    def _messages(self) -> Iterator[tuple[InboxMessage, float]]:
        """All messages that are waiting, or the first to come; only None when something is due."""
        seconds = min(READ_SECONDS, max(0.0, self._keeper.due_seconds()))
        due = time.monotonic() + seconds
        first: tuple[InboxMessage, float] = (None, due)
        with suppress(Empty):
            first = self._inbox.get(timeout=seconds)
        self._board.note_delay(time.monotonic() - (first[1] or due))
        yield first
        with suppress(Empty):
            for _ in range(INBOX_SIZE):  # many messages must not hold up the needles
                yield self._inbox.get_nowait()

    def _wake_to_stop(self) -> None:
        # Not from the signal handler: it may have interrupted the inbox with its lock held.
        self._stopping.wait()
        with suppress(Full):
            self._inbox.put_nowait((None, 0.0))

    def _handle(self, message: Batch | Trouble | Crash, arrived: float) -> None:
        if isinstance(message, Crash):
            log.critical("the thread %s has failed", message.thread)
            raise message.error
        if message.server_ms is not None:
            self._correct(message.feed, message.server_ms, arrived)
        self._board.count(message)
        now_ms = self._clock.now_ms()
        fresh = self._gauge.deliver(message, now_ms)
        channel = message.feed, message.channel
        if isinstance(message, Batch):
            self._unmendable.discard(channel)
            if not message.has_more:
                self._answered.add(message.feed)
            self._keeper.keep(message, fresh, now_ms)
        elif message.needs_owner or message.by_choice:
            self._unmendable.add(channel)

    def _correct(self, feed: str, server_ms: int, arrived: float) -> None:
        """Set the clock by a server's time, received at that monotonic time, if others agree."""
        self._vote.cast(feed, server_ms - round(arrived * 1000))
        monotonic_ms = round(time.monotonic() * 1000)
        agreed_ms = self._vote.winner(round(time.time() * 1000) - monotonic_ms)
        before_ms = self._clock.now_ms()
        if not self._clock.correct(agreed_ms + monotonic_ms):
            return
        now_ms = self._clock.now_ms()
        self._gauge.shift(now_ms - before_ms, now_ms)
        # What a wrong clock makes too old has left the window for good.
        marks = self._keeper.recall_again()
        if marks is None:
            self._gauge.forget(now_ms)
        else:
            self._gauge.remember(marks)

    def _start_sources(self) -> list[WatchedThread]:
        WatchedThread("stop", self._wake_to_stop, self._deliver)
        return [
            self._start(
                f"source {source.feed.name} {source.channel}".strip(),
                Poller(source, self._deliver, self._stopping).run,
            )
            for source in self._sources
        ]

    def _start(self, name: str, work: Callable[[], None]) -> WatchedThread:
        thread = WatchedThread(name, work, self._deliver)
        self._threads.append(thread)
        return thread

    def _stop_sources(self, threads: list[WatchedThread]) -> None:
        self._stopping.set()
        for source in self._sources:
            source.cut()
        for thread in threads:
            thread.join(JOIN_SECONDS)

    def _save(self) -> None:
        self._keeper.save(self._gauge, self._clock.now_ms(), self._angles())

    def _start_needle_thread(self) -> NeedleThread:
        dials = (self._settings.tweets, self._settings.tweeters)
        servos = make_servos(self._settings, read_model())
        log.info(
            "needles: %s servos on GPIO %s", servos.name, " and ".join(str(d.pin) for d in dials)
        )
        starts = self._angles()
        needle_thread = NeedleThread(
            servos, dials, self._deliver, starts if len(starts) == len(dials) else ()
        )
        self._threads.append(needle_thread.thread)
        self._angles = lambda: needle_thread.angles
        return needle_thread

    def _stop(self, needle_thread: NeedleThread) -> None:
        """Send the needles to zero, and save meanwhile: a slow card must not hold up the end."""
        deadline = time.monotonic() + STOP_SECONDS
        homes = needle_thread.go_home()
        now_ms = self._clock.now_ms()
        self._keeper.save(self._gauge, now_ms, homes)
        self._keeper.close(now_ms)
        if needle_thread.stop(max(0.0, deadline - time.monotonic())) and needle_thread.are_home:
            log.info("needles at rest")
        else:
            log.warning(
                "needles not at rest: %s", needle_thread.trouble or "there was not enough time"
            )

    def _check_servos(self, needle_thread: NeedleThread, seconds: float) -> None:
        is_demanded = self._settings.servo_backend in ("pigpio", "lgpio")
        if needle_thread.was_reached or not needle_thread.trouble or not is_demanded:
            return
        if seconds >= self._settings.servo_start_seconds:
            raise UnavailableError(
                f"TWEETDOCK_SERVO_BACKEND={self._settings.servo_backend}: {needle_thread.trouble}"
            )

    def _deliver(self, message: InboxMessage) -> None:
        """Put a message into the inbox; while that is full, its source has to wait."""
        arrived = time.monotonic()
        while not self._stopping.is_set():
            with suppress(Full):
                self._inbox.put((message, arrived), timeout=READ_SECONDS)
                return
