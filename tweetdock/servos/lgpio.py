"""Servos through lgpio: the kernel's GPIO character device, the only way on a Pi 5."""

import contextlib
import importlib
import os
import tempfile
import time
from typing import Any, ClassVar

from gpiozero.exc import GPIOZeroError

from tweetdock.core.errors import ServoError
from tweetdock.servos.servos import Servos

# PyPI has lgpio built for Python 3.12 at most.
INSTALLING = (
    "`sudo apt install python3-lgpio`, and a virtual environment made with "
    "--system-site-packages; or, up to Python 3.12, pip install 'tweetdock[pi5]'"
)
# lg takes new settings at the end of a 20 ms frame: two and a bit are surely over.
TWO_FRAMES_SECONDS = 0.045


class LgpioServos(Servos):
    """Pulses timed by software in this process; they jitter under load, so they end soon."""

    name: ClassVar[str] = "lgpio"

    def _open(self) -> Any:
        # At import lgpio goes to this folder and leaves a pipe there, or fails where it may not.
        folder = os.environ.setdefault("LG_WD", tempfile.gettempdir())
        try:
            with contextlib.chdir(folder):
                lgpio = importlib.import_module("lgpio")
            pins = importlib.import_module("gpiozero.pins.lgpio")
        except ImportError as error:
            raise ServoError("lgpio: the package is not installed", INSTALLING) from error
        self.foreign = (*Servos.foreign, lgpio.error)
        try:
            factory = pins.LGPIOFactory()
        except (lgpio.error, GPIOZeroError) as error:
            raise ServoError(
                f"lgpio: {error}; is this a Pi, and may this user open /dev/gpiochip*?"
            ) from error
        factory.pin_class = _fine_pin(lgpio, pins.LGPIOPin)
        return factory

    def _end_pulses(self, pin: Any, gpio: int) -> None:
        # Ending the pulses amid one would leave the line high: the needle would run to its stop.
        pin.state = 0
        time.sleep(TWO_FRAMES_SECONDS)
        super()._end_pulses(pin, gpio)


def _fine_pin(lgpio: Any, coarse: type[Any]) -> type[Any]:
    class FinePin(coarse):  # type: ignore[misc]
        """gpiozero sends whole percents, 11 places on a dial; lg takes fractions, to 1 us."""

        _pwm: tuple[int, float] | None

        def _set_state(self, value: float) -> None:
            if not self._pwm:
                super()._set_state(value)
                return
            self._pwm = (self._pwm[0], value * 100)
            lgpio.tx_pwm(self.factory._handle, self._number, *self._pwm)  # noqa: SLF001

    return FinePin
