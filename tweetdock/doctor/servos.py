"""The doctor's checks of the servos: what moves them, whether it works, and each dial's pulses."""

import os
import pwd
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tweetdock.core.dial import DIALS
from tweetdock.doctor.checks import Check, Finding, Verdict
from tweetdock.doctor.machine import Machine
from tweetdock.servos.calibration import USUAL_US
from tweetdock.servos.choice import PI_5_FAMILY, choose_backend
from tweetdock.servos.lgpio import installing
from tweetdock.servos.pigpiod import (
    BOARD,
    HELD,
    LOOPBACKS,
    PROBE_SECONDS,
    STOP_OTHER,
    VERSION,
    ask,
    host_and_port,
    is_held,
)
from tweetdock.settings.gauge import DialSettings, Settings

DEVICES = Path("/dev")
_UNCALIBRATED = (1000, 2000, None)
_OTHER_PINS = {
    0: "for the memory of a HAT",
    1: "for the memory of a HAT",
    2: "an I2C line, held high by the board",
    3: "an I2C line, held high by the board",
    14: "the serial console, which makes a servo twitch when the Pi starts",
    15: "the serial console, which makes a servo twitch when the Pi starts",
}
_USE_LGPIO = "or use lgpio: TWEETDOCK_SERVO_BACKEND=lgpio"


def servo_checks(
    settings: Settings, machine: Machine, devices: Path = DEVICES, lock: Path | None = None
) -> list[Check]:
    """The checks; no servo moves and no pin is touched.

    lock: where pigpiod's lock is, if not at the usual place.
    """
    check = partial(_check_backend, settings, machine, devices, lock)
    dials = [
        Check(f"{name} dial", partial(_check_dial, name, getattr(settings, name))) for name in DIALS
    ]
    return [Check("servos", check), *dials]


@dataclass(frozen=True, slots=True)
class PigpiodAnswer:
    """What answered at an address; `trouble` is empty if that was a pigpiod."""

    where: str
    version: int = 0
    revision: int = 0
    trouble: str = ""
    is_open: bool = False


def ask_pigpiod(address: str, port: int) -> PigpiodAnswer:
    """Ask a pigpiod for its version and for its Pi, within a few seconds."""
    where = host_and_port(address, port)
    try:
        with socket.create_connection((address, port), PROBE_SECONDS) as wire:
            wire.settimeout(PROBE_SECONDS)
            try:
                version, revision = (ask(wire, command) for command in (VERSION, BOARD))
            except TimeoutError:
                trouble = "a program that does not answer: a pigpiod that hangs, or another program"
                return PigpiodAnswer(where, trouble=trouble, is_open=True)
            except (OSError, ValueError):
                return PigpiodAnswer(where, trouble="another program", is_open=True)
            return PigpiodAnswer(where, version, revision)
    except socket.gaierror:
        return PigpiodAnswer(where, trouble=f"the host {address} cannot be found")
    except (OSError, UnicodeError):
        return PigpiodAnswer(where, trouble=f"no pigpiod answers at {where}")


def _ask_any(addresses: Sequence[str], port: int) -> PigpiodAnswer:
    """The first answer of a pigpiod; else of another program, or the first."""
    found: list[PigpiodAnswer] = []
    for address in addresses:
        found.append(ask_pigpiod(address, port))
        if not found[-1].trouble:
            return found[-1]
    return max(found, key=lambda answer: answer.is_open)


def _check_backend(
    settings: Settings, machine: Machine, devices: Path, lock: Path | None
) -> Iterator[Finding]:
    wanted, model = settings.servo_backend, machine.model
    name = choose_backend(wanted, model, settings.pigpio_addr)
    if name == "mock":
        yield _mock(settings, machine)
    elif name == "lgpio":
        yield _lgpio(model, devices)
    elif any(board in model for board in PI_5_FAMILY) and not settings.pigpio_addr:
        cure = "set TWEETDOCK_SERVO_BACKEND=auto, which uses lgpio here"
        yield Finding("servos", Verdict.FAIL, f"pigpio cannot run on a {_short(model)}", cure)
    else:
        yield _pigpio(settings, machine, devices, lock)


def _mock(settings: Settings, machine: Machine) -> Finding:
    if settings.demo:
        return Finding("servos", Verdict.PASS, "none: a demo moves no servo")
    if machine.is_pi:
        says = "mock: no servo will move, though this is a Raspberry Pi"
        cure = "set TWEETDOCK_SERVO_BACKEND=auto, which picks what suits this Pi"
        return Finding("servos", Verdict.WARN, says, cure)
    why = "asked for" if settings.servo_backend == "mock" else "as this is no Raspberry Pi"
    return Finding("servos", Verdict.PASS, f"mock, {why}: the needles move on the page only")


