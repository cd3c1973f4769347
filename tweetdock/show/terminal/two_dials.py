"""A reading as two round dials in a terminal, with what it is worth and how it came about."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from tweetdock.core.coverage import Grade
from tweetdock.core.dial import RED, Dial
from tweetdock.core.errors import plain
from tweetdock.core.reading import DialReading, Reading, SourceReading
from tweetdock.core.times import MINUTE_MS, duration
from tweetdock.settings.gauge import DialSettings
from tweetdock.show.board import Moment
from tweetdock.show.terminal.dial_art import DialArt
from tweetdock.show.terminal.two_lines import (
    COLOURS,
    GAP,
    MARGIN,
    UNICODE,
    TwoLines,
    cut,
    two_rows,
    worst_detail,
)

LEAST_COUNT, GRADE_COLUMNS, AGE_COLUMNS = 5, 7, 11  # so that nothing moves

Value = TypeVar("Value")

# The needle's red, as on all that shows our dials; where that is not to be had, the terminal's own.
ACCENT, PLAIN_ACCENT = f"bold {RED}", "bold red"
BAR_COLOUR = "#8b95a1"  # for the bars: the needles come first
LEAST_COLUMNS, LEAST_ROWS = 64, 20
LOG_ROWS = 5  # left for the log above
LEAST_DIAL_ROWS, MOST_DIAL_ROWS = 7, 14
MOST_DIAL_COLUMNS = 52
TALL_BARS_ROWS, AIRY_ROWS = 24, 28  # from so many rows on there is room for taller bars, for air
MOST_MINUTES = 60
EIGHTHS = "▁▂▃▄▅▆▇█"
NOTE_COLUMNS = {1: 30, 2: 17}  # beside the bars, by how many rows these have
GRADE_MEANINGS = {
    Grade.EXACT: "every tweet is counted",
    Grade.FILLING: "the rest is being read",
    Grade.PARTIAL: "some tweets are missing",
    Grade.STALE: "no data from any network: the needles are at rest",
}


def title(reading: Reading, width: int) -> Text:
    """What is counted, on a line that keeps the log apart."""
    end = f" {reading.kind.upper()} ──" if reading.kind else ""
    what = plain(reading.heading)
    begin = f"── last {duration(reading.window_seconds)}{' of ' if what else ' '}"
    what = cut(what, width - len(begin) - len(end) - 3, UNICODE)
    # Terminals differ about the width of what combines: as if each sign had one of its own.
    wide = max(cell_len(what), sum(max(1, cell_len(sign)) for sign in what))
    fill = "─" * (width - len(begin) - wide - len(end) - 1)
    return Text.assemble(
        (begin, "dim"),
        (what, "bold"),
        (f" {fill}" if what else fill, "dim"),
        (end, "bold magenta"),
    )


def needle_note(dial: DialReading, grade: Grade) -> str:
    """What there is to say of a dial's needle."""
    if not dial.known:
        return ", at rest: not known"
    if grade is Grade.STALE:
        return ", at rest"
    return f", pegged: above {dial.full_scale}" if dial.pegged else ""


