"""Minding a pigpiod of our own where none runs: started, watched, ended."""

import contextlib
import logging
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from tweetdock.errors import ServoError

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
LOCK = Path("/var/run/pigpio.pid")
START_SECONDS = 10.0
ANSWER_SECONDS = 2.0
END_SECONDS = 0.2
HUNG_SECONDS = 5.0
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


class Pigpiod:
    """The pigpiod of this machine, run as a child of ours."""

    def __init__(self, port: int, lock: Path = LOCK) -> None:
        self._port = port
        self._lock = lock
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Have it answer, within START_SECONDS; ServoError says why it does not."""
        program = shutil.which("pigpiod")
        where = f"{LOOPBACK}:{self._port}"
        if program is None:
            raise ServoError(
                f"no pigpiod answers at {where} and the program is not installed; "
                "on a Pi without it set TWEETDOCK_SERVO_BACKEND=lgpio"
            )
        self._clear()
        self._remove_stale_lock()
        # -g: in the foreground; -f -m: no pipe, no alerts; -n: only from this machine, IPv4.
        words = [program, "-g", "-f", "-m", "-n", LOOPBACK, "-p", str(self._port)]
        with tempfile.TemporaryFile() as errors:
            # A session of its own: Ctrl-C is for us, who rest the needles before it ends.
            self._child = subprocess.Popen(  # noqa: S603 - a fixed command
                words,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env=os.environ | {"PIGPIO_PORT": str(self._port)},  # to pigpiod it outranks -p
                start_new_session=True,
            )
            self._wait_until_it_answers(self._child)
            if self._child.poll() is not None:
                errors.seek(0)
                said = " ".join(errors.read(2000).decode(errors="replace").split())
                raise ServoError(f"pigpiod ended at once: {said or 'it did not say why'}")
        if not is_answering(LOOPBACK, self._port):
            self._clear()
            raise ServoError(f"pigpiod was started but does not answer at {where}")
        log.info("started pigpiod at %s", where)

    def end(self) -> None:
        """Ask it to end: by SIGTERM, so that it frees what it holds of the Pi's graphics memory."""
        if self._child is not None:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(END_SECONDS)

    def _clear(self) -> None:
        self.end()
        if self._child is not None and self._child.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(HUNG_SECONDS)
            self._child.kill()
            self._child.wait()
        self._child = None

    def _wait_until_it_answers(self, child: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and not is_answering(LOOPBACK, self._port):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.05)
                return

    def _remove_stale_lock(self) -> None:
        # In a container the lock of a killed pigpiod survives, and the pid in it is soon taken.
        try:
            pid = int(self._lock.read_text())
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except (OSError, ValueError):
            name = ""
        if name != "pigpiod":
            with contextlib.suppress(OSError):
                self._lock.unlink(missing_ok=True)
