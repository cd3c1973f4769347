"""The live line in a terminal: both dials at the bottom, the log going on above them."""

import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from types import TracebackType
from typing import NamedTuple, Self

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from tweetdock.coverage import Grade
from tweetdock.reading import DialReading, Reading
from tweetdock.show.board import Board
from tweetdock.show.journal import plain
from tweetdock.timestamps import duration

REDRAW_SECONDS = 0.25
MARGIN = 2  # columns left free at the right: the terminal itself writes ^C there
GAP = 2
LONGEST_LEFT, LONGEST_BAR = 24, 40
SHORTEST_BAR, SHORTEST_DETAIL, READABLE_DETAIL = 8, 16, 32
COLOURS = {
    Grade.EXACT: "green",
    Grade.FILLING: "cyan",
    Grade.PARTIAL: "yellow",
    Grade.STALE: "red",
}
LEVELS = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "bold red"}


class Signs(NamedTuple):
    """What bars and cuts are drawn with."""

    whole: str
    half: str
    rest: str
    cut: str


UNICODE = Signs("━", "╸", "─", "…")
ASCII = Signs("=", "-", " ", ".")


class LiveLine:
    """Shows the latest reading below the log while it is entered, and leaves no trace.

    No thread of its own: `show` draws, four times a second at most. `handler` takes the log,
    from any thread, also before and after.
    """

    def __init__(
        self, console: Console | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or Console(stderr=True, highlight=False)
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
            self._live.update(Face(reading), refresh=True)

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


@dataclass(frozen=True, slots=True)
class Face:
    """A reading in two lines, one a dial, that fit any width without wrapping."""

    reading: Reading

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        """Both lines, for the width and the characters that the terminal has."""
        width = max(1, options.max_width - MARGIN)
        lines = _lines(self.reading, width, ASCII if options.ascii_only else UNICODE)
        for line in lines:
            line.truncate(width, overflow="crop" if options.ascii_only else "ellipsis")
        yield Text("\n", no_wrap=True, end="").join(lines)


class _Widths(NamedTuple):
    left: int
    bar: int
    right: int


def _lines(reading: Reading, width: int, signs: Signs) -> list[Text]:
    colour, dials = COLOURS[reading.grade], reading.dials
    tags = " ".join(f"#{tag}" for tag in reading.hashtags)
    left = [tags, f"last {duration(reading.window_seconds)}"]
    names, numbers = _flush(list(dials), "<"), _numbers(dials, with_word=True)
    sort = "DEMO " if reading.demo else "REPLAY " if reading.replay else ""
    grade, detail = Text.assemble((sort, "bold magenta"), (reading.grade, colour)), _detail(reading)

    room = width - _wide(names) - _wide(numbers) - 2 * GAP
    if room < SHORTEST_BAR // 2 + GAP + grade.cell_len:
        room += _wide(numbers)
        numbers = _numbers(dials, with_word=False)
        room -= _wide(numbers)
    ails = cell_len(detail) if reading.grade is not Grade.EXACT else 0
    least = max(grade.cell_len, min(ails, READABLE_DETAIL))
    widths = _share(room, max(map(cell_len, left)), least, grade.cell_len, cell_len(detail))
    notes = _notes(grade, Text(detail, colour), widths.right, signs)

    lines = []
    for row, dial in enumerate(dials.values()):
        tone = "bold yellow" if dial.pegged else colour
        parts = [
            Text(
                set_cell_size(_cut(left[row], widths.left, signs), widths.left),
                "dim" if row else "bold",
            ),
            Text(names[row]),
            _bar(dial.position, widths.bar, tone, signs),
            Text(numbers[row], tone if dial.pegged else "bold"),
            notes[row],
        ]
        lines.append(Text(" " * GAP).join(part for part in parts if part.cell_len))
    return lines


def _share(room: int, left: int, least: int, grade: int, detail: int) -> _Widths:
    """Who gets what of the room that names and numbers leave; `least` goes before `left`."""
    left = min(LONGEST_LEFT, left)
    if room < left + GAP + SHORTEST_BAR + GAP + least:
        left = 0
    else:
        room -= left + GAP
    bar = room - GAP - grade
    if detail:
        third = max(SHORTEST_BAR, room // 3)
        bar = min(bar, third if detail <= room - GAP - third else SHORTEST_BAR)
    bar = max(0, min(LONGEST_BAR, bar))
    return _Widths(left, bar, room - GAP - bar)


def _notes(grade: Text, detail: Text, width: int, signs: Signs) -> list[Text]:
    """The grade, and below it what ails; if that is too long, it begins behind the grade."""
    if width < min(SHORTEST_DETAIL, detail.cell_len):
        return [grade, Text()]
    begin: list[str] = []
    rest, room = detail.plain, width - grade.cell_len - GAP
    if cell_len(rest) > width:
        words = rest.split(" ")
        while words and cell_len(" ".join([*begin, words[0]])) <= room:
            begin.append(words.pop(0))
        rest = " ".join(words)
    if begin:
        grade = Text.assemble(grade, " " * GAP, (" ".join(begin), detail.style))
    return [grade, Text(_cut(rest, width, signs), detail.style)]


def _bar(position: float, width: int, colour: str, signs: Signs) -> Text:
    halves = round(min(1.0, max(0.0, position)) * width * 2)
    filled = signs.whole * (halves // 2) + signs.half * (halves % 2)
    return Text.assemble((filled, colour), (signs.rest * (width - len(filled)), "dim"))


def _numbers(dials: dict[str, DialReading], *, with_word: bool) -> list[str]:
    counts = _flush([str(dial.count) for dial in dials.values()], ">")
    scales = _flush([str(dial.full_scale) for dial in dials.values()], ">")
    words = [" pegged" if dial.pegged and with_word else "" for dial in dials.values()]
    signs = [">" if dial.pegged else "/" for dial in dials.values()]
    rows = zip(counts, signs, scales, words, strict=True)
    return _flush([f"{count} {sign} {scale}{word}" for count, sign, scale, word in rows], "<")


def _detail(reading: Reading) -> str:
    """The word of the worst source that has one, with its name where that says more."""
    speakers = [(name, source) for name, source in reading.sources.items() if source.detail]
    if not speakers:
        return ""
    name, source = max(speakers, key=lambda speaker: list(Grade).index(speaker[1].grade))
    is_clear = len(reading.sources) == 1 or source.detail.startswith(name)
    return plain(source.detail if is_clear else f"{name}: {source.detail}")


def _cut(text: str, width: int, signs: Signs) -> str:
    is_short = cell_len(text) <= width
    return text if is_short else set_cell_size(text, max(0, width - 1)) + signs.cut


def _flush(words: list[str], side: str) -> list[str]:
    width = _wide(words)
    return [f"{word:{side}{width}}" for word in words]


def _wide(words: list[str]) -> int:
    return max(map(len, words))
