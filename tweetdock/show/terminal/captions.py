"""The words around two dials in a terminal: what is counted, by whom it was told, and when."""

from collections.abc import Iterator

from rich.cells import cell_len, set_cell_size

from tweetdock.core.coverage import Grade
from tweetdock.core.plain import plain
from tweetdock.core.reading import DialReading, Reading, SourceReading
from tweetdock.core.times import duration
from tweetdock.show.terminal.two_lines import COLOURS, GAP, UNICODE, cut, sort_of

GRADE_COLUMNS, AGE_COLUMNS = 7, 10

Parts = list[tuple[str, str]]  # texts with their styles


def title(reading: Reading, width: int) -> Parts:
    """What is counted, on a line that keeps the log apart."""
    sort = sort_of(reading)
    end = f" {sort} ──" if sort else ""
    what = plain(reading.heading)
    begin = f"── last {duration(reading.window_seconds)}{' of ' if what else ' '}"
    what = cut(what, width - len(begin) - len(end) - 3, UNICODE)
    # Terminals differ about the width of what combines: as if each sign had one of its own.
    wide = max(cell_len(what), sum(max(1, cell_len(sign)) for sign in what))
    fill = "─" * (width - len(begin) - wide - len(end) - 1)
    return [
        (begin, "dim"),
        (what, "bold"),
        (f" {fill}" if what else fill, "dim"),
        (end, "bold magenta"),
    ]


def needle_note(dial: DialReading, grade: Grade) -> str:
    """What there is to say of a dial's needle."""
    if not dial.known:
        return ", at rest: not known"
    if grade is Grade.STALE:
        return ", at rest"
    return f", pegged: above {dial.full_scale}" if dial.pegged else ""


def source_rows(reading: Reading, width: int) -> Iterator[Parts]:
    """A row a source: its name, count and grade, when it last spoke, and what it has to say."""
    names = max(map(len, reading.sources))
    counts = max(5, *(len(str(source.posts)) for source in reading.sources.values()))
    for name, source in reading.sources.items():
        row: Parts = [
            (f"{name:<{names + GAP}}", "bold"),
            (f"{source.posts:>{counts}} tweets{' ' * GAP}", ""),
            (f"{source.grade:<{GRADE_COLUMNS + GAP}}", COLOURS[source.grade]),
            (f"{_age(reading, source):<{AGE_COLUMNS + GAP}}", "dim"),
        ]
        room = width - sum(len(text) for text, _ in row)
        yield [*row, (cut(plain(source.detail), room, UNICODE) if room > 0 else "", "")]


def last_word(reading: Reading) -> str:
    """When anybody last spoke."""
    name, source = max(reading.sources.items(), key=lambda item: item[1].heard_ms or 0)
    age = _age(reading, source)
    return f"last word {age} from {name}" if source.heard_ms else f"no word yet from {name}"


def _age(reading: Reading, source: SourceReading) -> str:
    if source.heard_ms is None:
        return "not yet"
    seconds = (reading.at_ms - source.heard_ms) / 1000
    return f"{duration(seconds)} ago" if seconds >= 1 else "just now"


def split(text: str, first: int, second: int) -> tuple[str, str]:
    """The words that have room in a row, and those that have in the next."""
    words, begin = text.split(" "), ""
    while words and cell_len(begin) + cell_len(words[0]) < first:
        begin += f" {words.pop(0)}" if begin else words.pop(0)
    rest = " ".join(words)
    if not begin:  # one long word
        begin, rest = set_cell_size(text, first).rstrip(), ""
    return begin, cut(rest, second, UNICODE)
