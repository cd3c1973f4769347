"""The needles on their servos: moved by the gauge's thread, or key by key in calibration."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tweetdock.core.errors import ServoError
from tweetdock.core.motion import SPEED
from tweetdock.retry import TroubleLog, backoff
from tweetdock.servos.needle import CHECK_SECONDS, FRAME_SECONDS, Geometry, Needle
from tweetdock.settings.gauge import DialSettings
from tweetdock.threads import Crash, WatchedThread

if TYPE_CHECKING:
    from tweetdock.servos.servos import Servos

log = logging.getLogger(__name__)

STAGGER_SECONDS = 0.2  # two servos starting together trip the under-voltage of a Pi
FIRST_SPEED = 30.0  # degrees a second while it is only assumed where the needle stands
HOME_SPEED = 360.0  # degrees a second; less than what a servo can, to be home before we are gone
HOME_STAGGER_SECONDS = 0.1
HOME_SECONDS = 1.3  # enough for both from a full scale of 180 degrees, one after the other


class Needles:
    """A needle for each servo; it survives the servos' outages.

    trouble: why they cannot be moved; empty if they can. monotonic: seconds that nobody corrects.
    longest_pause: at most so many seconds after a failure the servos are tried again.
    """

    def __init__(
        self,
        servos: "Servos",
        needles: Sequence[Needle],
        monotonic: Callable[[], float],
        sleep: Callable[[float], object],
        longest_pause: float = 10.0,
    ) -> None:
        self._servos = servos
        self.needles = tuple(needles)
        self._monotonic = monotonic
        self._sleep = sleep
        self._longest_pause = longest_pause
        self._pauses = backoff(1.0, longest_pause)
        self._started_at = self._due_at = float("-inf")
        self._is_connected = False
        self.was_reached = False
        self.trouble = ""

    def connect(self) -> None:
        """Reserve the pins; raises ServoError if that cannot be done."""
        self._servos.connect()
        self._is_connected = self.was_reached = True
        self.trouble = ""
        self._pauses = backoff(1.0, self._longest_pause)

    def turn(self, now: float) -> float:
        """One frame, a look at servos at rest, or a new try to reach them; when the next is due.

        now in seconds; it is due after as many as are returned.
        """
        try:
            if not self._is_connected:
                if now < self._due_at:
                    return self._due_at - now
                self.connect()
                return FRAME_SECONDS  # it took its time: `now` is over
            if self._frame(now):
                return FRAME_SECONDS
            self._servos.check()
        except ServoError as error:
            self._lose(error)
            self._due_at = now + (pause := next(self._pauses))
            return pause
        return CHECK_SECONDS

    def bring_home(self, angles: Mapping[int, float]) -> bool:
        """Bring these needles to their angles and end their pulses; whether they came there.

        angles in degrees, by the needles' numbers. It takes HOME_SECONDS at most.
        """
        if not self._is_connected:
            return False
        for number, angle in angles.items():
            self.needles[number].aim(angle)
        now = self._monotonic()
        end = now + HOME_SECONDS
        try:
            while now < end and self._frame(now, HOME_SPEED, HOME_STAGGER_SECONDS):
                self._sleep(FRAME_SECONDS)
                now = self._monotonic()
            for number in angles:
                self._servos.rest(number)
        except ServoError as error:
            self._lose(error)
            return False
        # A needle within a step of home is home: it can be sent to whole steps only.
        return all(self.needles[number].is_near(angle) for number, angle in angles.items())

    def close(self) -> None:
        """Free the pins at once, and end what the backend has started."""
        self._servos.close()
        self._servos.end()

    def _frame(
        self, now: float, speed: float | None = None, stagger: float = STAGGER_SECONDS
    ) -> bool:
        """One frame of every needle on its way; False if all of them rest.

        speed in degrees a second: without it, slow while a needle is not sure.
        """
        for number, needle in enumerate(self.needles):
            if needle.wants_to_move and now - self._started_at >= stagger:
                self._started_at = now
                needle.start(now)
            if needle.is_resting:
                continue
            if needle.frame(now, speed or (SPEED if needle.is_sure else FIRST_SPEED)) is None:
                self._servos.rest(number)
            else:
                self._servos.point(number, needle.pulse_us)
        return not all(needle.is_still for needle in self.needles)

    def _lose(self, error: ServoError) -> None:
        self.trouble, self._is_connected = str(error), False
        for needle in self.needles:
            needle.lose()
        self._servos.close()


class NeedleThread(Needles):
    """Moves the needles in a thread of its own until `stop`; the latest target wins.

    At the start they are assumed to stand at `starts`, in degrees: their zero, where they are also
    left, unless it is known that an earlier gauge could not bring them there. wait: until an
    event, so many seconds at most.
    """

    def __init__(
        self,
        servos: "Servos",
        dials: Sequence[DialSettings],
        tell: Callable[[Crash], None],
        starts: Sequence[float] = (),
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
    ) -> None:
        self._homes = tuple(dial.min_angle for dial in dials)
        needles = [
            Needle(Geometry.of(dial), min(max(start, dial.min_angle), dial.max_angle))
            for dial, start in zip(dials, starts or self._homes, strict=True)
        ]
        never = threading.Event()
        super().__init__(servos, needles, monotonic, lambda seconds: wait(never, seconds))
        self._targets = list(self.angles)
        self._wait = wait
        self._stopping = threading.Event()
        self._changed = threading.Event()
        self.are_home = False
        self.thread = WatchedThread("needles", self._work, tell)

    @property
    def angles(self) -> tuple[float, ...]:
        """Where the needles are now, in degrees."""
        return tuple(needle.angle for needle in self.needles)

    def aim(self, angles: Sequence[float]) -> None:
        """Send the needles to these angles, in degrees."""
        if list(angles) != self._targets:
            self._targets = list(angles)
            self._changed.set()

    def go_home(self) -> tuple[float, ...]:
        """Let the needles go home and their thread end; where that is, in degrees."""
        self._stopping.set()
        self._changed.set()
        return self._homes

    def stop(self, seconds: float) -> bool:
        """Bring the needles home and end the pulses; False if `seconds` were not enough.

        Whether they came home is in `are_home`. What the backend has started must not outlive us:
        it has END_SECONDS more, if it needs them.
        """
        self.go_home()
        has_ended = self.thread.join(seconds)
        self._servos.end()
        return has_ended

    def _work(self) -> None:
        troubles = TroubleLog(log, "servos")
        try:
            while not self._stopping.is_set():
                for needle, angle in zip(self.needles, self._targets, strict=True):
                    needle.aim(angle)
                seconds = self.turn(self._monotonic())
                if self.trouble:
                    troubles.failed(self.trouble, seconds)
                    self._wait(self._stopping, seconds)
                    continue
                troubles.worked()
                if seconds <= FRAME_SECONDS:
                    self._wait(self._stopping, seconds)
                else:
                    self._wait(self._changed, seconds)
                    self._changed.clear()
            self.are_home = self.bring_home(dict(enumerate(self._homes)))
        finally:
            self._servos.close()
