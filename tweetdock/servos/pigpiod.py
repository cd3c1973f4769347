"""A pigpiod of our own, started where none runs; whether one answers, and what its errors mean."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import IO

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
_LONGEST_END = 150  # characters kept of each end of what it says
# Where pigpiod begins to explain all its options; the reason is before.
_USAGE = re.compile(r"^(pigpio V\d+|Usage: )", re.MULTILINE)
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+:", re.MULTILINE)
_FRAME = re.compile(r"\+-+\+|^\||\|$", re.MULTILINE)
_CONCLUSION = "Can't initialise pigpio library"  # says nothing that was not said before
_USE_LGPIO = "set TWEETDOCK_SERVO_BACKEND=lgpio"
# Errors of pigpio.c and pigpiod.c, %m as strerror has it, and what the owner can do then.
_CURES = {
    r"does not appear to be a raspberry pi": (
        f"pigpio knows the Pi Zero to 4 only: on a Pi 5 {_USE_LGPIO}, on what is no Pi auto; an "
        "older Pi needs the kernel of Raspberry Pi OS and, in a container, --privileged"
    ),
    r"you don't have permission to run this program": (
        "in a container it takes --privileged; elsewhere let the system run pigpiod "
        f"(sudo systemctl enable --now pigpiod), run TweetDock as root, or {_USE_LGPIO}"
    ),
    r"Can't lock ": (
        "nothing can be written there (docker run --read-only wants --tmpfs /run), or another "
        "pigpiod was quicker: stop that one (sudo systemctl stop pigpiod)"
    ),
    r"mmap \w+ failed \(Operation not permitted\)": (
        f"this kernel keeps the Pi's memory closed: {_USE_LGPIO}, or run the kernel of Raspberry "
        "Pi OS, or start this one with iomem=relaxed"
    ),
    r"mmap [\w ]+ failed \(Resource temporarily unavailable\)": (
        "it may not lock as much memory as it needs: docker run --ulimit memlock=-1, elsewhere "
        "ulimit -l unlimited; or leave -b out of TWEETDOCK_PIGPIOD_OPTIONS"
    ),
    r"mbox open failed": (
        "there is no /dev/vcio here: it takes the kernel of Raspberry Pi OS and, in a container, "
        f"--privileged; or {_USE_LGPIO}"
    ),
    r"init mbox zaps failed": (
        "the graphics memory that it needs is used up, as after pigpiods that were killed: "
        "restart the Pi"
    ),
    r"pagemap|initZaps failed": (
        "leave -a 1, and a -b beyond 120, out of TWEETDOCK_PIGPIOD_OPTIONS"
    ),
    r"bind to port \d+ failed \(Address already in use\)": (
        "another program has this port: set PIGPIO_PORT to a free one, such as 8889"
    ),
    r"bind to port \d+ failed \(Cannot assign requested address\)": (
        "it wants an address that this machine does not have, such as ::1 where IPv6 is off: see "
        "what `ip address show lo` tells"
    ),
    r"chmod /dev/pigerr failed": (
        "it makes a pipe there, and may not: let /dev be writable (in a container, mount it "
        f"not read-only), or {_USE_LGPIO}"
    ),
    r"invalid -n option|invalid option -- '[fgmn]'": (
        "that is TweetDock's own word, so this pigpiod is too old for it: start it yourself (sudo "
        "pigpiod -l), or install pigpio 1.78"
    ),
    r"invalid -p option": "set PIGPIO_PORT to a number from 1024 to 32000",
    r"Usage: sudo pigpiod|invalid -\w option": (
        "this pigpiod does not know one of TWEETDOCK_PIGPIOD_OPTIONS"
    ),
}


class Pigpiod:
    """The pigpiod of this machine, run as a child process.

    lock: where its lock is, if not at the usual place; options: more arguments for it.
    """

    def __init__(self, port: int, lock: Path | None = None, options: Sequence[str] = ()) -> None:
        self._port = port
        self._lock = PigpiodLock(lock)
        self._options = options
        self._child: subprocess.Popen[bytes] | None = None
        self._is_asked_to_end = False
        self._is_over = False
        self._waits_until: float | None = None
        self._starting = threading.Lock()  # none may start while another thread ends them all

    def start(self) -> None:
        """Start it and wait until it answers, START_SECONDS at most; ServoError says why not."""
        program = shutil.which("pigpiod")
        where = host_and_port(LOOPBACK, self._port)
        if program is None:
            raise ServoError(
                f"no pigpiod answers at {where} and the program is not installed; "
                "on a Pi without it set TWEETDOCK_SERVO_BACKEND=lgpio"
            )
        self._clear()
        if obstacle := self._lock.obstacle(self._port):
            raise ServoError(f"pigpiod is not started: {obstacle.says}: {obstacle.cure}")
        self._lock.remove()
        # -g: in the foreground; -f -m: no pipe, no alerts; -n: only from this machine, IPv4.
        command = [program, "-g", "-f", "-m", "-n", LOOPBACK, "-p", str(self._port), *self._options]
        with os.fdopen(os.memfd_create("pigpiod"), "w+b") as errors:  # a disk may be full
            with self._starting:
                if self._is_over:
                    raise ServoError("no pigpiod is started any more: this is the end")
                child = self._child = _run(command, self._port, errors)
                self._is_asked_to_end = False
            self._wait_until_it_answers(child)
            if child.poll() is not None:
                errors.seek(0)
                said = errors.read().decode(errors="replace")
                reason = explained(said) or _unexplained(child.returncode)
                raise ServoError(f"pigpiod ended at once: {reason}")
        if not is_answering(LOOPBACK, self._port):
            self._clear()
            raise ServoError(f"pigpiod was started but does not answer at {where}")
        log.info("started pigpiod at %s", where)

    def end(self, seconds: float = 0.0) -> None:
        """Ask it to end, for good, and wait for that so long; from any thread.

        However often it is called, it waits once, as the first call with seconds says. It asks by
        SIGTERM, so that it frees what it holds of the Pi's graphics memory. Where our end is
        that of a container or a unit, a pigpiod that is not waited for is killed: it frees none.
        """
        now = time.monotonic()
        with self._starting:
            self._is_over = True
            is_first = bool(seconds) and self._waits_until is None
            if is_first:
                self._waits_until = now + seconds
            left = max((self._waits_until or now) - now, 0.0)
        self._ask_to_end(min(seconds, left), is_logged=is_first)

    def _ask_to_end(self, seconds: float, *, is_logged: bool) -> None:
        with self._starting:
            child = self._child
            if child is None:
                return
            if not self._is_asked_to_end:
                self._is_asked_to_end = True
                child.terminate()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            if is_logged:
                log.warning(
                    "pigpiod has not ended in %g seconds; if it is killed, the graphics memory "
                    "that it holds is lost until the Pi restarts",
                    seconds,
                )

    def _clear(self) -> None:
        self._ask_to_end(HUNG_SECONDS, is_logged=True)
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self._child = None

    def _wait_until_it_answers(self, child: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and not is_answering(LOOPBACK, self._port):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.05)
                return


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a pigpiod from being started, and what its owner can do about it."""

    says: str
    cure: str


