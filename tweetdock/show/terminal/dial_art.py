"""A dial in Braille characters, 2 x 4 dots in each so that it is round."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

from tweetdock.core.dial import Dial, Rank, Tick, point
from tweetdock.core.scaler import LogScale

Dot = tuple[int, int]

# Which bit of a Braille character is which dot, by column and row.
BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
BLANK = 0x2800
LEAST_RADIUS_DOTS = 10  # a smaller dial cannot be read
LABEL_WIDTH = 4  # characters that have room beside each end: a scale that grows moves nothing
LABEL_GAP_DOTS = 2  # between the arc and a number
LEAST_GAP = 3.0  # dots between two ticks
HUB = 2.3  # dots
NEEDLE, THICK = 0.9, 0.62  # how far the needle and its thick part reach, of the radius
TICK_LENGTHS = {Rank.MAJOR: 0.2, Rank.MIDDLE: 0.13, Rank.MINOR: 0.08}  # of the radius


class ArtRow(NamedTuple):
    """A row of characters, and where in it the needle is: from a column to before another."""

    text: str
    needle: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class DialArt:
    """A dial that fits a number of character columns and rows, all but the needle drawn.

    The pivot and the radius are in dots, x to the right and y downwards from the upper left.
    """

    dial: Dial
    columns: int
    pivot: Dot
    radius: int
    cells: list[list[int]]
    letters: list[list[str]]

    @classmethod
    def of(cls, dial: Dial, columns: int, rows: int) -> "DialArt | None":
        """The largest that fits; None if that could not be read.

        How large it is depends on the dial's sweep, not on its numbers.
        """
        half = min(180.0, dial.sweep / 2)
        ticks = dial.ticks()
        wide = max(LABEL_WIDTH, *(len(tick.label) for tick in ticks))
        radius = next(
            (
                r
                for r in range(columns, LEAST_RADIUS_DOTS - 1, -1)
                if _fits(r, half, wide, columns, rows)
            ),
            None,
        )
        if radius is None:
            return None
        pivot = columns - 1, _pivot_y(radius)
        cells = _cells(_face(ticks, dial, radius), pivot, columns, _high(radius, half))
        return cls(dial, columns, pivot, radius, cells, _letters(dial, pivot, radius, cells))

    def rows(self, angle: float) -> list[ArtRow]:
        """All rows, with the needle at an angle of the servo, in degrees."""
        bearing = self.dial.bearing_of(angle)
        dots = needle_dots(self.radius, bearing)
        needle = _cells(dots, self.pivot, self.columns, len(self.cells))
        return list(map(_row, self.cells, self.letters, needle))


def needle_dots(radius: int, bearing: float) -> set[Dot]:
    """The needle's dots, from the pivot: a hub, a thick part and a point that reaches the ticks."""
    reach = round(HUB)
    dots = {
        (x, y)
        for x in range(-reach, reach + 1)
        for y in range(-reach, reach + 1)
        if math.hypot(x, y) <= HUB
    }
    across = point(bearing + 90, 0.5)
    for step in range(round(NEEDLE * radius * 2) + 1):
        x, y = point(bearing, step / 2)
        if step / 2 <= THICK * radius:
            dots.add(_nearest(x + across[0], y + across[1]))
            dots.add(_nearest(x - across[0], y - across[1]))
        else:
            dots.add(_nearest(x, y))
    return dots


def _fits(radius: int, half: float, wide: int, columns: int, rows: int) -> bool:
    slope = math.sin(math.radians(min(90.0, half)))
    # The number at the end stands beside the arc, the less so the steeper that is there.
    side = (radius + LABEL_GAP_DOTS) * slope + wide * (1 + slope) + slope
    return side <= columns - 1 and _high(radius, half) <= rows


def _high(radius: int, half: float) -> int:
    """The rows that a dial needs: it ends with its hub, or with the numbers at its ends."""
    deepest = -(radius + LABEL_GAP_DOTS + 2) * math.cos(math.radians(half))
    return (_pivot_y(radius) + round(max(HUB, deepest))) // 4 + 1


def _pivot_y(radius: int) -> int:
    return radius + LABEL_GAP_DOTS + 4  # a row for a number at the top


