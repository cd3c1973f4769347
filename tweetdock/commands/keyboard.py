"""The keyboard of a terminal, key by key; signals are keys too, and the terminal is given back."""

import os
import re
import select
import signal
import termios
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

ESCAPE, HANG_UP, INTERRUPT, SUSPEND, RESUME, RESIZE = (
    *("escape", "hang up", "interrupt", "suspend", "resume", "resize"),
)
SIGNALS = {
    signal.SIGHUP: HANG_UP,
    signal.SIGTERM: INTERRUPT,
    signal.SIGINT: INTERRUPT,
    signal.SIGQUIT: INTERRUPT,
    signal.SIGTSTP: SUSPEND,
    signal.SIGCONT: RESUME,
    signal.SIGWINCH: RESIZE,
}
_SEQUENCE = re.compile(rb"\x1b(?:\[([0-9;]*)([A-Za-z~])|O([A-Za-z]))")
_BEGUN = re.compile(rb"\x1b(?:\[[0-9;]*|O)?\Z")  # the rest of it may be on its way
_ARROWS = {b"A": "up", b"B": "down", b"C": "right", b"D": "left"}
_NAMES = {"\t": "tab", "\r": "enter", "\n": "enter", " ": "space", "\x13": "s", "\x7f": "delete"}


class Keys:
    """What a terminal sends, taken apart: `left`, `tab`, or the character itself."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def is_amid(self) -> bool:
        """Whether the last key may not be whole yet."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """The keys in what has come."""
        data, self._rest = self._rest + data, b""
        keys: list[str] = []
        while data:
            if found := _SEQUENCE.match(data):
                name = _ARROWS.get(found[2] or found[3])
                keys += [name] if name else []
                data = data[found.end() :]
            elif _BEGUN.match(data):
                self._rest, data = data, b""
            elif data[0] == 0x1B:
                keys.append(ESCAPE)
                data = data[1:]
            else:
                sign = data[:1].decode("ascii", "replace")
                keys.append(_NAMES.get(sign, sign))
                data = data[1:]
        return keys

    def flush(self) -> list[str]:
        """The keys if nothing more comes: an escape that begins nothing is the key of that name."""
        is_begun, self._rest = bool(self._rest), b""
        return [ESCAPE] if is_begun else []


class Keyboard:
    """A terminal's keys without its echo and its line, while it is entered.

    SIGTERM, Ctrl-C, SIGQUIT, Ctrl-Z, a hang-up and a new size come as keys, between two others:
    nothing is broken off by them. Only in the main thread.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._usual: list[Any] = []
        self._handlers: dict[signal.Signals, Any] = {}
        self._keys = Keys()

    def __enter__(self) -> Self:
        self._usual = termios.tcgetattr(self._fd)
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in SIGNALS:
            self._handlers[number] = signal.signal(number, self._note)
        self.take()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._wake)
        os.close(self._waker)

    def take(self) -> None:
        """Have each key at once and unseen; also Ctrl-S and Ctrl-Q, which would hold the screen."""
        mode = list(self._usual)
        mode[0] = mode[0] & ~termios.IXON
        mode[3] = mode[3] & ~(termios.ECHO | termios.ICANON)
        with suppress(termios.error):  # it may be gone
            termios.tcsetattr(self._fd, termios.TCSANOW, mode)

    def give_back(self) -> None:
        """Leave the terminal as it was; keys that nobody has read are dropped."""
        with suppress(termios.error):
            # At once: a line that is stuck would be waited for.
            termios.tcsetattr(self._fd, termios.TCSANOW, self._usual)
            termios.tcflush(self._fd, termios.TCIFLUSH)

    def sleep(self) -> None:
        """Stop, as Ctrl-Z asks for, until a shell wakes us; the terminal is its own meanwhile."""
        self.give_back()
        ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, ours)
        self.take()

    def wait(self, seconds: float) -> list[str]:
        """The keys that come within `seconds`, or as soon as there are some."""
        if self._keys.is_amid:
            seconds = min(seconds, 0.05)
        ready, _, _ = select.select([self._fd, self._wake], [], [], seconds)
        keys = self._keys.flush() if not ready and self._keys.is_amid else []
        if self._fd in ready:
            keys += self._read()
        if self._wake in ready:
            keys += self._noted()
        return keys

    def _read(self) -> Iterator[str]:
        try:
            data = os.read(self._fd, 1024)
        except OSError:
            data = b""
        yield from self._keys.feed(data) if data else [HANG_UP]

    def _noted(self) -> Iterator[str]:
        for number in os.read(self._wake, 1024):
            yield SIGNALS[signal.Signals(number)]

    def _note(self, number: int, _: FrameType | None) -> None:
        with suppress(BlockingIOError):
            os.write(self._waker, bytes([number]))
