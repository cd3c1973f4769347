"""The thread that turns the needles: latest target wins, and it outlives its servos' troubles."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tweetdock.core.errors import ServoError
from tweetdock.retry import TroubleLog, backoff
from tweetdock.servos.needle import FRAME_SECONDS, Needle, Needles
from tweetdock.servos.servos import END_SECONDS, Geometry, Servos
from tweetdock.settings.gauge import DialSettings
from tweetdock.threads import Crash, WatchedThread

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0  # how soon a backend that died while the needles rest is noticed


class NeedleThread:
    """Turns the needles in a thread of its own until `stop`.

    At the start they are thought to stand at `starts`, in degrees: their zero, where they are also
    left, unless it is known that an earlier gauge could not bring them there.
    """

    def __init__(
        self,
        servos: Servos,
        dials: Sequence[DialSettings],
        tell: Callable[[Crash], None],
        starts: Sequence[float] = (),
    ) -> None:
        self._servos = servos
        self._homes = [dial.min_angle for dial in dials]
        self._hands = Needles(
            servos,
            [
                Needle(
                    replace(Geometry.of(dial), step_us=servos.step_us),
                    min(max(start, dial.min_angle), dial.max_angle),
                )
                for dial, start in zip(dials, starts or self._homes, strict=True)
            ],
        )
        self._targets = [hand.angle for hand in self._hands]
        self._stopping = threading.Event()
        self._changed = threading.Event()
        self._troubles = TroubleLog(log, "servos")
        self.trouble = ""
        self.was_reached = False
        self.are_home = False
        self.thread = WatchedThread("needles", self._work, tell)

    @property
    def angles(self) -> tuple[float, ...]:
        """Where the needles are now, in degrees."""
        return tuple(hand.angle for hand in self._hands)

    def aim(self, angles: Sequence[float]) -> None:
        """Send the needles to these angles, in degrees."""
        if list(angles) != self._targets:
            self._targets = list(angles)
            self._changed.set()

    def go_home(self) -> tuple[float, ...]:
        """Let the needles go home and their thread end; where that is, in degrees."""
        self._stopping.set()
        self._changed.set()
        return tuple(self._homes)

    def stop(self, seconds: float) -> bool:
        """Bring the needles home and end the pulses; False if `seconds` were not enough.

        Whether they came home is in `are_home`. What the backend has started must not outlive us:
        it has END_SECONDS more, if it needs them.
        """
        self.go_home()
        has_ended = self.thread.join(seconds)
        self._servos.end(END_SECONDS)
        return has_ended

    def _work(self) -> None:
        delays = backoff(1.0, 10.0)
        try:
            while not self._stopping.is_set():
                try:
                    self._servos.connect()
                    self._troubles.worked()
                    self.was_reached, self.trouble = True, ""
                    delays = backoff(1.0, 10.0)
                    self._turn()
                    homes = dict(enumerate(self._homes))
                    self.are_home = self._hands.go_home(homes, time.monotonic, time.sleep)
                except ServoError as error:
                    self.trouble = str(error)
                    seconds = next(delays)
                    self._troubles.failed(str(error), seconds)
                    for hand in self._hands:
                        hand.lose()
                    self._servos.close()
                    self._stopping.wait(seconds)
        finally:
            self._servos.close()
            self._servos.end()

    def _turn(self) -> None:
        while not self._stopping.is_set():
            self._hands.aim(self._targets)
            if self._hands.frame(time.monotonic()):
                self._stopping.wait(FRAME_SECONDS)
            else:
                self._servos.check()
                self._changed.wait(CHECK_SECONDS)
                self._changed.clear()