def _face(ticks: Sequence[Tick], dial: Dial, radius: int) -> Iterator[Dot]:
    """The arc and its ticks, from the pivot."""
    steps = max(1, round(math.radians(dial.sweep) * radius))
    for step in range(steps + 1):
        x, y = point(dial.bearing(step / steps), radius)
        yield _nearest(x, y)
    for tick in _clear(ticks, radius):
        length = max(2.0, TICK_LENGTHS[tick.rank] * radius)
        for step in range(round(length * 2) + 1):
            x, y = point(tick.bearing, radius - step / 2)
            yield _nearest(x, y)


def _clear(ticks: Sequence[Tick], radius: int) -> Sequence[Tick]:
    """The ticks of as many ranks as can be told apart; those with numbers in any case."""
    for least in Rank:
        kept = [tick for tick in ticks if tick.rank >= least]
        gaps = (math.radians(b.bearing - a.bearing) * radius for a, b in pairwise(kept))
        if min(gaps, default=math.inf) >= LEAST_GAP:
            break
    return kept


def _cells(dots: Iterable[Dot], pivot: Dot, columns: int, rows: int) -> list[list[int]]:
    cells = [[0] * columns for _ in range(rows)]
    for x, y in dots:
        at_x, at_y = x + pivot[0], y + pivot[1]
        if 0 <= at_x < 2 * columns and 0 <= at_y < 4 * rows:  # a needle may lie outside the sweep
            cells[at_y // 4][at_x // 2] |= BITS[at_x % 2][at_y % 4]
    return cells


def _letters(dial: Dial, pivot: Dot, radius: int, cells: list[list[int]]) -> list[list[str]]:
    """The numbers outside the arc; those between the ends all or none, if their steps are equal."""
    labelled = [tick for tick in dial.ticks() if tick.label]
    ends = [labelled[0], *labelled[1:][-1:]]
    between = sorted(labelled[1:-1], key=lambda tick: str(tick.count).strip("0") != "1")
    for ticks in ([*ends, *between], ends):
        letters = [[""] * len(row) for row in cells]
        written = [_write(tick, pivot, radius, cells, letters) for tick in ticks]
        if all(written) or isinstance(dial.scale, LogScale):
            break
    return letters


def _write(
    tick: Tick, pivot: Dot, radius: int, cells: list[list[int]], letters: list[list[str]]
) -> bool:
    """Put a tick's number where there is room for it; False if there is none."""
    width, outwards = len(tick.label), 1 if tick.bearing > 0 else -1
    # If need be further aside, or without a column between the number and the ticks.
    for beside, aside, further in product((1, 0), range(4), range(7)):
        row, left = _place(tick, pivot, radius + LABEL_GAP_DOTS + further)
        left += aside * outwards
        if not 0 <= row < len(cells) or not 0 <= left <= len(cells[row]) - width:
            continue
        marked = any(cells[row][max(0, left - beside) : left + width + beside])
        if not marked and not any(letters[row][max(0, left - 1) : left + width + 1]):
            letters[row][left : left + width] = tick.label
            return True
    return False


def _place(tick: Tick, pivot: Dot, distance: int) -> tuple[int, int]:
    """The row and the leftmost column of a tick's number, that near to the pivot."""
    x, y = point(tick.bearing, distance)
    sideways, upwards = point(tick.bearing, 1)
    left = (x + pivot[0] + 0.5 + sideways - len(tick.label) * (1 - sideways)) / 2
    return math.floor((y + 2 * upwards + pivot[1]) / 4), round(left)


def _row(cells: list[int], letters: list[str], needle: list[int]) -> ArtRow:
    signs = [
        _sign(cell | dots, "" if dots else letter)
        for cell, letter, dots in zip(cells, letters, needle, strict=True)
    ]
    columns = [column for column, dots in enumerate(needle) if dots]
    return ArtRow("".join(signs), (columns[0], columns[-1] + 1) if columns else None)


def _sign(cell: int, letter: str) -> str:
    # A Braille blank is a box in some fonts.
    return letter or (chr(BLANK | cell) if cell else " ")


def _nearest(x: float, y: float) -> Dot:
    # Halves go outwards, so that left and right are alike.
    return round(math.copysign(math.floor(abs(x) + 0.5), x)), math.floor(y + 0.5)
