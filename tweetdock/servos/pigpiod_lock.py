"""The lock of the machine's one pigpiod: who holds it, and what a dead one has left of it."""

import contextlib
import fcntl
from dataclasses import dataclass
from pathlib import Path

LOCK = Path("/var/run/pigpio.pid")


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a pigpiod from being started, and what its owner can do about it."""

    says: str
    cure: str


class PigpiodLock:
    """The lock at a path, or where every pigpiod has it.

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
        with contextlib.suppress(OSError):  # pigpiod itself tells of it
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
