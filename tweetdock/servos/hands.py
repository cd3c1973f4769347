"""The hands of a rig: turned frame by frame, and never started at the same moment."""

from collections.abc import Iterator, Sequence

from tweetdock.motion import SPEED
from tweetdock.servos.hand import Hand
from tweetdock.servos.rig import Rig

STAGGER_SECONDS = 0.2  # two servos starting together trip the under-voltage of a Pi
FIRST_SPEED = 30.0  # degrees a second while it is only thought where the needle stands


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
