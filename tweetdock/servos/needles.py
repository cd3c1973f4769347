"""The needles on their servos: moved by the gauge's thread, or key by key in calibration."""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tweetdock.core.errors import ServoError
from tweetdock.core.motion import SPEED, Motion
from tweetdock.retry import TroubleLog, backoff
from tweetdock.settings.gauge import DialSettings
from tweetdock.threads import Crash, WatchedThread

if TYPE_CHECKING:
    from tweetdock.servos.servos import Servos

log = logging.getLogger(__name__)

FRAME_SECONDS = 0.02  # a servo takes a pulse 50 times a second
LATE_SECONDS = 5 * FRAME_SECONDS  # the most of a way that one frame makes up for
CHECK_SECONDS = 1.0  # how soon servos that were lost while the needles rest are noticed
SETTLE_SECONDS = 0.4  # a servo hangs behind its pulses; only then may they end
STEP_US = 5.0  # pigpiod's usual step, and about the dead band of a hobby servo
TWITCH = 0.8  # of a step: a new target nearer than that to the old one does not move the needle
PAUSE_SECONDS = 1.0, 10.0  # the first and the longest until lost servos are tried again
STAGGER_SECONDS = 0.2  # two servos starting together trip the under-voltage of a Pi
FIRST_SPEED = 30.0  # degrees a second while it is only assumed where the needle stands
HOME_SPEED = 360.0  # degrees a second; less than what a servo can, to be home before we are gone
HOME_STAGGER_SECONDS = 0.1
HOME_SECONDS = 1.3  # enough for both from a full scale of 360 degrees, one after the other
USUAL_SWEEP = 180.0  # degrees


class Geometry:
    """How a dial's angles and its servo's pulses belong together: by two straight pieces.

    The pulses are those at the least, the middle and the greatest angle; they only rise or only
    fall. A needle is sent to whole steps.
    """

    def __init__(self, dial: DialSettings, step_us: float = STEP_US) -> None:
        middle = (dial.min_angle + dial.max_angle) / 2
        self._angles = dial.min_angle, middle, dial.max_angle
        self._pulses_us = dial.start_us, dial.middle_us, dial.end_us
        self._step_us = step_us
        # The needle of a wider dial is home in the same time: by so much its time runs faster.
        self.haste = math.sqrt(max(1.0, (dial.max_angle - dial.min_angle) / USUAL_SWEEP))

    def pulse_us(self, angle: float) -> float:
        """The pulse of an angle; outside of the dial it is that of its end."""
        return _between(angle, self._angles, self._pulses_us)

    def angle(self, pulse_us: float) -> float:
        """The angle of a pulse; outside of the dial it is the end that is nearer."""
        return _between(pulse_us, self._pulses_us, self._angles)

    def snap(self, angle: float) -> float:
        """The nearest angle of which the pulse is a whole step, within the dial."""
        return self.angle(round(self.pulse_us(angle) / self._step_us) * self._step_us)

    def is_twitch(self, angle: float, other: float) -> bool:
        """Whether two angles are so near that no servo would show it."""
        return abs(self.pulse_us(angle) - self.pulse_us(other)) <= TWITCH * self._step_us


def _between(x: float, xs: tuple[float, float, float], ys: tuple[float, float, float]) -> float:
    """The y of an x on the two straight pieces through three points; outside that of the end."""
    (begin, middle, end), (first, at_middle, last) = xs, ys
    if (x - middle) * (end - middle) > 0:
        begin, first = end, last
    share = min(1.0, abs((x - middle) / (begin - middle)))
    return at_middle + share * (first - at_middle)


