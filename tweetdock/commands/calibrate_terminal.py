"""The terminal while calibrating: its keys one by one, and a screen whose rows change in place."""

import os
import re
import select
import signal
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self, TextIO

from rich.console import Console
from rich.text import Text

ESCAPE, INTERRUPT, HANG_UP = "escape", "interrupt", "hang up"
SUSPEND, RESUME, RESIZE = "suspend", "resume", "resize"
SIGNALS = {
    signal.SIGHUP: HANG_UP,
    signal.SIGTERM: INTERRUPT,
    signal.SIGINT: INTERRUPT,
    signal.SIGQUIT: INTERRUPT,
    signal.SIGTSTP: SUSPEND,
    signal.SIGCONT: RESUME,
    signal.SIGWINCH: RESIZE,
}
# A whole escape sequence, one of which the rest may be on its way, or any other byte.
_KEY = re.compile(
    rb"\x1b(?:\[[0-9;]*|O)(?P<end>[A-Za-z~])|(?P<begun>\x1b(?:\[[0-9;]*|O)?\Z)|.", re.DOTALL
)
_ARROWS = {"A": "up", "B": "down", "C": "right", "D": "left"}
_NAMES = {"\t": "tab", "\r": "enter", "\n": "enter", " ": "space", "\x13": "s", "\x1b": ESCAPE}

# For a terminal that has no more than ASCII.
PLAIN = str.maketrans("µ°▼━─·←→↑↓", "u v=-.<>^v")
CLOSE_SECONDS = 0.5


class Keys:
    """What a terminal sends, taken apart into keys: `left`, `tab`, or the character itself."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def has_begun(self) -> bool:
        """Whether the last key may not be whole yet."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """The keys in what has come."""
        data, self._rest = self._rest + data, b""
        keys: list[str] = []
        for found in _KEY.finditer(data):
            sign = (found["end"] or found[0]).decode("ascii", "replace")
            if found["begun"]:
                self._rest = found[0]
            elif found["end"]:
                keys += [_ARROWS[sign]] if sign in _ARROWS else []
            else:
                keys.append(_NAMES.get(sign, sign))
        return keys

    def flush(self) -> list[str]:
        """The keys if nothing more comes: an escape that begins nothing is the key of that name."""
        is_begun, self._rest = bool(self._rest), b""
        return [ESCAPE] if is_begun else []


class Keyboard:
    """A terminal's keys without its echo and its line, while it is entered.

    SIGTERM, Ctrl-C, SIGQUIT, Ctrl-Z, a hang-up and a new size come as keys, between two others:
    nothing is interrupted by them. Only in the main thread.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._usual: list[Any] = []
        self._handlers: dict[signal.Signals, Any] = {}
        self._keys = Keys()

    def __enter__(self) -> Self:
        self._usual = termios.tcgetattr(self._fd)
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._last_waker = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in SIGNALS:
            self._handlers[number] = signal.signal(number, _go_on)
        self.set_raw()
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._last_waker)
        os.close(self._wake)
        os.close(self._waker)

    def set_raw(self) -> None:
        """Get each key at once and unseen; also Ctrl-S and Ctrl-Q, which would hold the screen."""
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
        self.set_raw()

    def wait(self, seconds: float) -> list[str]:
        """The keys that come within `seconds`, or as soon as there are some."""
        if self._keys.has_begun:
            seconds = min(seconds, 0.05)
        ready, _, _ = select.select([self._fd, self._wake], [], [], seconds)
        keys = self._keys.flush() if not ready and self._keys.has_begun else []
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
            if number in SIGNALS:
                yield SIGNALS[signal.Signals(number)]


def _go_on(*_: object) -> None:
    """Leave a signal to who reads the pipe that Python has written its number to."""


class Screen:
    """Shows rows on a terminal while it is entered, and leaves the first screen alone.

    It never waits: a line that is stuck must not hold up a needle, nor one that is gone.
    """

    def __init__(self, stream: TextIO, env: Mapping[str, str]) -> None:
        self._stream = stream
        colours = None if env.get("NO_COLOR") else "standard"
        self._console = Console(force_terminal=True, color_system=colours, highlight=False)  # type: ignore[arg-type]
        self._is_plain = "utf" not in (stream.encoding or "").lower()
        self._shown = ""
        self._rest = b""
        # Of our own: not to wait is a property that the shell behind us would get too.
        try:
            name = os.ttyname(stream.fileno())
            self._fd = os.open(name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:  # in a container it may have no name
            self._fd = os.dup(stream.fileno())

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        os.close(self._fd)

    def size(self) -> tuple[int, int]:
        """Its columns and rows; the usual ones if it does not say."""
        try:
            columns, rows = os.get_terminal_size(self._fd)
        except OSError:
            columns = rows = 0
        return columns or 80, rows or 24

    def open(self) -> None:
        """Leave the first screen alone from here on."""
        self._shown = ""
        self._write("\x1b[?1049h\x1b[?25l")

    def close(self) -> None:
        """Show the first screen again; it can be opened once more."""
        with suppress(OSError):
            select.select([], [self._fd], [], CLOSE_SECONDS)
        self._write("\x1b[0m\x1b[?25h\x1b[?1049l")

    def show(self, rows: Sequence[Text]) -> None:
        """Show these rows from the top; those without text go first where there are too many."""
        _, height = self.size()
        rows = list(rows)
        for number in reversed(range(len(rows))):
            if len(rows) > height and not rows[number]:
                del rows[number]
        text = "\r\n".join(f"{self._styled(row)}\x1b[K" for row in rows[:height])
        if text != self._shown and self._is_free():
            self._shown = text
            self._write(f"\x1b[H{text}\x1b[J")

    def forget(self) -> None:
        """Draw all of it the next time: its size has changed."""
        self._shown = ""

    def _styled(self, row: Text) -> str:
        if self._is_plain:
            row = row.copy()
            row.plain = row.plain.translate(PLAIN)
        with self._console.capture() as capture:
            self._console.print(row, end="", soft_wrap=True)
        return capture.get()

    def _is_free(self) -> bool:
        """Whether all that was written before is on its way."""
        self._write("")
        return not self._rest

    def _write(self, text: str) -> None:
        self._rest += text.encode("utf-8")
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._fd, self._rest) :]
        except BlockingIOError:
            pass
        except OSError:
            self._rest = b""
