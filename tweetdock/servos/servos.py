"""The servos of both dials on one gpiozero pin factory."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from gpiozero.exc import GPIOZeroError
from gpiozero.pins.mock import MockFactory, MockPWMPin

from tweetdock.core.errors import ServoError
from tweetdock.settings.gauge import LAST_US

# To what a backend has started: pigpiod gives back the graphics memory of its Pi meanwhile.
END_SECONDS = 2.2
FRAMES_A_SECOND = 50
REMEMBERED = 1000  # states of a mock pin


class Servos(ABC):
    """Servos by number, sent to pulses. Every error is a ServoError; then close and connect.

    A backend says how a pin factory is opened and how pulses end without a kick.
    """

    name: ClassVar[str]
    foreign: tuple[type[Exception], ...] = (OSError, GPIOZeroError)
    # Added to every pulse: it is cut off to what the pin can do, and not to fall a unit short.
    spare_us: ClassVar[float] = 0.5

    def __init__(self, gpios: Sequence[int]) -> None:
        self._gpios = tuple(gpios)
        self._factory: Any = None
        self._pins: list[Any] = []

    def connect(self) -> None:
        """Reserve the pins; no pulse is sent yet."""
        with self._translated():
            self._factory = self._open()
            for gpio in self._gpios:
                self._pins.append(pin := self._factory.pin(gpio))
                pin.output_with_state(0)

    def point(self, number: int, pulse_us: float) -> None:
        """Send pulses of a length within LAST_US."""
        shortest, longest = LAST_US
        pin = self._pins[number]
        with self._translated():
            if pin.frequency is None:
                pin.frequency = FRAMES_A_SECOND
            us = min(max(pulse_us, shortest), longest) + self.spare_us
            self._pulse(pin, self._gpios[number], us * FRAMES_A_SECOND / 1e6)

    def rest(self, number: int) -> None:
        """End the pulses; the needle stays where it is."""
        with self._translated():
            if self._pins[number].frequency is not None:
                self._end_pulses(self._pins[number], self._gpios[number])

    def check(self) -> None:
        """Raise ServoError if the servos can no longer be reached."""
        with self._translated():
            self._ping()

    def close(self) -> None:
        """Free the pins, whatever state they are in; may be called again."""
        pins, self._pins = self._pins, []
        factory, self._factory = self._factory, None
        for pin in pins:
            with suppress(*self.foreign):
                pin.frequency = None
                pin.close()
        if factory is not None:
            with suppress(*self.foreign):
                factory.close()

    def end(self) -> None:  # noqa: B027 - most hold nothing else
        """Give up what else the backend holds, at the very end, END_SECONDS at most; any thread."""

    @abstractmethod
    def _open(self) -> Any:
        """A new pin factory."""

    def _pulse(self, pin: Any, gpio: int, share: float) -> None:  # noqa: ARG002 - for who needs it
        """Send pulses that are this share of a frame."""
        pin.state = share

    def _end_pulses(self, pin: Any, gpio: int) -> None:  # noqa: ARG002 - for who needs it
        pin.frequency = None

    def _ping(self) -> None:  # noqa: B027 - see below
        """Nothing to ask where the pins are our own."""

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


class MockServos(Servos):
    """No servos, but all of the way to them."""

    name: ClassVar[str] = "mock"

    def _open(self) -> Any:
        return MockFactory(pin_class=MockPWMPin)

    def _pulse(self, pin: Any, gpio: int, share: float) -> None:
        super()._pulse(pin, gpio, share)
        del pin.states[:-REMEMBERED]  # a gauge may run for a year
