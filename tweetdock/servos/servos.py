"""The servos of both dials on one gpiozero pin factory."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from gpiozero import Servo
from gpiozero.exc import GPIOZeroError
from gpiozero.pins.mock import MockFactory, MockPWMPin

from tweetdock.core.errors import ServoError
from tweetdock.settings.gauge import DialSettings

STEP_US = 5.0  # pigpiod's usual step, and about the dead band of a hobby servo
TWITCH = 0.8  # of a step: a target nearer than that to where the needle stands does not move it


# To what a backend has started: pigpiod gives back the graphics memory of its Pi meanwhile.
END_SECONDS = 2.2

REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a dial's angles and its servo's pulses belong together: by two straight pieces.

    The pulses are those at the least, the middle and the greatest angle; they only rise or only
    fall. A needle is told whole steps.
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
        start, end = dial.min_pulse_us, dial.max_pulse_us
        if dial.reversed:
            start, end = end, start
        middle = dial.mid_pulse_us
        halfway = (start + end) / 2
        return cls(
            dial.min_angle, dial.max_angle, start, halfway if middle is None else middle, end
        )

    @property
    def middle_angle(self) -> float:
        """The angle halfway, where the pieces meet."""
        return (self.min_angle + self.max_angle) / 2

    def pulse_us(self, angle: float) -> float:
        """The pulse of an angle; outside of the dial it is that of its end."""
        angle = min(max(angle, self.min_angle), self.max_angle)
        half = (self.max_angle - self.min_angle) / 2
        share = (angle - self.middle_angle) / half
        end_us = self.end_us if share > 0 else self.start_us
        return self.middle_us + abs(share) * (end_us - self.middle_us)

    def angle(self, pulse_us: float) -> float:
        """The angle of a pulse; outside of the dial it is the end that is nearer."""
        low, high = sorted((self.start_us, self.end_us))
        way = min(max(pulse_us, low), high) - self.middle_us
        rising = self.end_us - self.middle_us
        falling = self.start_us - self.middle_us
        half = (self.max_angle - self.min_angle) / 2
        if way * rising > 0:
            return self.middle_angle + half * way / rising
        return self.middle_angle - half * way / falling

    def snap(self, angle: float) -> float:
        """The nearest angle of which the pulse is a whole step, within the dial."""
        return self.angle(round(self.pulse_us(angle) / self.step_us) * self.step_us)

    def is_twitch(self, angle: float, other: float) -> bool:
        """Whether two angles are so near that no servo would show it."""
        return abs(self.pulse_us(angle) - self.pulse_us(other)) <= TWITCH * self.step_us


class Servos(ABC):
    """Servos by number, pointed in degrees. Every trouble is a ServoError; then close and connect.

    A backend says how a pin factory is opened and how pulses end without a kick.
    """

    name: ClassVar[str]
    foreign: tuple[type[Exception], ...] = (OSError, GPIOZeroError)
    # Added to every pulse: it is cut off to what the pin can do, and not to fall a unit short.
    spare_us: ClassVar[float] = 0.5
    # What a pulse is cut off to: needles are told whole steps only.
    step_us: float = STEP_US

    def __init__(self, dials: Sequence[DialSettings]) -> None:
        self._dials = tuple(dials)
        self._geometries = tuple(Geometry.of(dial) for dial in dials)
        self._factory: Any = None
        self._servos: list[Any] = []

    def connect(self) -> None:
        """Take hold of the pins; no pulse is sent yet."""
        with self._translated():
            self._factory = self._open()
            for dial in self._dials:
                self._servos.append(self._servo(dial))

    def point(self, number: int, angle: float) -> None:
        """Send the pulses of an angle, in degrees; outside of the dial it is its end."""
        dial, pulse_us = self._dials[number], self._geometries[number].pulse_us(angle)
        share = (pulse_us - dial.min_pulse_us) / (dial.max_pulse_us - dial.min_pulse_us)
        with self._translated():
            # gpiozero's own scale of a servo, from its shortest pulse to its longest.
            self._servos[number].value = min(max(2 * share - 1, -1.0), 1.0)

    def rest(self, number: int) -> None:
        """End the pulses; the needle stays where it is."""
        with self._translated():
            if self._servos[number].value is not None:
                self._end_pulses(self._servos[number], self._dials[number].pin)

    def check(self) -> None:
        """Raise ServoError if the servos can no longer be reached."""
        with self._translated():
            self._ping()

    def close(self) -> None:
        """Let go of the pins, whatever state they are in; may be called again."""
        servos, self._servos = self._servos, []
        factory, self._factory = self._factory, None
        for servo in servos:
            with suppress(*self.foreign):
                servo.close()
        if factory is not None:
            with suppress(*self.foreign):
                factory.close()
            # A servo that could not be made keeps its pin reserved as long as its error lives.
            factory._reservations.clear()  # noqa: SLF001 - there is no public way

    def end(self, seconds: float = 0.0) -> None:  # noqa: B027 - most hold nothing else
        """Give up what else the backend holds, at the very end, and wait for that so long.

        From any thread, more than once.
        """

    @abstractmethod
    def _open(self) -> Any:
        """A new pin factory."""

    def _end_pulses(self, servo: Any, pin: int) -> None:  # noqa: ARG002 - for who needs it
        servo.detach()

    def _ping(self) -> None:  # noqa: B027 - see below
        """Nothing to ask where the pins are our own."""

    def _servo(self, dial: DialSettings) -> Any:
        return Servo(
            dial.pin,
            initial_value=None,
            min_pulse_width=(dial.min_pulse_us + self.spare_us) / 1e6,
            max_pulse_width=(dial.max_pulse_us + self.spare_us) / 1e6,
            pin_factory=self._factory,
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ServoError:
            raise
        except self.foreign as error:
            raise self._translation(error) from error

    def _translation(self, error: Exception) -> ServoError:
        return ServoError(f"{self.name}: {type(error).__name__}: {error}")


class BoundedPin(MockPWMPin):  # type: ignore[misc]
    """A mock pin that forgets its oldest states: a gauge may run for a year."""

    def _change_state(self, value: float) -> bool:
        is_change = bool(super()._change_state(value))
        del self.states[:-REMEMBERED]
        return is_change


class MockServos(Servos):
    """No servos at all, but the very same way to them."""

    name: ClassVar[str] = "mock"

    def _open(self) -> Any:
        return MockFactory(pin_class=BoundedPin)
