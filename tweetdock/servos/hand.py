"""One needle: where it stands, where it goes, when it may rest; no wire, no clock."""

from dataclasses import dataclass

from tweetdock.motion import Motion
from tweetdock.settings import DialSettings

STEP_US = 5.0  # pigpiod's usual step, and about the dead band of a hobby servo
TWITCH = 0.8  # of a step: a target nearer than that to where the needle stands does not move it
SETTLE_SECONDS = 0.4  # a servo hangs behind its pulses; only then may they end


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a dial's angles and its servo's pulses belong together, without regard to direction."""

    min_angle: float
    max_angle: float
    min_pulse_us: float
    max_pulse_us: float

    @classmethod
    def of(cls, dial: DialSettings) -> "Geometry":
        """The geometry of a dial as it is set."""
        return cls(dial.min_angle, dial.max_angle, dial.min_pulse_us, dial.max_pulse_us)

    @property
    def degrees_per_us(self) -> float:
        """Degrees that one microsecond of pulse turns the needle."""
        return (self.max_angle - self.min_angle) / (self.max_pulse_us - self.min_pulse_us)

    def snap(self, angle: float) -> float:
        """The nearest angle of which the pulse is a whole step, within the dial."""
        pulse_us = self.min_pulse_us + (angle - self.min_angle) / self.degrees_per_us
        pulse_us = round(pulse_us / STEP_US) * STEP_US
        pulse_us = min(max(pulse_us, self.min_pulse_us), self.max_pulse_us)
        return self.min_angle + (pulse_us - self.min_pulse_us) * self.degrees_per_us


class Hand:
    """A needle's state, turned frame by frame.

    It starts at rest at `angle`, but that is only thought (`is_sure`): its first move is made
    even if the target is where it should stand already.
    """

    def __init__(self, geometry: Geometry, angle: float) -> None:
        self._geometry = geometry
        self._band = TWITCH * STEP_US * geometry.degrees_per_us
        self._motion = Motion(angle)
        self._target = angle
        self.is_sure = False
        self._must_point = True
        self._settled_at: float | None = None
        self._frame_at: float | None = None

    @property
    def angle(self) -> float:
        """Where the needle is, in degrees."""
        return self._motion.angle

    @property
    def is_resting(self) -> bool:
        """Whether it stands without pulses."""
        return self._frame_at is None

    @property
    def wants_to_move(self) -> bool:
        """Whether it rests but should not."""
        return self.is_resting and (self._must_point or not self._motion.is_at(self._target))

    def aim(self, angle: float) -> None:
        """Take a new target; one that no step would show leaves the needle alone."""
        if abs(angle - self._target) > self._band:
            self._target = self._geometry.snap(angle)

    def is_near(self, angle: float) -> bool:
        """Whether the needle stands there, but for less than a step."""
        return abs(angle - self._motion.angle) <= self._band

    def lose(self) -> None:
        """The pulses have ended without our doing: point again before resting."""
        self._must_point = True
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
        if not self._motion.is_at(self._target):
            self._settled_at = None
            if seconds > 0:
                self._motion = self._motion.step(self._target, seconds, speed)
        elif self._settled_at is None:
            self._settled_at = now + SETTLE_SECONDS
        elif now >= self._settled_at:
            self._frame_at = self._settled_at = None
            self.is_sure, self._must_point = True, False
            return None
        return self._motion.angle
