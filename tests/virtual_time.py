"""Time that passes only as far as a test lets it, and servos that note what happened when."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dials import LIMIT
from standins.pigpiod import PulseChange

from tweetdock.core.errors import ServoError
from tweetdock.servos.servos import MockServos

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FRAME_SECONDS = 0.02


class VirtualTime:
    """A clock for one thread, which waits by it; another one, the test's, lets it run."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits = 0
        self._end = self.now
        self._is_waiting = False
        self._changed = threading.Condition()

    def monotonic(self) -> float:
        return self.now

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for an event, as its own `wait` does."""
        with self._changed:
            due = self.now + seconds
            self.waits += 1
            while not event.is_set() and self._end < due:
                self.now = max(self.now, self._end)
                self._is_waiting = True
                self._changed.notify_all()
                self._changed.wait()
            self._is_waiting = False
            if not event.is_set():
                self.now = due
            return event.is_set()

    def sleep(self, seconds: float) -> None:
        self.wait(threading.Event(), seconds)

    def run(self, seconds: float) -> None:
        """Let so much time pass; at its end the thread waits for more."""
        with self._changed:
            self._end = max(self._end, self.now) + seconds
            self._is_waiting = False
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._is_waiting, LIMIT)

    def run_until(self, condition: Callable[[], bool], limit: float = 30.0) -> bool:
        """Let time pass, a frame each, until a condition holds or so many seconds are over."""
        end = self.now + limit
        while not condition():
            if self.now > end:
                return False
            self.run(FRAME_SECONDS)
        return True

    def let_go(self) -> None:
        """Let the thread wait no more: its time passes as fast as it can."""
        with self._changed:
            self._end = float("inf")
            self._changed.notify_all()


class NotingServos(MockServos):
    """Servos on mock pins: each change of a pulse with its time; they can be out of reach."""

    def __init__(self, pins: Sequence[int], monotonic: Callable[[], float]) -> None:
        super().__init__(pins)
        self._monotonic = monotonic
        self.changes: list[PulseChange] = []
        self.checks = 0
        self.is_out_of_reach = False

    def connect(self) -> None:
        self._answer()
        super().connect()

    def point(self, number: int, pulse_us: float) -> None:
        self._answer()
        super().point(number, pulse_us)
        self._note(number)

    def rest(self, number: int) -> None:
        self._answer()
        super().rest(number)
        self._note(number)

    def check(self) -> None:
        self.checks += 1
        self._answer()

    def close(self) -> None:
        super().close()
        for number in range(len(self._gpios)):
            self._note(number)

    def pulse_us(self, pin: int) -> float:
        """The pulse that a pin has, or 0."""
        lengths = self.pulses_us(pin)
        return lengths[-1] if lengths else 0.0

    def pulses_us(self, pin: int) -> list[float]:
        """All pulses that a pin had so far, 0 for none."""
        return [change.pulse_us for change in self.changes_of(pin)]

    def changes_of(self, pin: int) -> list[PulseChange]:
        return [change for change in self.changes if change.gpio == pin]

    def stands_at_us(self, pin: int) -> float | None:
        """The last pulse that a pin had; None while it still has pulses, or before the first."""
        lengths = self.pulses_us(pin)
        return lengths[-2] if len(lengths) > 1 and lengths[-1] == 0 else None

    def _answer(self) -> None:
        if self.is_out_of_reach:
            raise ServoError("the servos are out of reach")

    def _note(self, number: int) -> None:
        pin = self._gpios[number]
        share = self._pins[number].state if self._pins and self._pins[number].frequency else 0
        pulse_us = round(share * 20_000 - self.spare_us, 3) if share else 0
        if pulse_us != self.pulse_us(pin):
            self.changes.append(PulseChange(self._monotonic(), pin, pulse_us))
