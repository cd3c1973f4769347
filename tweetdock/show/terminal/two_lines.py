"""A reading in two lines of text, for terminals that are small or know few characters."""

from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from tweetdock.core.coverage import Grade
from tweetdock.core.errors import plain
from tweetdock.core.reading import DialReading, Reading
from tweetdock.core.times import duration

MARGIN = 2  # columns left free at the right: the terminal itself writes ^C there
GAP = 2
LONGEST_HEADING, LONGEST_BAR, SHORTEST_BAR = 24, 40, 8
SHORTEST_DETAIL, READABLE_DETAIL = 16, 32
WORDS_COLUMNS = 56  # a terminal that is narrower has signs only
COLOURS = {
    Grade.EXACT: "green",
    Grade.FILLING: "cyan",
    Grade.PARTIAL: "yellow",
    Grade.STALE: "red",
}


class Signs(NamedTuple):
    """What bars and cuts are drawn with."""

    whole: str
    half: str
    rest: str
    cut: str


UNICODE = Signs("━", "╸", "─", "…")
ASCII = Signs("=", "-", " ", ".")


@dataclass(frozen=True, slots=True)
class TwoLines:
    """A reading in two lines, one a dial, that fit any width without wrapping."""

    reading: Reading

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Both lines, for the width and the characters that the terminal has."""
        width = max(1, options.max_width - MARGIN)
        signs = ASCII if options.ascii_only else UNICODE
        lines = _lines(self.reading, width, signs, console)
        for line in lines:
            line.truncate(width, overflow="crop" if options.ascii_only else "ellipsis")
        yield Text("\n", no_wrap=True, end="").join(lines)


def _lines(reading: Reading, width: int, signs: Signs, console: Console) -> list[Text]:
    colour, dials = COLOURS[reading.grade], reading.dials
    heading = [plain(reading.heading), f"last {duration(reading.window_seconds)}"]
    names, numbers = _flush(list(dials), "<"), _numbers(dials, with_word=width >= WORDS_COLUMNS)
    kind = f"{reading.kind.upper()} ".lstrip()
    grade = Text.assemble((kind, "bold magenta"), (reading.grade, colour))
    detail = Text(worst_detail(reading), colour)

    # What ails goes before the heading, and that before a long bar.
    room = width - _wide(names) - _wide(numbers) - 2 * GAP
    wrong = 0 if reading.grade is Grade.EXACT else min(detail.cell_len, READABLE_DETAIL)
    left = min(LONGEST_HEADING, max(map(cell_len, heading)))
    if room < left + GAP + SHORTEST_BAR + GAP + max(grade.cell_len, wrong):
        left = 0
    else:
        room -= left + GAP
    fits = detail.cell_len <= max(0, room - GAP - LONGEST_BAR)
    most = LONGEST_BAR if fits else SHORTEST_BAR
    bar = max(0, min(most, room - GAP - grade.cell_len))
    room -= bar + GAP if bar else 0
    notes = (grade, detail)
    if detail.cell_len > room < SHORTEST_DETAIL:
        notes = (grade, Text())
    elif detail.cell_len > room:
        notes = two_rows(Text.assemble(grade, " " * GAP, detail), room, signs, console)
    lines = []
    for row, dial in enumerate(dials.values()):
        tone = "bold yellow" if dial.pegged else colour
        parts = [
            Text(set_cell_size(cut(heading[row], left, signs), left), "dim" if row else "bold"),
            Text(names[row]),
            _bar(dial.position, bar, tone, signs),
            Text(numbers[row], tone if dial.pegged else "bold"),
            notes[row],
        ]
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


def _numbers(dials: dict[str, DialReading], *, with_word: bool) -> list[str]:
    counts = _flush([str(dial.count) for dial in dials.values()], ">")
    scales = _flush([str(dial.full_scale) for dial in dials.values()], ">")
    words = [" pegged" if dial.pegged and with_word else "" for dial in dials.values()]
    signs = [">" if dial.pegged else "/" for dial in dials.values()]
    rows = zip(counts, signs, scales, words, strict=True)
    return _flush([f"{count} {sign} {scale}{word}" for count, sign, scale, word in rows], "<")


def worst_detail(reading: Reading) -> str:
    """What the worst source says of itself, with its name where that is not in it."""
    name = reading.worst_source
    if not name:
        return ""
    detail = reading.sources[name].detail
    is_clear = len(reading.sources) == 1 or detail.startswith(name)
    return plain(detail if is_clear else f"{name}: {detail}")


def cut(text: str, width: int, signs: Signs) -> str:
    """The text, with a sign at its end if not all of it has room."""
    is_short = cell_len(text) <= width
    return text if is_short else set_cell_size(text, max(0, width - 1)) + signs.cut


def _flush(words: list[str], side: str) -> list[str]:
    width = _wide(words)
    return [f"{word:{side}{width}}" for word in words]


def _wide(words: list[str]) -> int:
    return max(map(len, words))
