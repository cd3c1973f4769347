"""Minding a pigpiod of our own where none runs: started, watched, ended."""

import contextlib
import logging
import os
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

from tweetdock.core.errors import ServoError
from tweetdock.servos.pigpiod_lock import PigpiodLock
from tweetdock.servos.pigpiod_words import explained

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
# `pigpiod -l`, the service of Raspberry Pi OS, listens at the second one only.
LOOPBACKS = (LOOPBACK, "::1")
START_SECONDS = 10.0
ANSWER_SECONDS = 2.0
HUNG_SECONDS = 5.0
# The owner's secrets are not pigpiod's business, and to systemd only we may speak.
_WITHHELD = ("TWEETDOCK_", "X_", "AWS_", "NOTIFY_", "WATCHDOG_")
# PI_CMD_PIGPV and PI_CMD_HWVER, http://abyz.me.uk/rpi/pigpio/sif.html
VERSION, BOARD = 26, 17


def ask(wire: socket.socket, command: int) -> int:
    """What pigpiod answers to a command without parameters; ValueError if no pigpiod does."""
    question = struct.pack("<3I", command, 0, 0)
    wire.sendall(question + bytes(4))
    answer = wire.recv(16, socket.MSG_WAITALL)
    if len(answer) < 16 or answer[:12] != question:
        raise ValueError("no answer of pigpiod's")
    return int.from_bytes(answer[12:], "little")


def is_answering(address: str, port: int) -> bool:
    """Whether a pigpiod answers there within ANSWER_SECONDS; an open port alone is not enough.

    Its port, 8888, is also that of Jupyter: the answer must be pigpiod's own.
    """
    try:
        with socket.create_connection((address, port), ANSWER_SECONDS) as wire:
            wire.settimeout(ANSWER_SECONDS)
            ask(wire, VERSION)
    except (OSError, ValueError):
        return False
    return True


def find(addresses: Sequence[str], port: int) -> str:
    """The first of the addresses at which a pigpiod answers; empty if none does."""
    return next((address for address in addresses if is_answering(address, port)), "")


def place(address: str, port: int) -> str:
    """An address and a port as people write them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Pigpiod:
    """The pigpiod of this machine, run as a child of ours.

    lock: where its lock is, if not at the usual place; options: more words for it.
    """

    def __init__(self, port: int, lock: Path | None = None, options: Sequence[str] = ()) -> None:
        self._port = port
        self._lock = PigpiodLock(lock)
        self._options = options
        self._child: subprocess.Popen[bytes] | None = None
        self._is_asked_to_end = False
        self._is_over = False
        self._waits_until: float | None = None
        self._door = threading.Lock()  # none is started behind the back of who ends it

    def start(self) -> None:
        """Have it answer, within START_SECONDS; ServoError says why it does not."""
        program = shutil.which("pigpiod")
        where = place(LOOPBACK, self._port)
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
        words = [program, "-g", "-f", "-m", "-n", LOOPBACK, "-p", str(self._port), *self._options]
        with os.fdopen(os.memfd_create("pigpiod"), "w+b") as errors:  # a disk may be full
            with self._door:
                if self._is_over:
                    raise ServoError("no pigpiod is started any more: this is the end")
                child = self._child = _run(words, self._port, errors)
                self._is_asked_to_end = False
            self._wait_until_it_answers(child)
            if child.poll() is not None:
                errors.seek(0)
                said = errors.read().decode(errors="replace")
                reason = explained(said) or _without_a_word(child.returncode)
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
        with self._door:
            self._is_over = True
            is_first = bool(seconds) and self._waits_until is None
            if is_first:
                self._waits_until = now + seconds
            left = max((self._waits_until or now) - now, 0.0)
        self._ask_to_end(min(seconds, left), is_told=is_first)

    def _ask_to_end(self, seconds: float, *, is_told: bool) -> None:
        with self._door:
            child = self._child
            if child is None:
                return
            if not self._is_asked_to_end:
                self._is_asked_to_end = True
                child.terminate()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            if is_told:
                log.warning(
                    "pigpiod has not ended in %g seconds; if it is killed, the graphics memory "
                    "that it holds is lost until the Pi restarts",
                    seconds,
                )

    def _clear(self) -> None:
        self._ask_to_end(HUNG_SECONDS, is_told=True)
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


def _run(words: Sequence[str], port: int, errors: IO[bytes]) -> "subprocess.Popen[bytes]":
    env = {name: v for name, v in os.environ.items() if not name.startswith(_WITHHELD)}
    try:
        return subprocess.Popen(  # noqa: S603 - a fixed command and options that were checked
            words,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env=env | {"PIGPIO_PORT": str(port)},  # to pigpiod it outranks -p
            # A session of its own: Ctrl-C is for us, who rest the needles before it ends.
            start_new_session=True,
        )
    except OSError as error:
        raise ServoError(f"{words[0]} cannot be run: {error.strerror or error}") from error


def _without_a_word(code: int) -> str:
    if code >= 0:
        return "it did not say why"
    return f"it did not say why; signal {-code}, {signal.strsignal(-code)}"
