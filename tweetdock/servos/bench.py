"""The servos of both dials on the bench: each sent to a pulse, as gently as those of a gauge."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from tweetdock.core.errors import ServoError
from tweetdock.servos.needle import CHECK_SECONDS, LAST_US, Geometry, Needle
from tweetdock.servos.needles import Needles
from tweetdock.servos.servos import Servos

DEGREES_PER_US = 0.09  # of an ordinary servo: half a circle for 2000 us
# Every pulse that there is, each microsecond, and its degrees as an ordinary servo turns.
_SHORTEST_US, _LONGEST_US = LAST_US
RANGE = Geometry(
    min_angle=_SHORTEST_US * DEGREES_PER_US,
    max_angle=_LONGEST_US * DEGREES_PER_US,
    start_us=_SHORTEST_US,
    middle_us=(_SHORTEST_US + _LONGEST_US) / 2,
    end_us=_LONGEST_US,
    step_us=1.0,
)


class Bench:
    """The servos of both dials, each sent to a pulse; not from several threads.

    A needle rests until it is sent somewhere. It is assumed to stand at its start, where its
    first pulse therefore is. A backend that fails is connected again, see `trouble`. monotonic:
    seconds that nobody corrects.
    """

    def __init__(
        self,
        servos: Servos,
        starts_us: Sequence[int],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._servos = servos
        self._needles = Needles(
            servos, [Needle(RANGE, RANGE.angle(us), is_idle=True) for us in starts_us]
        )
        self._monotonic = monotonic
        self._sleep = sleep
        self.trouble = ""
        self._check_at = 0.0

    @property
    def name(self) -> str:
        """The name of the backend that moves them."""
        return self._servos.name

    def connect(self) -> None:
        """Reserve the pins; raises ServoError if that cannot be done."""
        self._servos.connect()

    def at_us(self, number: int) -> int:
        """The pulse at which a needle is."""
        return round(self._needles[number].pulse_us)

    def is_resting(self, number: int) -> bool:
        """Whether a needle stands where it was sent, without pulses."""
        needle = self._needles[number]
        return needle.is_resting and not needle.wants_to_move

    def was_moved(self, number: int) -> bool:
        """Whether a needle has had a pulse: before, nobody knows where it stands."""
        return self._needles[number].is_sure or not self._needles[number].is_resting

    def send(self, number: int, pulse_us: int) -> None:
        """Send a needle to a pulse; one that has not been moved yet is pointed in any case."""
        needle = self._needles[number]
        needle.aim(RANGE.angle(pulse_us))
        if not self.was_moved(number):
            needle.lose()

    def frame(self, now: float) -> bool:
        """One frame, `now` in seconds; False if all needles rest. Errors go to `trouble`."""
        try:
            if self.trouble:
                return self._reconnect(now)
            is_moving = self._needles.frame(now)
            if not is_moving and now >= self._check_at:
                self._check_at = now + CHECK_SECONDS
                self._servos.check()
        except ServoError as error:
            self._lose(error, now)
            return False
        return is_moving

    def pause(self) -> None:
        """End all pulses; needles on their way go on with the next frame."""
        for number, needle in enumerate(self._needles):
            if not needle.is_resting:
                needle.lose()
                with suppress(ServoError):
                    self._servos.rest(number)

    def go_home(self, homes_us: Sequence[int]) -> bool:
        """Bring home whichever needle was moved, and free the pins; whether they came there.

        It takes 1.5 seconds at most; what the backend has started is left to `close`.
        """
        homes = {
            number: RANGE.angle(home_us)
            for number, home_us in enumerate(homes_us)
            if self.was_moved(number)
        }
        try:
            return not self.trouble and self._needles.go_home(homes, self._monotonic, self._sleep)
        except ServoError:
            return False
        finally:
            self._servos.close()

    def close(self) -> None:
        """Free the pins at once, and end what the backend has started."""
        self._servos.close()
        self._servos.end()

    def _reconnect(self, now: float) -> bool:
        if now < self._check_at:
            return False
        self._servos.connect()
        self.trouble = ""
        return True

    def _lose(self, error: ServoError, now: float) -> None:
        self.trouble = str(error)
        self._check_at = now + CHECK_SECONDS
        for needle in self._needles:
            if not needle.is_resting:
                needle.lose()
        self._servos.close()
