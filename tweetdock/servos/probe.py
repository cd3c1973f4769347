"""What moves the servos, whether it works, and each dial's pulses; no servo moves."""

import os
import pwd
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tweetdock.core.address import host_and_port
from tweetdock.core.errors import ServoError
from tweetdock.core.finding import Check, Finding
from tweetdock.servos.calibration import USUAL_US
from tweetdock.servos.choice import PI_5_FAMILY, choose_backend
from tweetdock.servos.lgpio import INSTALLING
from tweetdock.servos.pigpiod import (
    LOOPBACKS,
    USE_LGPIO,
    TakenError,
    check_start,
    find,
)
from tweetdock.settings.gauge import DialSettings, Settings

PI = "Raspberry Pi"
DEVICES = Path("/dev")
_UNCALIBRATED = (1000, 2000, None)
_AUTO = "set TWEETDOCK_SERVO_BACKEND=auto"
_OTHER_PINS = {
    **dict.fromkeys((0, 1), "for the memory of a HAT"),
    **dict.fromkeys((2, 3), "an I2C line, held high by the board"),
    **dict.fromkeys((14, 15), "the serial console, which makes a servo twitch at the Pi's start"),
}


def checks(
    settings: Settings,
    model: str,
    program: Callable[[str], str | None],
    devices: Path = DEVICES,
) -> Iterator[Check]:
    """The checks; no pin is touched.

    model: of the machine's board, if it says so. program: finds one by its name.
    """

    def backend() -> Iterator[Finding]:
        name = choose_backend(settings.servo_backend, model, settings.pigpio_addr)
        if name == "mock":
            yield _mock(settings, model)
            return
        try:
            if name == "lgpio":
                says = _lgpio(model, devices)
            else:
                says = _pigpio(settings, model, program("pigpiod"), devices)
        except ServoError as error:
            yield Finding.trouble("servos", f"{name}: {error.what}", error.cure)
        else:
            yield Finding.well("servos", f"{name}: {says}")

    yield Check("servos", backend, ("TWEETDOCK_SERVO_", "PIGPIO_"))
    for name, dial in settings.dials.items():
        check = partial(_dial, name, dial)
        yield Check(f"{name} dial", check, (f"TWEETDOCK_{name.upper()}_",))


def _mock(settings: Settings, model: str) -> Finding:
    if settings.demo:
        return Finding.well("servos", "none: a demo moves no servo")
    if PI in model:
        says = "mock: no servo will move, though this is a Raspberry Pi"
        return Finding.warning("servos", says, f"{_AUTO}, which picks what suits this Pi")
    why = "asked for" if settings.servo_backend == "mock" else "as this is no Raspberry Pi"
    return Finding.well("servos", f"mock, {why}: the needles move on the page only")


def _pigpio(settings: Settings, model: str, program: str | None, devices: Path) -> str:
    if any(board in model for board in PI_5_FAMILY) and not settings.pigpio_addr:
        raise ServoError(f"it cannot run on a {_short(model)}", f"{_AUTO}, which uses lgpio here")
    addresses = (settings.pigpio_addr,) if settings.pigpio_addr else LOOPBACKS
    try:
        address, version, revision = find(addresses, settings.pigpio_port)
    except ServoError as error:
        if settings.pigpio_addr or isinstance(error, TakenError):
            raise
    else:
        where = host_and_port(address, settings.pigpio_port)
        board = f", on a board of revision {revision:x}" if revision else ""
        return f"pigpiod {version} answers at {where}{board}"
    if PI not in model:
        raise ServoError(
            "it was asked for, but this machine is no Raspberry Pi",
            f"name the Pi that has the servos: PIGPIO_ADDR=its-name; or {_AUTO}",
        )
    command = check_start(program)
    if os.geteuid() != 0:
        raise ServoError(
            "no pigpiod is running, and only root can start one",
            f"`sudo systemctl enable --now pigpiod`, or run TweetDock as root; or {USE_LGPIO}",
        )
    # What it opens at its start; https://github.com/joan2937/pigpio, initMboxs and initPeripherals.
    missing = [str(devices / name) for name in ("mem", "vcio") if not (devices / name).exists()]
    if missing:
        raise ServoError(
            f"pigpiod cannot run here without {' and '.join(missing)}",
            "a container has them by --privileged, and the Pi by the kernel of Raspberry Pi OS; "
            f"or {USE_LGPIO}",
        )
    return f"TweetDock starts {' '.join((command, *settings.pigpiod_options))} itself"


def _lgpio(model: str, devices: Path) -> str:
    if find_spec("lgpio") is None:
        raise ServoError("the package is not installed", INSTALLING)
    chips = sorted(devices.glob("gpiochip*"))
    if not chips:
        cure = "a container gets them from its Pi by --device /dev/gpiochip0"
        if PI not in model:
            cure = f"{_AUTO}, which does without; {cure}"
        raise ServoError(f"there are no pins here, that is, no {devices / 'gpiochip0'}", cure)
    if not any(os.access(chip, os.R_OK | os.W_OK) for chip in chips):
        raise ServoError(
            f"{chips[0]} may not be used by this user",
            f"`sudo usermod -aG gpio {_user()}`, then log in again, or restart the service",
        )
    board = f" of this {_short(model)}" if model else ""
    return f"the pins{board} are there; its pulses are less steady than pigpio's"


def _dial(name: str, dial: DialSettings) -> Iterator[Finding]:
    thing, prefix = f"{name} dial", f"TWEETDOCK_{name.upper()}"
    pulses = f"{dial.min_pulse_us} to {dial.max_pulse_us} µs"
    shortest, longest = USUAL_US
    is_wide = dial.min_pulse_us < shortest or dial.max_pulse_us > longest
    if is_wide:
        yield Finding.warning(
            thing,
            f"its pulses, {pulses}, go beyond {shortest} to {longest} µs, where most servos "
            "press against their stops and grow hot",
            f"`tweetdock calibrate` finds its ends; or set {prefix}_MIN_PULSE_US and "
            f"{prefix}_MAX_PULSE_US",
        )
    if use := _OTHER_PINS.get(dial.pin):
        cure = f"12, 13, 18 and 19 are free on every Pi: set {prefix}_PIN to one of them"
        yield Finding.warning(thing, f"GPIO {dial.pin} is {use}", cure)
    elif not is_wide:
        turned = ", reversed" * dial.reversed
        ends = (dial.min_pulse_us, dial.max_pulse_us, dial.mid_pulse_us)
        hint = "; not calibrated" * (ends == _UNCALIBRATED)
        angles = f"{dial.min_angle:g} to {dial.max_angle:g}°{turned}"
        says = f"GPIO {dial.pin}, {pulses} for {angles}, scale {dial.scale}{hint}"
        yield Finding.well(thing, says)


def _user() -> str:
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # of a container that was given a number only
        return str(number)


def _short(model: str) -> str:
    return model.partition(" Model")[0].partition(" Rev")[0]
