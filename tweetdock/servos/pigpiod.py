"""A pigpiod of our own, started where none runs; whether one answers, and its last words."""

import contextlib
import fcntl
import logging
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tweetdock.core.address import host_and_port
from tweetdock.core.errors import ServoError, plain

log = logging.getLogger(__name__)

LOCK = Path("/var/run/pigpio.pid")
LOOPBACK = "127.0.0.1"
# `pigpiod -l`, the service of Raspberry Pi OS, listens at the second one only.
LOOPBACKS = (LOOPBACK, "::1")
START_SECONDS = 10.0
PROBE_SECONDS = 2.0
HUNG_SECONDS = 5.0
# pigpiod gets none of the owner's secrets, and does not answer to systemd in our place.
_WITHHELD = ("TWEETDOCK_", "X_", "AWS_", "NOTIFY_", "WATCHDOG_")
# PI_CMD_PIGPV and PI_CMD_HWVER, http://abyz.me.uk/rpi/pigpio/sif.html
VERSION, BOARD = 26, 17
_USAGE = "\npigpio V"  # where it begins to explain all its options; the reason is before
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+:")
_CONCLUSION = "Can't initialise pigpio library"  # says nothing that was not said before
USE_LGPIO = "set TWEETDOCK_SERVO_BACKEND=lgpio"
# -g: in the foreground; -f -m: no pipe, no alerts; -n: only from this machine, IPv4.
OWN_WORDS = ("-g", "-f", "-m", "-n", LOOPBACK, "-p")
# What pigpio.c says, and what the owner can do then; all else is shown as it is said.
_CURES = {
    "does not appear to be a raspberry pi": (
        f"pigpio knows the Pi Zero to 4 only: on a Pi 5 {USE_LGPIO}, on what is no Pi auto; an "
        "older Pi needs the kernel of Raspberry Pi OS and, in a container, --privileged"
    ),
    "you don't have permission to run this program": (
        "in a container it takes --privileged; elsewhere let the system run pigpiod "
        f"(sudo systemctl enable --now pigpiod), run TweetDock as root, or {USE_LGPIO}"
    ),
    "Can't lock ": (
        "nothing can be written there (docker run --read-only wants --tmpfs /run), or another "
        "pigpiod was quicker: stop that one (sudo systemctl stop pigpiod)"
    ),
    "(Address already in use)": (
        "another program has this port: set PIGPIO_PORT to a free one, such as 8889"
    ),
}