def source_table(reading: Reading) -> Table:
    """A row a source: its name, count and grade, when it last spoke, and what it has to say."""
    table = Table.grid(padding=(0, GAP, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True, min_width=LEAST_COUNT + len(" tweets"))
    table.add_column(no_wrap=True, min_width=GRADE_COLUMNS)
    table.add_column(style="dim", no_wrap=True, min_width=AGE_COLUMNS)
    table.add_column()
    for name, source in reading.sources.items():
        detail = Text(plain(source.detail), no_wrap=True, overflow="ellipsis")
        grade = Text(source.grade, COLOURS[source.grade])
        table.add_row(name, f"{source.posts} tweets", grade, _age(reading, source), detail)
    return table


def last_update(reading: Reading) -> str:
    """When a source last sent something."""
    name, source = max(reading.sources.items(), key=lambda item: item[1].heard_ms or 0)
    age = _age(reading, source)
    return f"last update {age} from {name}" if source.heard_ms else f"no data yet from {name}"


def _age(reading: Reading, source: SourceReading) -> str:
    if source.heard_ms is None:
        return "no data yet"
    seconds = (reading.at_ms - source.heard_ms) / 1000
    return f"{duration(seconds)} ago" if seconds >= 1 else "just now"


class Layout(NamedTuple):
    """What has room: the columns and rows of a dial at most, sources by name, air, rows of bars."""

    columns: int
    rows: int
    lists_sources: bool
    air: int
    bars: int

    @classmethod
    def of(cls, width: int, height: int, sources: int) -> "Layout | None":
        """The layout for so many columns and rows of a terminal; None: there is too little room."""
        if width < LEAST_COLUMNS or height < LEAST_ROWS:
            return None
        columns = min(MOST_DIAL_COLUMNS, (width - MARGIN - GAP) // 2)
        air = (height >= TALL_BARS_ROWS) + (height >= AIRY_ROWS)
        high = 2 if height >= TALL_BARS_ROWS else 1
        rows = height - LOG_ROWS - 1 - 2 - air - 1 - high  # title, numbers, air, grade, bars
        lists_sources = sources > 1 and rows - sources >= LEAST_DIAL_ROWS
        rows -= sources if lists_sources else 1
        return cls(columns, min(rows, MOST_DIAL_ROWS), lists_sources, air, high)


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
        rows = [
            title(self.reading, min(width, 2 * layout.columns + GAP)),
            self._dials(arts, ACCENT if console.color_system == "truecolor" else PLAIN_ACCENT),
            *([Text()] * min(1, layout.air)),
            *self._worth(layout, width, console),
            *([Text()] * max(0, layout.air - 1)),
            *self._bars(width, layout.bars),
        ]
        for row in rows:
            if isinstance(row, Text):
                row.truncate(width, overflow="ellipsis")
        yield from console.render(Group(*rows), options.update(width=width))

    def _arts(self, layout: Layout) -> dict[str, DialArt]:
        arts = {
            name: _art(self.dials[name], dial.full_scale, layout.columns, layout.rows)
            for name, dial in self.reading.dials.items()
        }
        return {name: art for name, art in arts.items() if art} if all(arts.values()) else {}

    def _dials(self, arts: Mapping[str, DialArt], accent: str) -> Table:
        """The dials, side by side, standing on one ground, with their numbers below."""
        table = Table.grid(padding=(0, GAP, 0, 0))
        pictures, counts, names = [], [], []
        for name, art in arts.items():
            dial = self.reading.dials[name]
            table.add_column(vertical="bottom", width=art.columns, no_wrap=True)
            picture = Text("\n").join(
                Text(text) if needle is None else _with_needle(text, needle, accent)
                for text, needle in art.rows(dial.angle)
            )
            pictures.append(picture)
            tone = "yellow" if dial.pegged else ""
            is_exact = self.reading.grade is Grade.EXACT and dial.known
            count = (str(dial.count), f"bold {tone}")
            least = "" if is_exact else "at least "
            counts.append(Text.assemble((least, "dim"), count, justify="center"))
            word = cut(f"{name}{needle_note(dial, self.reading.grade)}", art.columns, UNICODE)
            names.append(Text(word, tone or "dim", justify="center"))
        for row in (pictures, counts, names):
            table.add_row(*row)
        return table

    def _worth(self, layout: Layout, width: int, console: Console) -> Iterator[RenderableType]:
        """The grade, what it means or what is wrong, and the sources."""
        reading, colour = self.reading, COLOURS[self.reading.grade]
        wrong = "" if layout.lists_sources else worst_detail(reading)
        trouble = plain(f"servos: {self.trouble}") if self.trouble else ""
        detail = "; ".join(filter(None, [wrong or GRADE_MEANINGS[reading.grade], trouble]))
        grade = (f"{reading.grade}{' ' * GAP}", f"bold {colour}")
        first, rest = two_rows(Text.assemble(grade, detail), width, UNICODE, console)
        yield first
        if layout.lists_sources:
            yield source_table(reading)
        else:
            yield rest if rest else Text(last_update(reading), "dim")

    def _bars(self, width: int, rows: int) -> Iterator[Text]:
        """The tweets of the last minutes; lower bounds are dim, what is stale or unknown open."""
        reading = self.reading
        minutes = min(MOST_MINUTES, width - NOTE_COLUMNS[rows])
        now = Moment(reading.at_ms, reading.posts, reading.authors, reading.grade)
        points = ((moment.at_ms, moment) for moment in (*self.past, now))
        found = steps(points, reading.at_ms, MINUTE_MS, minutes)
        known = [None if one is None or one.grade is Grade.STALE else one for one in found]
        counts = [one.posts if one else None for one in known]
        told = [count for count in counts if count is not None]
        notes = [f"last {minutes} min", f"peak {max(told)}" if told else "no data"]
        if rows == 1:
            notes = [", ".join(notes)]
        tones = [
            BAR_COLOUR if one and one.grade is Grade.EXACT else f"dim {BAR_COLOUR}" for one in known
        ]
        for signs, note in zip(bars(counts, rows), notes, strict=True):
            drawn = groupby(zip(signs, tones, strict=True), key=itemgetter(1))
            runs = [("".join(sign for sign, _ in run), tone) for tone, run in drawn]
            yield Text.assemble(*runs, " " * GAP, (note, "dim"))


def _with_needle(text: str, needle: tuple[int, int], accent: str) -> Text:
    row = Text(text)
    row.stylize(accent, *needle)
    return row


@lru_cache(maxsize=8)
def _art(dial: DialSettings, full_scale: int, columns: int, rows: int) -> DialArt | None:
    """Drawn anew only if the terminal or the scale has changed: a Pi Zero takes its time."""
    return DialArt.of(Dial.of(dial, full_scale), columns, rows)


def steps(
    points: Iterable[tuple[int, Value]], now_ms: int, step_ms: int, count: int
) -> list[Value | None]:
    """The last value in each of so many steps of time, the last of which has `now_ms` in it.

    points: times (Unix ms) and values, oldest first. Steps begin at whole multiples of their
    length, so that what is in one stays together as time goes by.
    """
    found: list[Value | None] = [None] * count
    first = now_ms // step_ms - count + 1
    for at_ms, value in points:
        place = at_ms // step_ms - first
        if 0 <= place < count:
            found[place] = value
    return found


def bars(counts: Sequence[int | None], rows: int = 1) -> list[str]:
    """Bars from zero to the highest count, in so many rows, the upper first; None is left open."""
    most = max((count for count in counts if count is not None), default=0)
    heights = [None if count is None else _eighths(count, most, rows) for count in counts]
    return ["".join(_bar_sign(height, row) for height in heights) for row in reversed(range(rows))]


def _eighths(count: int, most: int, rows: int) -> int:
    # What is counted as nothing is known, too, and shows: a line at the ground.
    return max(1, -(-count * 8 * rows // most)) if most else 1


def _bar_sign(height: int | None, row: int) -> str:
    filled = min(8, (height or 0) - 8 * row)
    return EIGHTHS[filled - 1] if filled > 0 else " "
