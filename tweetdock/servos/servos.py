"""The servos of both dials on one gpiozero pin factory."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from gpiozero import Servo
from gpiozero.exc import GPIOZeroError
from gpiozero.pins.mock import MockFactory, MockPWMPin

from tweetdock.core.errors import ServoError
from tweetdock.settings.gauge import LAST_US

# To what a backend has started: pigpiod gives back the graphics memory of its Pi meanwhile.
END_SECONDS = 2.2
REMEMBERED = 1000  # states of a mock pin


class Servos(ABC):
    """Servos by number, sent to pulses. Every error is a ServoError; then close and connect.

    A backend says how a pin factory is opened and how pulses end without a kick.
    """

    name: ClassVar[str]
    foreign: tuple[type[Exception], ...] = (OSError, GPIOZeroError)
    # Added to every pulse: it is cut off to what the pin can do, and not to fall a unit short.
    spare_us: ClassVar[float] = 0.5

    def __init__(self, pins: Sequence[int]) -> None:
        self._pins = tuple(pins)
        self._factory: Any = None
        self._servos: list[Any] = []

    def connect(self) -> None:
        """Reserve the pins; no pulse is sent yet."""
        with self._translated():
            self._factory = self._open()
            for pin in self._pins:
                self._servos.append(self._servo(pin))

    def point(self, number: int, pulse_us: float) -> None:
        """Send pulses of a length within LAST_US."""
        shortest, longest = LAST_US
        with self._translated():
            # gpiozero's own scale of a servo, from its shortest pulse to its longest.
            self._servos[number].value = 2 * (pulse_us - shortest) / (longest - shortest) - 1

    def rest(self, number: int) -> None:
        """End the pulses; the needle stays where it is."""
        with self._translated():
            if self._servos[number].value is not None:
                self._end_pulses(self._servos[number], self._pins[number])

    def check(self) -> None:
        """Raise ServoError if the servos can no longer be reached."""
        with self._translated():
            self._ping()

    def close(self) -> None:
        """Free the pins, whatever state they are in; may be called again."""
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

    def end(self) -> None:  # noqa: B027 - most hold nothing else
        """Give up what else the backend holds, at the very end, END_SECONDS at most; any thread."""

    @abstractmethod
    def _open(self) -> Any:
        """A new pin factory."""

    def _end_pulses(self, servo: Any, pin: int) -> None:  # noqa: ARG002 - for who needs it
        servo.detach()

    def _ping(self) -> None:  # noqa: B027 - see below
        """Nothing to ask where the pins are our own."""

    def _servo(self, pin: int) -> Any:
        shortest, longest = ((us + self.spare_us) / 1e6 for us in LAST_US)
        return Servo(
            pin,
            initial_value=None,
            min_pulse_width=shortest,
            max_pulse_width=longest,
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
    """A mock pin that drops its oldest states: a gauge may run for a year."""

    def _change_state(self, value: float) -> bool:
        is_change = bool(super()._change_state(value))
        del self.states[:-REMEMBERED]
        return is_change


class MockServos(Servos):
    """No servos, but all of the way to them."""

    name: ClassVar[str] = "mock"

    def _open(self) -> Any:
        return MockFactory(pin_class=BoundedPin)
