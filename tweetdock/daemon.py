"""Builds the gauge from its parts, and shows its readings wherever they are to be seen."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Self

from tweetdock.core.clock import Clock
from tweetdock.core.errors import UnavailableError
from tweetdock.core.reading import Reading
from tweetdock.counting import Counting
from tweetdock.factory import make_board, make_past, open_page
from tweetdock.servos.choice import make_servos, read_model
from tweetdock.servos.needles import NeedleThread
from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board
from tweetdock.show.journal import Journal
from tweetdock.show.systemd import Systemd
from tweetdock.system_clock import boot_seconds, is_synchronised
from tweetdock.threads import Crash, WatchedThread

log = logging.getLogger(__name__)

STOP_SECONDS = 1.6

Show = Callable[[Reading], None]


class Daemon:
    """A running TweetDock: what counts yields readings, and each is shown wherever it is wanted.

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
        self._threads: list[WatchedThread] = []
        self._needle_thread: NeedleThread | None = None
        self._crash: Crash | None = None
        self._board = make_board(
            settings,
            threads=lambda: (*self._threads, *self._counting.threads),
            needle_thread=lambda: self._needle_thread,
            cost_usd=lambda: self._counting.cost_usd,
        )
        self._counting = Counting(
            settings,
            Clock(time.time, boot_seconds, settings.networks.speed, is_synchronised),
            self._board,
            angles=lambda: self._needle_thread.angles if self._needle_thread else (),
            stopping=stopping,
            reopening=reopening,
            is_guest=is_guest,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._stopping.set()
        self._counting.close()

    def run(
        self, show: Callable[[Board], None] | None = None, systemd: Systemd | None = None
    ) -> None:
        """Show readings on the dials until stopped, and by `show` if there is a live view.

        systemd: notified of each turn, so that it restarts us if the loop is stuck.
        Raises UnavailableError if a servo backend that was asked for is out of reach at start, or
        the page's address, if it was asked for, is taken.
        """
        systemd = systemd or Systemd()
        reads_log = show is None and (not self._settings.is_live or sys.stderr.isatty())
        journal = Journal(is_watched=reads_log, speed=self._settings.networks.speed)
        self._board.past = make_past(self._counting.past())
        with ExitStack() as stack:
            web = open_page(self._settings, self._board, self._start)
            needle_thread = self._needle_thread = self._start_needle_thread()
            stack.callback(self._stop, needle_thread)
            if web is not None:
                stack.callback(web.stop)
            stack.callback(systemd.stopping)
            shows: list[Show] = [
                lambda reading: needle_thread.aim([d.angle for d in reading.dials.values()]),
                journal.note,
                self._board.publish,
                *([lambda _: show(self._board)] if show else []),
                self._servo_check(needle_thread),
                systemd.note,
            ]
            for reading in self._readings():
                for one in shows:
                    one(reading)

    def read_once(self) -> Reading | None:
        """The first reading that is complete, or that waiting cannot improve; None if stopped."""
        moved, best = time.monotonic(), (0.0, 0)
        for reading in self._readings():
            if (reading.covered, reading.posts) > best:
                moved, best = time.monotonic(), (reading.covered, reading.posts)
            is_stuck = time.monotonic() - moved > self._settings.stale_seconds
            if is_stuck or self._counting.is_settled(reading.at_ms):
                return reading
        return None

    def _readings(self) -> Iterator[Reading]:
        """The readings of one count, and of the next one when the clock has stepped."""
        self._start("stop", self._wake_to_stop)
        yield from self._counting.readings()
        while self._counting.has_stepped:
            self._counting = self._counting.reopened()
            if self._crash is not None:  # which the count before may not have seen
                self._counting.wake(self._crash)
            yield from self._counting.readings()

    def _wake_to_stop(self) -> None:
        # Not from the signal handler: it may have interrupted whoever holds the inbox's lock.
        self._stopping.wait()
        self._counting.wake()

    def _start(self, name: str, work: Callable[[], None]) -> WatchedThread:
        thread = WatchedThread(name, work, self._crashed)
        self._threads.append(thread)
        return thread

    def _crashed(self, crash: Crash) -> None:
        self._crash = crash
        self._counting.wake(crash)

    def _start_needle_thread(self) -> NeedleThread:
        dials = tuple(self._settings.dials.values())
        servos = make_servos(self._settings, read_model())
        log.info(
            "needles: %s servos on GPIO %s", servos.name, " and ".join(str(d.pin) for d in dials)
        )
        starts = self._counting.saved_angles
        needle_thread = NeedleThread(
            servos,
            dials,
            self._crashed,
            starts if len(starts) == len(dials) else (),
        )
        self._threads.append(needle_thread.thread)
        return needle_thread

    def _stop(self, needle_thread: NeedleThread) -> None:
        """Send the needles to zero, and save meanwhile: a slow card must not hold up the end."""
        deadline = time.monotonic() + STOP_SECONDS
        homes = needle_thread.go_home()
        self._counting.close(homes)
        if needle_thread.stop(max(0.0, deadline - time.monotonic())) and needle_thread.are_home:
            log.info("needles at rest")
        else:
            log.warning(
                "needles not at rest: %s", needle_thread.trouble or "there was not enough time"
            )

    def _servo_check(self, needle_thread: NeedleThread) -> Show:
        """Raises UnavailableError once servos that were asked for were out of reach for long."""
        backend, begun = self._settings.servo_backend, time.monotonic()

        def check(_: Reading) -> None:
            if needle_thread.was_reached or not needle_thread.trouble:
                return
            if time.monotonic() - begun >= self._settings.servo_start_seconds:
                reason = f"TWEETDOCK_SERVO_BACKEND={backend}: {needle_thread.trouble}"
                raise UnavailableError(reason)

        return check if backend in ("pigpio", "lgpio") else lambda _: None
