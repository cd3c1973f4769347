"""Counts as a row of bars, in eighths of a character; what is unknown is left open."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

EIGHTHS = "▁▂▃▄▅▆▇█"

Value = TypeVar("Value")


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
    return ["".join(_sign(height, row) for height in heights) for row in reversed(range(rows))]


def _eighths(count: int, most: int, rows: int) -> int:
    # What is counted as nothing is known, too, and shows: a line at the ground.
    return max(1, -(-count * 8 * rows // most)) if most else 1


def _sign(height: int | None, row: int) -> str:
    filled = min(8, (height or 0) - 8 * row)
    return EIGHTHS[filled - 1] if filled > 0 else " "
