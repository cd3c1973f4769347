"""The needles on their servos, and the thread that moves them: it survives the servos' outages."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from tweetdock.core.errors import ServoError
from tweetdock.core.motion import SPEED
from tweetdock.retry import TroubleLog, backoff
from tweetdock.servos.needle import CHECK_SECONDS, FRAME_SECONDS, Geometry, Needle
from tweetdock.servos.servos import Servos
from tweetdock.settings.gauge import DialSettings
from tweetdock.threads import Crash, WatchedThread

log = logging.getLogger(__name__)

STAGGER_SECONDS = 0.2  # two servos starting together trip the under-voltage of a Pi
FIRST_SPEED = 30.0  # degrees a second while it is only assumed where the needle stands
HOME_SPEED = 360.0  # degrees a second; less than what a servo can, to be home before we are gone
HOME_STAGGER_SECONDS = 0.1
HOME_SECONDS = 1.3  # enough for both from a full scale of 180 degrees, one after the other


class Needles:
    """A needle for each servo; no clock of its own. Raises ServoError as the servos do."""

    def __init__(self, servos: Servos, needles: Sequence[Needle]) -> None:
        self._servos = servos
        self._needles = tuple(needles)
        self._started_at = float("-inf")

    def __iter__(self) -> Iterator[Needle]:
        return iter(self._needles)

    def __getitem__(self, number: int) -> Needle:
        return self._needles[number]

    def aim(self, angles: Sequence[float]) -> None:
        """Send each needle to its angle, in degrees."""
        for needle, angle in zip(self._needles, angles, strict=True):
            needle.aim(angle)

    def frame(
        self, now: float, speed: float | None = None, stagger: float = STAGGER_SECONDS
    ) -> bool:
        """One frame of every needle on its way; False if all of them rest.

        now in seconds, speed in degrees a second: without it, slow while a needle is not sure.
        """
        for number, needle in enumerate(self._needles):
            if needle.wants_to_move and now - self._started_at >= stagger:
                self._started_at = now
                needle.start(now)
            if needle.is_resting:
                continue
            if needle.frame(now, speed or (SPEED if needle.is_sure else FIRST_SPEED)) is None:
                self._servos.rest(number)
            else:
                self._servos.point(number, needle.pulse_us)
        return any(not needle.is_resting or needle.wants_to_move for needle in self._needles)

    def go_home(
        self,
        angles: Mapping[int, float],
        monotonic: Callable[[], float],
        sleep: Callable[[float], object],
    ) -> bool:
        """Bring these needles to their angles and end their pulses; whether they came there.

        angles in degrees, by the needles' numbers. It takes HOME_SECONDS at most.
        """
        for number, angle in angles.items():
            self._needles[number].aim(angle)
        end = monotonic() + HOME_SECONDS
        while (now := monotonic()) < end and self.frame(now, HOME_SPEED, HOME_STAGGER_SECONDS):
            sleep(FRAME_SECONDS)
        for number in angles:
            self._servos.rest(number)
        # A needle within a step of home is home: it can be sent to whole steps only.
        return all(self._needles[number].is_near(angle) for number, angle in angles.items())


class NeedleThread:
    """Moves the needles in a thread of its own until `stop`; the latest target wins.

    At the start they are assumed to stand at `starts`, in degrees: their zero, where they are also
    left, unless it is known that an earlier gauge could not bring them there. monotonic: seconds
    that nobody corrects; wait: until an event, so many seconds at most.
    """

    def __init__(
        self,
        servos: Servos,
        dials: Sequence[DialSettings],
        tell: Callable[[Crash], None],
        starts: Sequence[float] = (),
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
    ) -> None:
        self._servos = servos
        self._homes = [dial.min_angle for dial in dials]
        self._needles = Needles(
            servos,
            [
                Needle(
                    Geometry.of(dial),
                    min(max(start, dial.min_angle), dial.max_angle),
                )
                for dial, start in zip(dials, starts or self._homes, strict=True)
            ],
        )
        self._targets = [needle.angle for needle in self._needles]
        self._monotonic = monotonic
        self._wait = wait
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
        return tuple(needle.angle for needle in self._needles)

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
        self._servos.end()
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
                    self._follow()
                    self._come_home()
                except ServoError as error:
                    self.trouble = str(error)
                    seconds = next(delays)
                    self._troubles.failed(str(error), seconds)
                    for needle in self._needles:
                        needle.lose()
                    self._servos.close()
                    self._wait(self._stopping, seconds)
        finally:
            self._servos.close()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self._needles.aim(self._targets)
            if self._needles.frame(self._monotonic()):
                self._wait(self._stopping, FRAME_SECONDS)
            else:
                self._servos.check()
                self._wait(self._changed, CHECK_SECONDS)
                self._changed.clear()

    def _come_home(self) -> None:
        never = threading.Event()
        self.are_home = self._needles.go_home(
            dict(enumerate(self._homes)),
            self._monotonic,
            lambda seconds: self._wait(never, seconds),
        )
