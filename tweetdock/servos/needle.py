"""One needle: the pulse of each angle, where it stands and goes, when it may rest; no clock."""

from dataclasses import dataclass

from tweetdock.core.motion import Motion
from tweetdock.settings.gauge import DialSettings

FRAME_SECONDS = 0.02  # a servo takes a pulse 50 times a second
CHECK_SECONDS = 1.0  # how soon servos that were lost while the needles rest are noticed
SETTLE_SECONDS = 0.4  # a servo hangs behind its pulses; only then may they end
STEP_US = 5.0  # pigpiod's usual step, and about the dead band of a hobby servo
LAST_US = (300, 3000)  # no servo takes more, and neither do the settings
TWITCH = 0.8  # of a step: a target nearer than that to where the needle stands does not move it


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a dial's angles and its servo's pulses belong together: by two straight pieces.

    The pulses are those at the least, the middle and the greatest angle; they only rise or only
    fall. A needle is sent to whole steps.
    """

    min_angle: float
    max_angle: float
    start_us: float
    middle_us: float
    end_us: float
    step_us: float = STEP_US

    @classmethod
    def of(cls, dial: DialSettings) -> "Geometry":
        """The geometry of a dial as it is set."""
        ends_us = dial.start_us, dial.middle_us, dial.end_us
        return cls(dial.min_angle, dial.max_angle, *ends_us)

    def pulse_us(self, angle: float) -> float:
        """The pulse of an angle; outside of the dial it is that of its end."""
        return _between(angle, self._angles, self._pulses_us)

    def angle(self, pulse_us: float) -> float:
        """The angle of a pulse; outside of the dial it is the end that is nearer."""
        return _between(pulse_us, self._pulses_us, self._angles)

    @property
    def _angles(self) -> tuple[float, float, float]:
        return self.min_angle, (self.min_angle + self.max_angle) / 2, self.max_angle

    @property
    def _pulses_us(self) -> tuple[float, float, float]:
        return self.start_us, self.middle_us, self.end_us

    def snap(self, angle: float) -> float:
        """The nearest angle of which the pulse is a whole step, within the dial."""
        return self.angle(round(self.pulse_us(angle) / self.step_us) * self.step_us)

    def is_twitch(self, angle: float, other: float) -> bool:
        """Whether two angles are so near that no servo would show it."""
        return abs(self.pulse_us(angle) - self.pulse_us(other)) <= TWITCH * self.step_us


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

    def frame(self, now: float, speed: float) -> float | None:
        """The angle to point at now, or None: end the pulses. Only after `start`.

        now in seconds, speed in degrees a second at most.
        """
        seconds = max(0.0, now - (self._frame_at or now))
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
