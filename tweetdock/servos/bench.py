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


class Bench(Needles):
    """The needles of both dials, each sent to a pulse; not from several threads.

    A needle rests until it is sent somewhere. It is assumed to stand at its start, where its
    first pulse therefore is. monotonic: seconds that nobody corrects.
    """

    def __init__(
        self,
        servos: Servos,
        starts_us: Sequence[int],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        needles = [Needle(RANGE, RANGE.angle(us), is_idle=True) for us in starts_us]
        super().__init__(servos, needles, longest_pause=CHECK_SECONDS)
        self.name = servos.name
        self._monotonic = monotonic
        self._sleep = sleep

    def send(self, number: int, pulse_us: int) -> None:
        """Send a needle to a pulse; one that has not been moved yet is pointed in any case."""
        needle = self[number]
        needle.aim(RANGE.angle(pulse_us))
        if not needle.was_moved:
            needle.must_point = True

    def pause(self) -> None:
        """End all pulses; needles on their way go on with the next turn."""
        for number, needle in enumerate(self):
            if not needle.is_resting:
                needle.lose()
                with suppress(ServoError):
                    self._servos.rest(number)

    def go_back(self, homes_us: Sequence[int]) -> bool:
        """Bring home whichever needle was moved, and free the pins; whether they came there.

        It takes 1.5 seconds at most; what the backend has started is left to `close`.
        """
        homes = {
            number: RANGE.angle(home_us)
            for number, home_us in enumerate(homes_us)
            if self[number].was_moved
        }
        are_home = self.go_home(homes, self._monotonic, self._sleep)
        self._servos.close()
        return are_home

    def close(self) -> None:
        """Free the pins at once, and end what the backend has started."""
        self._servos.close()
        self._servos.end()
