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
LONGEST_LEFT, LONGEST_BAR = 24, 40
SHORTEST_BAR, SHORTEST_DETAIL, READABLE_DETAIL = 8, 16, 32
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
    left = [plain(reading.heading), f"last {duration(reading.window_seconds)}"]
    names, numbers = _flush(list(dials), "<"), _numbers(dials, with_word=True)
    kind = f"{reading.kind.upper()} ".lstrip()
    grade = Text.assemble((kind, "bold magenta"), (reading.grade, colour))
    detail = worst_detail(reading)

    room = width - _wide(names) - _wide(numbers) - 2 * GAP
    if room < SHORTEST_BAR // 2 + GAP + grade.cell_len:
        room += _wide(numbers)
        numbers = _numbers(dials, with_word=False)
        room -= _wide(numbers)
    wrong = cell_len(detail) if reading.grade is not Grade.EXACT else 0
    least = max(grade.cell_len, min(wrong, READABLE_DETAIL))
    widths = _share(room, max(map(cell_len, left)), least, grade.cell_len, cell_len(detail))
    notes = _notes(grade, Text(detail, colour), widths.right, signs)

    lines = []
    for row, dial in enumerate(dials.values()):
        tone = "bold yellow" if dial.pegged else colour
        parts = [
            Text(
                set_cell_size(cut(left[row], widths.left, signs), widths.left),
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
    """The grade, and below it what is wrong; if that is too long, it begins behind the grade."""
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
    return [grade, Text(cut(rest, width, signs), detail.style)]


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
