"""Servos through lgpio: the kernel's GPIO character device, the only way on a Pi 5."""

import contextlib
import importlib
import os
import tempfile
import time
from typing import Any, ClassVar

from gpiozero.exc import GPIOZeroError

from tweetdock.core.errors import ServoError
from tweetdock.servos.servos import FRAMES_A_SECOND, Servos

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
        self._tx_pwm = lgpio.tx_pwm
        return factory

    def _pulse(self, pin: Any, gpio: int, share: float) -> None:  # noqa: ARG002 - known by its number
        # gpiozero would send whole percents, 11 places on a dial; lg takes fractions, to 1 us.
        self._tx_pwm(self._factory._handle, gpio, FRAMES_A_SECOND, share * 100)  # noqa: SLF001

    def _end_pulses(self, pin: Any, gpio: int) -> None:
        # Ending the pulses amid one would leave the line high: the needle would run to its stop.
        self._pulse(pin, gpio, 0.0)
        time.sleep(TWO_FRAMES_SECONDS)
        super()._end_pulses(pin, gpio)
