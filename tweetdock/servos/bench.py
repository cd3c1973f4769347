"""Servos on the bench: both under hand by their pulses, moved as gently as those of the gauge."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from tweetdock.core.errors import ServoError
from tweetdock.servos.calibration import LAST_US
from tweetdock.servos.choice import make_servos
from tweetdock.servos.needle import Needle, Needles
from tweetdock.servos.needle_thread import CHECK_SECONDS
from tweetdock.servos.servos import END_SECONDS, Geometry, Servos
from tweetdock.settings.gauge import DialSettings, Settings

DEGREES_PER_US = 0.09  # of an ordinary servo: half a circle for 2000 us
FINEST_US = 1.0


def make_bench(settings: Settings, model: str, starts_us: Sequence[int]) -> "Bench":
    """The bench of the dials as they are set; nothing is reached for yet."""
    dials = [_free(settings.tweets), _free(settings.tweeters)]
    return Bench(
        make_servos(replace(settings, tweets=dials[0], tweeters=dials[1]), model), dials, starts_us
    )


class Bench:
    """The servos of both dials, each sent to a pulse; not from several threads.

    A needle rests until it is sent somewhere. It is thought to stand at its start, where its
    first pulse therefore is. A backend that falls silent is asked for again, see `trouble`.
    """

    def __init__(
        self, servos: Servos, dials: Sequence[DialSettings], starts_us: Sequence[int]
    ) -> None:
        self._servos = servos
        self._geometries = [replace(Geometry.of(dial), step_us=FINEST_US) for dial in dials]
        pairs = zip(self._geometries, starts_us, strict=True)
        self._hands = Needles(
            servos, [Needle(geometry, geometry.angle(us), is_idle=True) for geometry, us in pairs]
        )
        self.trouble = ""
        self._next_at = 0.0

    @property
    def name(self) -> str:
        """What moves them."""
        return self._servos.name

    @property
    def step_us(self) -> float:
        """What a pulse is cut off to."""
        return self._servos.step_us

    def connect(self) -> None:
        """Take hold of the pins; raises ServoError if they cannot be had."""
        self._servos.connect()

    def at_us(self, number: int) -> int:
        """The pulse at which a needle is."""
        return round(self._geometries[number].pulse_us(self._hands[number].angle))

    def is_resting(self, number: int) -> bool:
        """Whether a needle stands where it was sent, without pulses."""
        hand = self._hands[number]
        return hand.is_resting and not hand.wants_to_move

    def was_moved(self, number: int) -> bool:
        """Whether a needle has had a pulse: before, nobody knows where it stands."""
        return self._hands[number].is_sure or not self._hands[number].is_resting

    def send(self, number: int, pulse_us: int) -> None:
        """Send a needle to a pulse; one that has not been moved yet is pointed in any case."""
        hand = self._hands[number]
        hand.aim(self._geometries[number].angle(pulse_us))
        if not self.was_moved(number):
            hand.lose()

    def turn(self, now: float) -> bool:
        """One frame, `now` in seconds; False if all needles rest. Troubles are told, not raised."""
        try:
            if self.trouble:
                return self._mend(now)
            is_moving = self._hands.frame(now)
            if not is_moving and now >= self._next_at:
                self._next_at = now + CHECK_SECONDS
                self._servos.check()
        except ServoError as error:
            self._lose(error, now)
            return False
        return is_moving

    def pause(self) -> None:
        """End all pulses; needles on their way go on with the next turn."""
        for number, hand in enumerate(self._hands):
            if not hand.is_resting:
                hand.lose()
                with suppress(ServoError):
                    self._servos.rest(number)

    def leave(self, homes_us: Sequence[int]) -> bool:
        """Bring home whichever needle was moved, and let go; whether they came there.

        It takes 1.5 seconds at most; what the backend has started is left to `close`.
        """
        homes = {
            number: self._geometries[number].angle(home_us)
            for number, home_us in enumerate(homes_us)
            if self.was_moved(number)
        }
        try:
            return not self.trouble and self._hands.go_home(homes, time.monotonic, time.sleep)
        except ServoError:
            return False
        finally:
            self._servos.close()

    def close(self) -> None:
        """Let go of the pins at once, and end what the backend has started.

        That is waited for, END_SECONDS at most, and once however often this is called.
        """
        self._servos.close()
        self._servos.end(END_SECONDS)

    def _mend(self, now: float) -> bool:
        if now < self._next_at:
            return False
        self._servos.connect()
        self.trouble = ""
        return True

    def _lose(self, error: ServoError, now: float) -> None:
        self.trouble = str(error)
        self._next_at = now + CHECK_SECONDS
        for hand in self._hands:
            if not hand.is_resting:
                hand.lose()
        self._servos.close()


def _free(dial: DialSettings) -> DialSettings:
    """The same servo with all pulses that there are, and its degrees as an ordinary one turns."""
    low, high = LAST_US
    return replace(
        dial,
        min_angle=low * DEGREES_PER_US,
        max_angle=high * DEGREES_PER_US,
        min_pulse_us=low,
        max_pulse_us=high,
        mid_pulse_us=None,
        reversed=False,
    )
