"""The live view in a terminal: both dials at the bottom, the log going on above them."""

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Lock
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.control import Control
from rich.live import Live
from rich.text import Text

from tweetdock.core.reading import Reading
from tweetdock.core.times import HOUR_MS
from tweetdock.settings.gauge import DialSettings
from tweetdock.show.board import Board
from tweetdock.show.terminal.two_dials import TwoDials, TwoLines

REDRAW_SECONDS = 0.25
LEVELS = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "bold red"}
# The console of a Pi has no Braille, and a serial line no time to draw it.
WITHOUT_BRAILLE = ("linux", "vt1", "vt2")


class LiveView:
    """Shows the latest reading below the log while it is entered, and leaves no trace.

    No thread of its own: `show` draws, four times a second at most. `handler` takes the log,
    from any thread, also before and after.
    """

    def __init__(
        self,
        dials: Mapping[str, DialSettings],
        console: Console | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dials = dials
        self._console = console or Console(stderr=True, highlight=False)
        self._has_braille = not os.environ.get("TERM", "").startswith(WITHOUT_BRAILLE)
        self._width = self._console.width
        self._monotonic = monotonic
        self._drawn_at = float("-inf")
        self._lock = Lock()
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            # Needles come home at the end: a reading that stayed behind would say otherwise.
            transient=True,
            # What others print must not tear the line, but a piped output stays what it is.
            redirect_stdout=sys.stdout.isatty(),
        )
        self.handler: logging.Handler = _Above(self._print)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._live.stop()

    def show(self, board: Board) -> None:
        """Show the latest reading, unless one was drawn just now; the next will do then."""
        now, reading = self._monotonic(), board.reading
        if reading is None or now - self._drawn_at < REDRAW_SECONDS:
            return
        self._drawn_at = now
        # A terminal that was closed must not end the gauge.
        with self._lock, suppress(OSError):
            self._make_room()
            self._live.update(self._view(board, reading), refresh=True)

    def _view(self, board: Board, reading: Reading) -> RenderableType:
        if not self._has_braille:
            return TwoLines(reading)
        past = board.past.since(reading.at_ms - HOUR_MS)
        return TwoDials(reading, self._dials, tuple(past), board.health.servo_trouble())

    def _make_room(self) -> None:
        """Begin with an empty screen if the terminal has become narrower.

        Some terminals break the lines that they have, others cut them: where the old view ended
        up nobody knows, and a needle that stayed behind would not tell the truth.
        """
        width, height = self._console.size
        if width < self._width:
            # Not cleared, but scrolled away: the log can be read back.
            self._console.control(Control.move_to(0, height - 1))
            self._console.file.write("\n" * height)
            self._console.control(Control.home())
        self._width = width

    def _print(self, text: Text) -> None:
        with self._lock:
            self._console.print(text, soft_wrap=True)


class _Above(logging.Handler):
    def __init__(self, show: Callable[[Text], None]) -> None:
        super().__init__()
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record in the colour of its level."""
        try:
            self._show(Text(self.format(record), LEVELS.get(record.levelno, "")))
        except Exception:  # noqa: BLE001 - as the library's own handlers do
            self.handleError(record)
