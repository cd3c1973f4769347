"""A reading in a terminal: as two round dials with all about them, or in two lines."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from tweetdock.core.coverage import Grade
from tweetdock.core.dial import RED, Dial
from tweetdock.core.errors import plain
from tweetdock.core.reading import Reading
from tweetdock.core.times import MINUTE_MS
from tweetdock.settings.gauge import DialSettings
from tweetdock.show.board import Moment
from tweetdock.show.terminal.dial_art import DialArt
from tweetdock.show.words import (
    WORDS,
    detail_words,
    grade_words,
    heard_words,
    moment_words,
    network_names,
    notes,
    reason,
    source_words,
    window_words,
)

MARGIN = 2  # columns left free at the right: the terminal itself writes ^C there
GAP = 2
COLOURS = {
    Grade.EXACT: "green",
    Grade.FILLING: "cyan",
    Grade.PARTIAL: "yellow",
    Grade.STALE: "red",
}
# The needle's red, as on all that shows our dials; where that is not to be had, the terminal's own.
ACCENT, PLAIN_ACCENT = f"bold {RED}", "bold red"
BAR_COLOUR = "#8b95a1"  # for the bars: the needles come first

# Of the two dials.
LEAST_COUNT, GRADE_COLUMNS, AGE_COLUMNS = 5, 10, 11  # so that nothing moves
LEAST_COLUMNS, LEAST_ROWS = 64, 20
LOG_ROWS = 5  # left for the log above
BARS_ROWS = 2
LEAST_DIAL_ROWS, MOST_DIAL_ROWS = 7, 14
MOST_DIAL_COLUMNS = 52
AIRY_ROWS = 24  # from so many rows on there is room for a second row of reasons
MOST_MINUTES = 60
EIGHTHS = "▁▂▃▄▅▆▇█"
NOTE_COLUMNS = 17  # beside the bars

# Of the two lines.
LONGEST_BAR, LEAST_WORDS = 40, 23


class Layout(NamedTuple):
    """What has room: the columns and rows of a dial at most, sources by name, rows of reasons."""

    columns: int
    rows: int
    lists_sources: bool
    reasons: int

    @classmethod
    def of(cls, width: int, height: int, sources: int) -> "Layout | None":
        """The layout for so many columns and rows of a terminal; None: there is too little room."""
        if width < LEAST_COLUMNS or height < LEAST_ROWS:
            return None
        columns = min(MOST_DIAL_COLUMNS, (width - MARGIN - GAP) // 2)
        reasons = 2 if height >= AIRY_ROWS else 1
        rows = height - LOG_ROWS - 1 - 2 - reasons - BARS_ROWS  # title, numbers
        lists_sources = rows - sources >= LEAST_DIAL_ROWS
        rows -= sources if lists_sources else 0
        return cls(columns, min(rows, MOST_DIAL_ROWS), lists_sources, reasons)


@dataclass(frozen=True, slots=True)
class TwoDials:
    """A reading with two dials if there is room for them, else in two lines.

    The needles stand where the reading has them, so that they agree with the numbers below: where
    a servo's needle is on its way between two readings is not drawn.
    past: of the last hour, oldest first. trouble: why the servos cannot be moved, if so.
    """

    reading: Reading
    dials: Mapping[str, DialSettings]
    past: Iterable[Moment] = ()
    trouble: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """All rows, for the size and the characters that the terminal has."""
        layout = Layout.of(options.max_width, options.size.height, len(self.reading.sources))
        arts = self._arts(layout) if layout and not options.ascii_only else {}
        if layout is None or not arts:
            yield TwoLines(self.reading)
            return
        width = options.max_width - MARGIN
        rows: list[Text | Table] = [
            self._title(),
            self._dials(arts, ACCENT if console.color_system == "truecolor" else PLAIN_ACCENT),
            *self._worth(width, console)[: layout.reasons],
            *([self._sources()] if layout.lists_sources else []),
            *self._bars(width),
        ]
        for row in rows:
            if isinstance(row, Text):
                row.truncate(width, overflow="ellipsis")
        yield from console.render(Group(*rows), options.update(width=width))

    def _title(self) -> Text:
        """What is counted, on a line that keeps the log apart."""
        what, window = plain(self.reading.heading), window_words(self.reading.window_seconds)
        return Text.assemble(
            ("── ", "dim"),
            (f"{self.reading.kind.upper()} ".lstrip(), "bold magenta"),
            (f"{window} of " if what else window, "dim"),
            (what, "bold"),
            (" ──", "dim"),
        )

    def _arts(self, layout: Layout) -> dict[str, DialArt]:
        arts = {
            name: _art(self.dials[name], dial.full_scale, layout.columns, layout.rows)
            for name, dial in self.reading.dials.items()
        }
        return {name: art for name, art in arts.items() if art} if all(arts.values()) else {}

    def _dials(self, arts: Mapping[str, DialArt], accent: str) -> Table:
        """The dials, side by side, standing on one ground, with their numbers below."""
        table = Table.grid(padding=(0, GAP, 0, 0))
        columns: list[tuple[RenderableType, ...]] = []
        for name, art in arts.items():
            dial = self.reading.dials[name]
            table.add_column(vertical="bottom", width=art.columns, no_wrap=True)
            rows = [Text(text) for text, _ in art.rows(dial.angle)]
            for row, (_, needle) in zip(rows, art.rows(dial.angle), strict=True):
                row.stylize(accent, *(needle or (0, 0)))
            tone = "yellow" if dial.pegged else ""
            count = (str(dial.count), f"bold {tone}")
            number = Text.assemble(count, (f" {name}", "dim"), justify="center")
            note = Text(notes(dial, self.reading.grade), tone or "dim", justify="center")
            columns.append((Text("\n").join(rows), number, note))
        for cells in zip(*columns, strict=True):
            table.add_row(*cells)
        return table

    def _worth(self, width: int, console: Console) -> tuple[Text, Text]:
        """The grade and its reason, in two rows."""
        trouble = plain(f" Servos: {self.trouble}") if self.trouble else ""
        grade = (WORDS[self.reading.grade], f"bold {COLOURS[self.reading.grade]}")
        words = Text.assemble(grade, " " * GAP, grade_words(self.reading) + trouble)
        return two_rows(words, width, UNICODE, console)

    def _sources(self) -> Table:
        """A row a source: its name, count and grade, when it last spoke, what it has to say."""
        reading = self.reading
        table = Table.grid(padding=(0, GAP, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(justify="right", no_wrap=True, min_width=LEAST_COUNT + len(" tweets"))
        table.add_column(no_wrap=True, min_width=GRADE_COLUMNS)
        table.add_column(style="dim", no_wrap=True, min_width=AGE_COLUMNS)
        table.add_column()
        names = network_names(reading.sources)
        for name, source in reading.sources.items():
            detail = Text(detail_words(source, reading), no_wrap=True, overflow="ellipsis")
            grade = Text(source_words(source, reading), COLOURS[source.grade])
            heard = heard_words(source, reading.at_ms)
            table.add_row(names[name], f"{source.posts} tweets", grade, heard, detail)
        return table

    def _bars(self, width: int) -> Iterator[Text]:
        """The tweets of the last minutes; lower bounds are dim, what is stale or unknown open."""
        minutes = min(MOST_MINUTES, width - NOTE_COLUMNS)
        known = by_minute((*self.past, _now(self.reading)), self.reading.at_ms, minutes)
        counts = [one.posts if one else None for one in known]
        told = [count for count in counts if count is not None]
        tones = [
            BAR_COLOUR if one and one.grade is Grade.EXACT else f"dim {BAR_COLOUR}" for one in known
        ]
        sayings = (f"last {minutes} min", f"peak {max(told)}" if told else "no data")
        for signs, saying in zip(bars(counts), sayings, strict=True):
            drawn = groupby(zip(signs, tones, strict=True), key=itemgetter(1))
            runs = [("".join(sign for sign, _ in run), tone) for tone, run in drawn]
            yield Text.assemble(*runs, " " * GAP, (saying, "dim"))


@lru_cache(maxsize=8)
def _art(dial: DialSettings, full_scale: int, columns: int, rows: int) -> DialArt | None:
    """Drawn anew only if the terminal or the scale has changed: a Pi Zero takes its time."""
    return DialArt.of(Dial.of(dial, full_scale), columns, rows)


def _now(reading: Reading) -> Moment:
    return Moment(reading.at_ms, reading.posts, reading.authors, reading.grade)


def by_minute(past: Iterable[Moment], now_ms: int, minutes: int) -> list[Moment | None]:
    """The last moment of each of the last minutes, oldest first; None where nothing is known."""
    found = {moment.at_ms // MINUTE_MS: moment for moment in past}
    last = now_ms // MINUTE_MS
    known = (found.get(minute) for minute in range(last - minutes + 1, last + 1))
    return [None if one is None or one.grade is Grade.STALE else one for one in known]


def bars(counts: Sequence[int | None]) -> list[str]:
    """Bars from zero to the highest count, their upper row first; None is left open."""
    most = max((count for count in counts if count is not None), default=0) or 1
    eighths = len(EIGHTHS) * BARS_ROWS
    # What is counted as nothing is known, too, and shows: a line at the ground.
    heights = [0 if count is None else max(1, -(-count * eighths // most)) for count in counts]
    return ["".join(_bar_sign(height, row) for height in heights) for row in (1, 0)]


def _bar_sign(height: int, row: int) -> str:
    filled = min(len(EIGHTHS), height - len(EIGHTHS) * row)
    return EIGHTHS[filled - 1] if filled > 0 else " "


class Signs(NamedTuple):
    """What the bars are drawn with, and what stands for words that have no room."""

    whole: str
    half: str
    rest: str
    cut: str


UNICODE = Signs("━", "╸", "─", "…")
ASCII = Signs("=", "-", " ", ".")


@dataclass(frozen=True, slots=True)
class TwoLines:
    """A reading in two lines, one a dial, that fit any width without wrapping.

    For terminals that are small or know few characters.
    """

    reading: Reading

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Both lines, for the width and the characters that the terminal has."""
        width = max(1, options.max_width - MARGIN)
        signs = ASCII if options.ascii_only else UNICODE
        lines = self._lines(width, signs, console)
        for line in lines:
            line.truncate(width, overflow="crop" if options.ascii_only else "ellipsis")
        yield Text("\n", no_wrap=True, end="").join(lines)

    def _lines(self, width: int, signs: Signs, console: Console) -> list[Text]:
        reading, colour = self.reading, COLOURS[self.reading.grade]
        dials = reading.dials
        names = _flush(dials, "<")
        counts = _flush((str(dial.count) for dial in dials.values()), ">")
        scales = _flush((str(dial.full_scale) for dial in dials.values()), ">")
        bar = max(0, min(LONGEST_BAR, (width - LEAST_WORDS) // 3))

        # What ails goes before all that is always the same.
        kind = f"{reading.kind.upper()} ".lstrip()
        window = window_words(reading.window_seconds)
        words = [reason(reading), plain(reading.heading), window]
        if reading.grade is Grade.EXACT:
            words = [
                words[1],
                f"{window} up to {moment_words(reading.certain_ms, reading)}",
                words[0],
            ]
        text = ", ".join(filter(None, words))
        said = Text.assemble((kind, "bold magenta"), (reading.grade, colour), " " * GAP, text)
        numbers = [
            f"{count} {'>' if dial.pegged else '/'} {scale}"
            for count, scale, dial in zip(counts, scales, dials.values(), strict=True)
        ]
        room = width - len(names[0]) - len(numbers[0]) - bar - 3 * GAP
        rows = two_rows(said, room, signs, console)
        lines = []
        for name, number, dial, row in zip(names, numbers, dials.values(), rows, strict=True):
            tone = "bold yellow" if dial.pegged else colour
            count = Text(number, tone if dial.pegged else "bold")
            parts = (Text(name), _bar(dial.position, bar, tone, signs), count, row)
            lines.append(Text(" " * GAP).join(part for part in parts if part.cell_len))
        return lines


def two_rows(text: Text, width: int, signs: Signs, console: Console) -> tuple[Text, Text]:
    """The words that have room in a row, and the rest, as much as has room in the next."""
    lines = text.wrap(console, max(1, width))
    for line in lines:
        line.rstrip()
    first, rest = lines[0], Text(" ").join(lines[1:])
    if rest.cell_len > width:
        rest.truncate(max(0, width - 1), overflow="crop")
        rest.append(signs.cut)
    return first, rest


def _bar(position: float, width: int, colour: str, signs: Signs) -> Text:
    halves = round(min(1.0, max(0.0, position)) * width * 2)
    filled = signs.whole * (halves // 2) + signs.half * (halves % 2)
    return Text.assemble((filled, colour), (signs.rest * (width - len(filled)), "dim"))


def _flush(words: Iterable[str], side: str) -> list[str]:
    found = list(words)
    width = max(map(len, found))
    return [f"{word:{side}{width}}" for word in found]