class Pigpiod:
    """The pigpiod of this machine, run as a child process.

    options: more arguments for it.
    """

    def __init__(self, port: int, options: Sequence[str] = ()) -> None:
        self._port = port
        self._options = options
        self._child: subprocess.Popen[bytes] | None = None
        self._is_over = False
        self._starting = threading.Lock()  # none may start while another thread ends them all

    def start(self) -> None:
        """Start it and wait until it answers, START_SECONDS at most; ServoError says why not."""
        program = shutil.which("pigpiod")
        where = host_and_port(LOOPBACK, self._port)
        self._kill()
        command = [check_start(program), *OWN_WORDS, str(self._port), *self._options]
        # A new one asks only whether the pid in it is taken: in a container that of a dead one
        # soon is.
        with contextlib.suppress(OSError):  # pigpiod itself reports it
            LOCK.unlink()
        with os.fdopen(os.memfd_create("pigpiod"), "w+b") as errors:  # a disk may be full
            with self._starting:
                if self._is_over:
                    raise ServoError("no pigpiod is started any more: this is the end")
                child = self._child = _run(command, self._port, errors)
            if not self._is_up(child):
                if child.poll() is None:
                    self._kill()
                    raise ServoError(f"pigpiod was started but does not answer at {where}")
                errors.seek(0)
                what, cure = last_words(errors.read().decode(errors="replace"))
                reason = what or _unexplained(child.returncode)
                raise ServoError(f"pigpiod ended at once: {reason}", cure)
        log.info("started pigpiod at %s", where)

    def end(self, seconds: float) -> None:
        """Ask it to end, for good, and wait for that so long; from any thread.

        It asks once, by SIGTERM, so that it frees what it holds of the Pi's graphics memory.
        Where our end is that of a container or a unit, a pigpiod that is not waited for is
        killed: it frees none.
        """
        with self._starting:
            was_over, self._is_over = self._is_over, True
        if self._child is not None and not was_over:
            _end(self._child, seconds)

    def _kill(self) -> None:
        """End the one that was started before, in good order if it still can."""
        if self._child is not None and not _end(self._child, HUNG_SECONDS):
            self._child.kill()
            self._child.wait()
        self._child = None

    def _is_up(self, child: subprocess.Popen[bytes]) -> bool:
        """Wait until it answers, START_SECONDS at most; False if it does not, or has ended."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and child.poll() is None:
            if is_answering(LOOPBACK, self._port):
                return True
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.05)
        return False


def check_start(program: str | None) -> str:
    """The program, if one can be started; else ServoError."""
    if program is None:
        raise ServoError(
            "no pigpiod is running, and the program is not installed",
            f"`sudo apt install pigpio` (Raspberry Pi OS 12 and before have it), or {USE_LGPIO}",
        )
    if _is_held(LOCK):
        raise ServoError(
            "another pigpiod holds the pins and does not answer",
            "stop it (sudo systemctl stop pigpiod, or sudo killall pigpiod), or set PIGPIO_PORT "
            "to its port",
        )
    return program


def _is_held(lock: Path) -> bool:
    """Whether a living pigpiod holds its lock, be it in another container.

    https://github.com/joan2937/pigpio, initGrabLockFile.
    """
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass  # it is not there, or not for us to read
    return False


class TakenError(ServoError):
    """The port of pigpiod is open, but no pigpiod answers there."""


def ask(address: str, port: int) -> tuple[int, int]:
    """The version of a pigpiod and its board's revision, each asked within PROBE_SECONDS.

    An open port alone is not enough: 8888 is also that of Jupyter. ServoError if none answers.
    """
    where = host_and_port(address, port)
    try:
        wire = socket.create_connection((address, port), PROBE_SECONDS)
    except (OSError, UnicodeError) as error:
        is_name = isinstance(error, socket.gaierror | UnicodeError)
        raise ServoError(
            f"the host {address} cannot be found" if is_name else f"no pigpiod answers at {where}",
            "start pigpiod there (`sudo pigpiod -n` and this machine's address lets us in), or "
            "check PIGPIO_ADDR and PIGPIO_PORT",
        ) from error
    with wire:
        wire.settimeout(PROBE_SECONDS)
        try:
            return _answer(wire, VERSION), _answer(wire, BOARD)
        except (OSError, ValueError) as error:
            raise TakenError(
                f"another program is at {where} (Jupyter uses 8888, too), or a pigpiod hangs there",
                "stop it, or give pigpiod another port: PIGPIO_PORT=8889",
            ) from error


def _answer(wire: socket.socket, command: int) -> int:
    question = struct.pack("<3I", command, 0, 0)
    wire.sendall(question + bytes(4))
    answer = wire.recv(16, socket.MSG_WAITALL)
    if len(answer) < 16 or answer[:12] != question:
        raise ValueError("no answer of pigpiod's")
    return int.from_bytes(answer[12:], "little")


def is_answering(address: str, port: int) -> bool:
    """Whether a pigpiod answers there."""
    try:
        ask(address, port)
    except ServoError:
        return False
    return True


def find(addresses: Sequence[str], port: int) -> tuple[str, int, int]:
    """The first of the addresses at which a pigpiod answers, its version and board's revision.

    ServoError if none does, a TakenError if another program is at one of them.
    """
    errors: list[ServoError] = []
    for address in addresses:
        try:
            return address, *ask(address, port)
        except ServoError as error:
            errors.append(error)
    raise next((error for error in errors if isinstance(error, TakenError)), errors[0])


def last_words(said: str) -> tuple[str, str]:
    """The last line of what pigpiod said, or the one with a known cure, and that; empty if none.

    The same error is always the same text, whatever time is stamped on it.
    """
    lines = [_bare(line) for line in said.partition(_USAGE)[0].splitlines()]
    lines = [line for line in lines if line]
    for words, cure in _CURES.items():
        for line in lines:
            if words in line:
                return line.removesuffix("."), cure
    return lines[-1] if lines else "", ""


def _bare(line: str) -> str:
    """A line without its time, and without the frame that is drawn around some."""
    words = plain(_STAMP.sub("", line)).strip(" +-|")
    return words.removesuffix(_CONCLUSION)


def _end(child: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Ask a pigpiod to end; whether it did so in time."""
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        log.warning(
            "pigpiod has not ended in %g seconds; if it is killed, the graphics memory "
            "that it holds is lost until the Pi restarts",
            seconds,
        )
        return False
    return True


def _run(command: Sequence[str], port: int, errors: IO[bytes]) -> "subprocess.Popen[bytes]":
    env = {name: v for name, v in os.environ.items() if not name.startswith(_WITHHELD)}
    try:
        return subprocess.Popen(  # noqa: S603 - a fixed command and the options of the owner
            command,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env=env | {"PIGPIO_PORT": str(port)},  # to pigpiod it outranks -p
            # A session of its own: Ctrl-C is for us, who rest the needles before it ends.
            start_new_session=True,
        )
    except OSError as error:
        raise ServoError(f"{command[0]} cannot be run: {error.strerror or error}") from error


def _unexplained(code: int) -> str:
    if code >= 0:
        return "it did not say why"
    return f"it did not say why; signal {-code}, {signal.strsignal(-code)}"
