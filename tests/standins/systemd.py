"""A stand-in of systemd: the socket of NOTIFY_SOCKET, and what was sent to it."""

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

LIMIT = 15.0


class NotifySocket:
    """Listens at `name`, a path or, with an @ before it, a name in the abstract."""

    def __init__(self, name: Path | str) -> None:
        self.name = str(name)
        self.received: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        at = self.name
        self._socket.bind("\0" + at[1:] if at.startswith("@") else at)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        with contextlib.suppress(OSError):
            Path(self.name).unlink()

    @property
    def lines(self) -> list[str]:
        """What was received so far, line by line."""
        return [line for words in self.received for line in words.split("\n")]

    def count(self, line: str) -> int:
        """How often a line was received so far."""
        return self.lines.count(line)

    def receive(self, limit: float = LIMIT) -> str | None:
        """Wait for the next datagram; None if nothing comes for so long."""
        self._socket.settimeout(limit)
        try:
            words = self._socket.recv(4097)
        except TimeoutError:
            return None
        assert len(words) <= 4096  # systemd ignores longer ones
        self.received.append(words.decode())
        return self.received[-1]

    def receive_until(self, condition: Callable[[], bool], limit: float = LIMIT) -> None:
        """Receive until the condition holds."""
        end = time.monotonic() + limit
        while not condition():
            left = end - time.monotonic()
            assert left > 0, self.received
            assert self.receive(left) is not None, self.received

    def receive_until_silent(self, seconds: float, limit: float = LIMIT) -> None:
        """Receive until nothing comes for so long."""
        end = time.monotonic() + limit
        while self.receive(seconds) is not None:
            assert time.monotonic() < end, f"it still speaks: {self.received[-3:]}"

    def receive_all(self) -> None:
        """Receive what waits."""
        self._socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.received.append(self._socket.recv(4097).decode())