class Needle:
    """A needle's state, moved frame by frame.

    It starts at rest at `angle`, but that is only assumed until it `is_sure`: once it is aimed
    its first move is made even if the target is where it should stand already.
    """

    def __init__(self, geometry: Geometry, angle: float) -> None:
        self._geometry = geometry
        self._motion = Motion(angle)
        self.target = angle
        self.is_sure = False
        self._must_point = False
        self._settled_at: float | None = None
        self._frame_at: float | None = None

    @property
    def angle(self) -> float:
        """Where the needle is, in degrees."""
        return self._motion.angle

    @property
    def pulse_us(self) -> float:
        """The pulse that brings it to where it is."""
        return self._geometry.pulse_us(self._motion.angle)

    @property
    def is_resting(self) -> bool:
        """Whether it stands without pulses."""
        return self._frame_at is None

    @property
    def wants_to_move(self) -> bool:
        """Whether it rests but should not."""
        return self.is_resting and (self._must_point or not self._motion.is_at(self.target))

    def aim(self, angle: float) -> None:
        """Set a new target; one that no step would show leaves a needle that is sure alone."""
        self._must_point = self._must_point or not self.was_moved
        if not self._geometry.is_twitch(angle, self.target):
            self.target = self._geometry.snap(angle)

    def is_near(self, angle: float) -> bool:
        """Whether the needle stands there, but for less than a step."""
        return self._geometry.is_twitch(angle, self._motion.angle)

    @property
    def is_still(self) -> bool:
        """Whether it stands where it was sent, without pulses."""
        return self.is_resting and not self.wants_to_move

    @property
    def was_moved(self) -> bool:
        """Whether it has had a pulse: before, nobody knows where it stands."""
        return self.is_sure or not self.is_resting

    def lose(self) -> None:
        """The pulses have ended without our doing: point again before resting."""
        self._must_point = self._must_point or self.was_moved
        self._frame_at = self._settled_at = None
        self._motion = Motion(self._motion.angle)

    def start(self, now: float) -> None:
        """Leave rest at `now` (seconds)."""
        self._frame_at = now
        self._settled_at = None

    def frame(self, now: float, speed: float, *, is_going_home: bool = False) -> float | None:
        """The angle to point at now, or None: end the pulses. Only after `start`.

        now in seconds, speed in degrees a second at most. After a frame that was long in coming the
        needle does not leap, unless it is going home, which it does in time.
        """
        seconds = max(0.0, now - (self._frame_at or now))
        seconds = seconds * self._geometry.haste if is_going_home else min(seconds, LATE_SECONDS)
        self._frame_at = now
        if not self._motion.is_at(self.target):
            self._settled_at = None
            if seconds > 0:
                self._motion = self._motion.step(self.target, seconds, speed)
        elif self._settled_at is None:
            self._settled_at = now + SETTLE_SECONDS
        elif now >= self._settled_at:
            self._frame_at = self._settled_at = None
            self.is_sure, self._must_point = True, False
            return None
        return self._motion.angle


class Needles:
    """A needle for each servo; it survives the servos' outages.

    trouble: why they cannot be moved; empty if they can. monotonic: seconds that nobody corrects.
    """

    def __init__(
        self,
        servos: "Servos",
        needles: Sequence[Needle],
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._servos = servos
        self.needles = tuple(needles)
        self._monotonic = monotonic
        self._sleep = sleep
        self._pauses = backoff(*PAUSE_SECONDS)
        self._started_at = self._due_at = float("-inf")
        self._is_connected = False
        self.was_reached = False
        self.trouble = ""

    def connect(self) -> None:
        """Reserve the pins; raises ServoError if that cannot be done."""
        self._servos.connect()
        self._is_connected = self.was_reached = True
        self.trouble = ""
        self._pauses = backoff(*PAUSE_SECONDS)

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
            while now < end and self._frame(now, is_going_home=True):
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

    def _frame(self, now: float, *, is_going_home: bool = False) -> bool:
        """One frame of every needle on its way; False if all of them rest."""
        stagger = HOME_STAGGER_SECONDS if is_going_home else STAGGER_SECONDS
        for number, needle in enumerate(self.needles):
            if needle.wants_to_move and now - self._started_at >= stagger:
                self._started_at = now
                needle.start(now)
            if needle.is_resting:
                continue
            speed = SPEED if needle.is_sure else FIRST_SPEED
            if is_going_home:
                speed = HOME_SPEED
            if needle.frame(now, speed, is_going_home=is_going_home) is None:
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

    At the start they are assumed to stand at `starts`, in degrees: where a gauge that was killed
    had them last, or their zero, to which an orderly end sends them. wait: until an event, so many
    seconds at most.
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
            Needle(Geometry(dial), min(max(start, dial.min_angle), dial.max_angle))
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
