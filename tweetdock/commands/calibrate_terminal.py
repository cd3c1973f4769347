"""The terminal while calibrating: its keys one by one, and a screen whose rows change in place."""

import os
import re
import select
import signal
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, Self, TextIO

from rich.console import Console
from rich.text import Text

ESCAPE, INTERRUPT = "escape", "interrupt"
SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
WAIT_SECONDS = 0.5  # for a key; a signal is noticed after so long at most
# A whole escape sequence, one of which the rest may be on its way, or any other byte.
_KEY = re.compile(
    rb"\x1b(?:\[[0-9;]*|O)(?P<end>[A-Za-z~])|(?P<begun>\x1b(?:\[[0-9;]*|O)?\Z)|.", re.DOTALL
)
_ARROWS = {"A": "up", "B": "down", "C": "right", "D": "left"}
_NAMES = {"\t": "tab", " ": "space", "\x1b": ESCAPE, "\x03": INTERRUPT, "\x1c": INTERRUPT}
CLOSE_SECONDS = 0.5


class Keys:
    """What a terminal sends, taken apart into keys: `left`, `tab`, or the character itself."""

    def __init__(self) -> None:
        self._rest = b""

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

    Ctrl-C comes as a key, and so do signals that end us: nothing is interrupted amid a command
    to a servo. Only in the main thread.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._keys = Keys()
        self._is_ended = False

    def __enter__(self) -> Self:
        self._usual: list[Any] = termios.tcgetattr(self._fd)
        self._handlers = {number: signal.signal(number, self._end) for number in SIGNALS}
        mode = list(self._usual)
        mode[0] &= ~termios.IXON  # Ctrl-S would hold the screen
        mode[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
        termios.tcsetattr(self._fd, termios.TCSANOW, mode)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(termios.error):  # it may be gone
            # At once: a line that is stuck would be waited for.
            termios.tcsetattr(self._fd, termios.TCSANOW, self._usual)
            termios.tcflush(self._fd, termios.TCIFLUSH)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def wait(self, seconds: float) -> list[str]:
        """The keys that come within `seconds`, or as soon as there are some."""
        ready, _, _ = select.select([self._fd], [], [], min(seconds, WAIT_SECONDS))
        if self._is_ended:
            return [INTERRUPT]
        if not ready:
            return self._keys.flush()
        try:
            data = os.read(self._fd, 1024)
        except OSError:
            data = b""
        return self._keys.feed(data) if data else [INTERRUPT]

    def _end(self, *_: object) -> None:
        self._is_ended = True


class Screen:
    """Shows rows on a terminal while it is entered, and leaves the first screen alone.

    It never waits: a line that is stuck must not hold up a needle, nor one that is gone.
    """

    def __init__(self, stream: TextIO, env: Mapping[str, str]) -> None:
        colours: Literal["standard"] | None = None if env.get("NO_COLOR") else "standard"
        self._console = Console(force_terminal=True, color_system=colours, highlight=False)
        self._shown: tuple[str, tuple[int, int]] | None = None
        self._rest = b""
        # Of our own: not to wait is a property that the shell behind us would get too.
        try:
            name = os.ttyname(stream.fileno())
            self._fd = os.open(name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:  # in a container it may have no name
            self._fd = os.dup(stream.fileno())

    def __enter__(self) -> Self:
        self._write("\x1b[?1049h\x1b[?25l")
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            select.select([], [self._fd], [], CLOSE_SECONDS)
        self._write("\x1b[0m\x1b[?25h\x1b[?1049l")
        os.close(self._fd)

    def size(self) -> tuple[int, int]:
        """Its columns and rows; the usual ones if it does not say."""
        try:
            columns, rows = os.get_terminal_size(self._fd)
        except OSError:
            columns = rows = 0
        return columns or 80, rows or 24

    def show(self, rows: Sequence[Text]) -> None:
        """Show these rows from the top; those without text go first where there are too many."""
        size = self.size()
        rows = list(rows)
        for number in reversed(range(len(rows))):
            if len(rows) > size[1] and not rows[number]:
                del rows[number]
        text = "\r\n".join(f"{self._styled(row)}\x1b[K" for row in rows[: size[1]])
        if (text, size) != self._shown and self._is_free():
            self._shown = text, size
            self._write(f"\x1b[H{text}\x1b[J")

    def _styled(self, row: Text) -> str:
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
