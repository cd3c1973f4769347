"""One needle: where it stands, where it goes, when it may rest; no wire, no clock."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from tweetdock.core.motion import SPEED, Motion
from tweetdock.servos.servos import Geometry, Servos

SETTLE_SECONDS = 0.4  # a servo hangs behind its pulses; only then may they end


FRAME_SECONDS = 0.02  # a servo takes a pulse 50 times a second
STAGGER_SECONDS = 0.2  # two servos starting together trip the under-voltage of a Pi
FIRST_SPEED = 30.0  # degrees a second while it is only thought where the needle stands
HOME_SPEED = 360.0  # degrees a second; less than what a servo can, to be home before we are gone
HOME_STAGGER_SECONDS = 0.1
HOME_SECONDS = 1.3  # enough for both from a full scale of 180 degrees, one after the other


class Needle:
    """A needle's state, turned frame by frame.

    It starts at rest at `angle`, but that is only thought (`is_sure`): its first move is made
    even if the target is where it should stand already; is_idle: not before it is aimed elsewhere.
    """

    def __init__(self, geometry: Geometry, angle: float, *, is_idle: bool = False) -> None:
        self._geometry = geometry
        self._motion = Motion(angle)
        self._target = angle
        self.is_sure = False
        self._must_point = not is_idle
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
        if not self._geometry.is_twitch(angle, self._target):
            self._target = self._geometry.snap(angle)

    def is_near(self, angle: float) -> bool:
        """Whether the needle stands there, but for less than a step."""
        return self._geometry.is_twitch(angle, self._motion.angle)

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


class Needles:
    """A hand for each servo of a rig; no clock of its own. Raises ServoError as the rig does."""

    def __init__(self, servos: Servos, hands: Sequence[Needle]) -> None:
        self._servos = servos
        self._hands = tuple(hands)
        self._started_at = float("-inf")

    def __iter__(self) -> Iterator[Needle]:
        return iter(self._hands)

    def __getitem__(self, number: int) -> Needle:
        return self._hands[number]

    def aim(self, angles: Sequence[float]) -> None:
        """Send each hand to its angle, in degrees."""
        for hand, angle in zip(self._hands, angles, strict=True):
            hand.aim(angle)

    def frame(
        self, now: float, speed: float | None = None, stagger: float = STAGGER_SECONDS
    ) -> bool:
        """One frame of every hand on its way; False if all of them rest.

        now in seconds, speed in degrees a second: without it, slow while a needle is not sure.
        """
        for number, hand in enumerate(self._hands):
            if hand.wants_to_move and now - self._started_at >= stagger:
                self._started_at = now
                hand.start(now)
            if hand.is_resting:
                continue
            order = hand.frame(now, speed or (SPEED if hand.is_sure else FIRST_SPEED))
            if order is None:
                self._servos.rest(number)
            else:
                self._servos.point(number, order)
        return any(not hand.is_resting or hand.wants_to_move for hand in self._hands)

    def go_home(
        self,
        angles: Mapping[int, float],
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> bool:
        """Bring these hands to their angles and end their pulses; whether they came there.

        angles in degrees, by the hands' numbers. It takes HOME_SECONDS at most.
        """
        for number, angle in angles.items():
            self._hands[number].aim(angle)
        end = monotonic() + HOME_SECONDS
        while (now := monotonic()) < end and self.frame(now, HOME_SPEED, HOME_STAGGER_SECONDS):
            sleep(FRAME_SECONDS)
        for number in angles:
            self._servos.rest(number)
        # A needle within a step of home is home: a whole step is all that it can be told.
        return all(self._hands[number].is_near(angle) for number, angle in angles.items())
