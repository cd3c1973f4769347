"""A needle's way from here to there: eased at both ends, never faster than its limit."""

import math
from dataclasses import dataclass

SPEED = 120.0  # degrees a second; a bare hobby servo slams at about 500
ACCELERATION = 600.0  # degrees a second, each second
ARRIVED = 0.02  # degrees; far below what any servo can show


@dataclass(frozen=True, slots=True)
class Motion:
    """Where a needle is (degrees) and how fast it turns (degrees a second, signed)."""

    angle: float
    velocity: float = 0.0

    def is_at(self, target: float) -> bool:
        """Whether the needle stands on its target."""
        return self.angle == target and self.velocity == 0.0

    def step(self, target: float, seconds: float, speed: float = SPEED) -> "Motion":
        """The needle `seconds` later, on its way to `target`.

        Speeds up and brakes by at most ACCELERATION, and brakes early enough to stop on the
        target: the largest v with v*dt + v*v/2a <= distance. A target behind a moving needle
        is turned to by braking first, so no way leaves the span of start and targets.
        """
        way = target - self.angle
        gain = ACCELERATION * seconds
        braking = math.sqrt(gain * gain + 2 * ACCELERATION * abs(way)) - gain
        wanted = math.copysign(min(speed, braking), way)
        velocity = min(max(wanted, self.velocity - gain), self.velocity + gain)
        angle = self.angle + velocity * seconds
        if abs(target - angle) <= ARRIVED and abs(velocity) <= gain:
            return Motion(target)
        return Motion(angle, velocity)