class PigpiodLock:
    """The lock of a pigpiod: at a path, or where every one has it.

    A living one holds it by flock; but a new one asks only whether the pid in it is taken. In a
    container that of a dead one soon is, and that of a living one may be unknown.
    https://github.com/joan2937/pigpio, initCheckLockFile and initGrabLockFile.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or LOCK

    def obstacle(self, port: int) -> Obstacle | None:
        """What is in the way of a new pigpiod where none answers at a port; None if nothing is."""
        if self._path.is_dir():
            return Obstacle(
                f"{self._path} is a folder, where pigpiod needs a file",
                f"remove it (sudo rmdir {self._path}), or do not mount it: Docker makes a folder "
                "of a file that is to be mounted and is not there",
            )
        if self._is_held():
            return Obstacle(
                f"Can't lock {self._path}; another pigpiod holds the pins and does not answer at "
                f"port {port}",
                "stop it (sudo systemctl stop pigpiod, or sudo killall pigpiod), or set "
                "PIGPIO_PORT to its port",
            )
        return None

    def remove(self) -> None:
        """Remove what a dead pigpiod has left; only where there is no obstacle."""
        with contextlib.suppress(OSError):  # pigpiod itself reports it
            self._path.unlink()

    def _is_held(self) -> bool:
        try:
            with self._path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass  # it is not there, or not for us to read
        return False


def ask(wire: socket.socket, command: int) -> int:
    """What pigpiod answers to a command without parameters; ValueError if no pigpiod does."""
    question = struct.pack("<3I", command, 0, 0)
    wire.sendall(question + bytes(4))
    answer = wire.recv(16, socket.MSG_WAITALL)
    if len(answer) < 16 or answer[:12] != question:
        raise ValueError("no answer of pigpiod's")
    return int.from_bytes(answer[12:], "little")


def is_answering(address: str, port: int) -> bool:
    """Whether a pigpiod answers there within PROBE_SECONDS; an open port alone is not enough.

    Its port, 8888, is also that of Jupyter: the answer must be pigpiod's own.
    """
    try:
        with socket.create_connection((address, port), PROBE_SECONDS) as wire:
            wire.settimeout(PROBE_SECONDS)
            ask(wire, VERSION)
    except (OSError, ValueError):
        return False
    return True


def find(addresses: Sequence[str], port: int) -> str:
    """The first of the addresses at which a pigpiod answers; empty if none does."""
    return next((address for address in addresses if is_answering(address, port)), "")


def host_and_port(address: str, port: int) -> str:
    """An address and a port as people write them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def explained(said: str) -> str:
    """What pigpiod said, and the cure if there is one; nothing if it said nothing.

    The same error is always the same text, whatever time is stamped on it.
    """
    reason = _reason(said)
    for pattern, cure in _CURES.items():
        if re.search(pattern, said):
            return "; ".join(filter(None, (reason.removesuffix("."), cure)))
    return reason


def _reason(said: str) -> str:
    text = _FRAME.sub("", _USAGE.split(said, maxsplit=1)[0])
    pieces = (" ".join(plain(piece).split()) for piece in _STAMP.split(text))
    reasons = [bare for piece in pieces if (bare := piece.removesuffix(_CONCLUSION).strip())]
    reason = "; ".join(reasons) or (_CONCLUSION if _CONCLUSION in said else "")
    if len(reason) <= 2 * _LONGEST_END:
        return reason
    return f"{reason[:_LONGEST_END].rstrip()} ... {reason[-_LONGEST_END:].lstrip()}"


def _run(command: Sequence[str], port: int, errors: IO[bytes]) -> "subprocess.Popen[bytes]":
    env = {name: v for name, v in os.environ.items() if not name.startswith(_WITHHELD)}
    try:
        return subprocess.Popen(  # noqa: S603 - a fixed command and options that were checked
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
