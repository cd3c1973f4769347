"""A terminal's second screen: rows that change in place, and the first as it was afterwards."""

import os
import select
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import TextIO

from tweetdock.commands.calibrate_panel import Row

STYLES = {"bold": "1", "dim": "2", "red": "1;31", "yellow": "33"}
# For a terminal that has no more than ASCII.
PLAIN = str.maketrans(
    {"µ": "u", "°": " ", "▼": "v", "━": "=", "─": "-", "·": ".", "←": "<", "→": ">"}
    | {"↑": "^", "↓": "v"}
)
LAST_WORD_SECONDS = 0.5


class Screen:
    """Shows rows on a terminal, while it is open.

    It never waits: a line that is stuck must not hold up a needle, nor one that is gone.
    """

    def __init__(self, stream: TextIO, env: Mapping[str, str]) -> None:
        self._stream = stream
        self._has_colours = not env.get("NO_COLOR")
        self._is_plain = "utf" not in (stream.encoding or "").lower()
        self._shown = ""
        self._rest = b""
        # Of our own: not to wait is a property that the shell behind us would get too.
        try:
            name = os.ttyname(stream.fileno())
            self._fd = os.open(name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:  # in a container it may have no name
            self._fd = os.dup(stream.fileno())

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
            select.select([], [self._fd], [], LAST_WORD_SECONDS)
        self._write("\x1b[0m\x1b[?25h\x1b[?1049l")

    def end(self) -> None:
        """Close it for good."""
        self.close()
        os.close(self._fd)

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows from the top; those without text go first where there are too many."""
        _, height = self.size()
        rows = list(rows)
        for number in reversed(range(len(rows))):
            if len(rows) > height and not rows[number]:
                del rows[number]
        text = "\r\n".join(f"{self._dressed(row)}\x1b[K" for row in rows[:height])
        if text != self._shown and self._is_free():
            self._shown = text
            self._write(f"\x1b[H{text}\x1b[J")

    def forget(self) -> None:
        """Draw anew the next time: its size has changed, or somebody else wrote on it."""
        self._shown = ""

    def _dressed(self, row: Row) -> str:
        parts = []
        for style, pieces in groupby(row, key=lambda piece: piece.style):
            text = "".join(piece.text for piece in pieces)
            shown = text.translate(PLAIN) if self._is_plain else text
            is_dressed = style and shown and self._has_colours
            parts.append(f"\x1b[{STYLES[style]}m{shown}\x1b[0m" if is_dressed else shown)
        return "".join(parts)

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
