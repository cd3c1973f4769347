"""Which backend moves the needles of this machine."""

from pathlib import Path
from typing import TYPE_CHECKING

from tweetdock.settings.gauge import Settings

if TYPE_CHECKING:
    from tweetdock.servos.servos import Servos

MODEL = Path("/proc/device-tree/model")
CPUINFO = Path("/proc/cpuinfo")
PI_5_FAMILY = ("Raspberry Pi 5", "Compute Module 5", "Raspberry Pi 500")


def choose_backend(wanted: str, model: str, pigpio_addr: str) -> str:
    """`pigpio`, `lgpio` or `mock`; `auto` goes by the Pi's model (empty: not a Pi).

    pigpio cannot run on the Pi 5, which has its pins in another chip.
    """
    if wanted != "auto":
        return wanted
    if pigpio_addr:
        return "pigpio"
    if "Raspberry Pi" not in model:
        return "mock"
    return "lgpio" if any(name in model for name in PI_5_FAMILY) else "pigpio"


def read_model(path: Path = MODEL, cpuinfo: Path = CPUINFO) -> str:
    """The name of this machine's board; empty if it does not say.

    A container without privileges sees no device tree: there it is in `cpuinfo`, of a Pi's kernel.
    """
    if model := text_of(path):
        return model
    lines = (line.partition(":") for line in text_of(cpuinfo).splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == "Model"), "")


def text_of(path: Path) -> str:
    """What a file of the kernel says of the machine; nothing if it is not there."""
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def make_servos(settings: Settings, model: str) -> "Servos":
    """The backend that the settings and the machine ask for; nothing is connected yet."""
    pins = tuple(dial.pin for dial in settings.dials.values())
    name = choose_backend(settings.servo_backend, model, settings.pigpio_addr)
    # Each brings libraries of its own: only the one in use is imported.
    if name == "pigpio":
        from tweetdock.servos.pigpio import PigpioServos  # noqa: PLC0415

        return PigpioServos(
            pins, settings.pigpio_addr, settings.pigpio_port, settings.pigpiod_options
        )
    if name == "lgpio":
        from tweetdock.servos.lgpio import LgpioServos  # noqa: PLC0415

        return LgpioServos(pins)
    from tweetdock.servos.servos import MockServos  # noqa: PLC0415

    return MockServos(pins)
