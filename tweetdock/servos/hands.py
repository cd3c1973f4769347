"""The hands of a rig: turned frame by frame, and never started at the same moment."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from tweetdock.core.motion import SPEED
from tweetdock.servos.needle import Hand
from tweetdock.servos.servos import Rig

FRAME_SECONDS = 0.02  # a servo takes a pulse 50 times a second
STAGGER_SECONDS = 0.2  # two servos starting together trip the under-voltage of a Pi
FIRST_SPEED = 30.0  # degrees a second while it is only thought where the needle stands
HOME_SPEED = 360.0  # degrees a second; less than what a servo can, to be home before we are gone
HOME_STAGGER_SECONDS = 0.1
HOME_SECONDS = 1.3  # enough for both from a full scale of 180 degrees, one after the other


class Hands:
    """A hand for each servo of a rig; no clock of its own. Raises ServoError as the rig does."""

    def __init__(self, servos: Rig, hands: Sequence[Hand]) -> None:
        self._servos = servos
        self._hands = tuple(hands)
        self._started_at = float("-inf")

    def __iter__(self) -> Iterator[Hand]:
        return iter(self._hands)

    def __getitem__(self, number: int) -> Hand:
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