def _pigpio(settings: Settings, machine: Machine, devices: Path, lock: Path | None) -> Finding:
    addresses = (settings.pigpio_addr,) if settings.pigpio_addr else LOOPBACKS
    found = _ask_any(addresses, settings.pigpio_port)
    where = found.where
    if not found.trouble:
        board = f", on a board of revision {found.revision:x}" if found.revision else ""
        says = f"pigpio: pigpiod {found.version} answers at {where}{board}"
        return Finding("servos", Verdict.PASS, says)
    if found.is_open:
        says = f"pigpio: at {where} is {found.trouble} (Jupyter uses 8888, too)"
        cure = "stop that, or give pigpiod another port: PIGPIO_PORT=8889; if it is a pigpiod, "
        cure += "restart it"
        return Finding("servos", Verdict.FAIL, says, cure)
    if settings.pigpio_addr:
        cure = (
            "start pigpiod there (`sudo pigpiod -n` and this machine's address lets us in), "
            "or check PIGPIO_ADDR and PIGPIO_PORT"
        )
        return Finding("servos", Verdict.FAIL, f"pigpio: {found.trouble}", cure)
    return _own_pigpiod(settings, machine, devices, lock)


def _own_pigpiod(settings: Settings, machine: Machine, devices: Path, lock: Path | None) -> Finding:
    program = machine.program("pigpiod")
    if not machine.is_pi:
        says = "pigpio was asked for, but this machine is no Raspberry Pi"
        cure = "name the Pi that has the servos: PIGPIO_ADDR=its-name; or set "
        cure += "TWEETDOCK_SERVO_BACKEND=auto"
        return Finding("servos", Verdict.FAIL, says, cure)
    if program is None:
        says = "pigpio: no pigpiod is running, and the program is not installed"
        cure = f"`sudo apt install pigpio` (Raspberry Pi OS 12 and before have it); {_USE_LGPIO}"
        return Finding("servos", Verdict.FAIL, says, cure)
    if is_held(lock):
        return Finding("servos", Verdict.FAIL, f"pigpio: {HELD}", STOP_OTHER)
    if os.geteuid() != 0:
        says = "pigpio: no pigpiod is running, and only root can start one"
        cure = f"`sudo systemctl enable --now pigpiod`, or run TweetDock as root; {_USE_LGPIO}"
        return Finding("servos", Verdict.FAIL, says, cure)
    # What it opens at its start; https://github.com/joan2937/pigpio, initMboxs and initPeripherals.
    missing = [str(devices / name) for name in ("mem", "vcio") if not (devices / name).exists()]
    if missing:
        says = f"pigpio: pigpiod cannot run here without {' and '.join(missing)}"
        cure = "a container has them by --privileged, and the Pi by the kernel of Raspberry Pi OS; "
        return Finding("servos", Verdict.FAIL, says, cure + _USE_LGPIO)
    command = " ".join((program, *settings.pigpiod_options))
    return Finding("servos", Verdict.PASS, f"pigpio: TweetDock starts {command} itself")


def _lgpio(model: str, devices: Path) -> Finding:
    if find_spec("lgpio") is None:
        says = "lgpio: the package is not installed"
        return Finding("servos", Verdict.FAIL, says, installing())
    chips = sorted(devices.glob("gpiochip*"))
    if not chips:
        says = f"lgpio: there are no pins here, that is, no {devices / 'gpiochip0'}"
        cure = "a container gets them from its Pi by --device /dev/gpiochip0"
        if not model:
            cure = f"TWEETDOCK_SERVO_BACKEND=auto does without; {cure}"
        return Finding("servos", Verdict.FAIL, says, cure)
    if not any(os.access(chip, os.R_OK | os.W_OK) for chip in chips):
        says = f"lgpio: {chips[0]} may not be used by this user"
        cure = f"`sudo usermod -aG gpio {_user()}`, then log in again, or restart the service"
        return Finding("servos", Verdict.FAIL, says, cure)
    board = f" of this {_short(model)}" if model else ""
    says = f"lgpio: the pins{board} are there; its pulses are less steady than pigpio's"
    return Finding("servos", Verdict.PASS, says)


def _check_dial(name: str, dial: DialSettings) -> Iterator[Finding]:
    thing, prefix = f"{name} dial", f"TWEETDOCK_{name.upper()}"
    pulses = f"{dial.min_pulse_us} to {dial.max_pulse_us} µs"
    is_odd = False
    shortest, longest = USUAL_US
    if dial.min_pulse_us < shortest or dial.max_pulse_us > longest:
        is_odd = True
        yield Finding(
            thing,
            Verdict.WARN,
            f"its pulses, {pulses}, go beyond {shortest} to {longest} µs, where most servos "
            "press against their stops and grow hot",
            f"`tweetdock calibrate` finds its ends; or set {prefix}_MIN_PULSE_US and "
            f"{prefix}_MAX_PULSE_US",
        )
    if dial.pin in _OTHER_PINS:
        is_odd = True
        says = f"GPIO {dial.pin} is {_OTHER_PINS[dial.pin]}"
        cure = f"12, 13, 18 and 19 are free on every Pi: set {prefix}_PIN to one of them"
        yield Finding(thing, Verdict.WARN, says, cure)
    if not is_odd:
        angles = f"{dial.min_angle:g} to {dial.max_angle:g}°"
        turned = ", reversed" * dial.reversed
        is_usual = (dial.min_pulse_us, dial.max_pulse_us, dial.mid_pulse_us) == _UNCALIBRATED
        hint = "; not calibrated" * is_usual
        says = f"GPIO {dial.pin}, {pulses} for {angles}{turned}, scale {dial.scale}{hint}"
        yield Finding(thing, Verdict.PASS, says)


def _user() -> str:
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # of a container that was given a number only
        return str(number)


def _short(model: str) -> str:
    return model.partition(" Model")[0].partition(" Rev")[0]
