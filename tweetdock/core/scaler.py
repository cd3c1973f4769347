"""From a count to a dial position 0..1: linear, logarithmic, or on a scale that fits itself."""

import math
import re
from typing import Protocol

SMALLEST_FULL_SCALE = 10
# Come down only when the count would stay under this share of the smaller scale ...
COMFORT = 0.8
# ... and has done so for this long: a dial that changes its scale mid-talk cannot be read.
PATIENCE_MS = 15 * 60 * 1000


class Scale(Protocol):
    """How a dial is divided."""

    @property
    def full_scale(self) -> int:
        """The count at which the needle stands at its end."""
        ...

    def position(self, count: int, now_ms: int) -> float:
        """Where the needle belongs, 0..1; a count above full scale pegs at 1."""
        ...


class LinearScale:
    """Equal counts, equal ways."""

    def __init__(self, full_scale: int) -> None:
        self.full_scale = full_scale

    def position(self, count: int, now_ms: int) -> float:  # noqa: ARG002 - a fixed scale knows no time
        """Count / full_scale, pegged."""
        return min(1.0, count / self.full_scale)


class LogScale:
    """Equal ratios, nearly equal ways: log(1 + count) / log(1 + full_scale), so 0 stays at 0."""

    def __init__(self, full_scale: int) -> None:
        self.full_scale = full_scale

    def position(self, count: int, now_ms: int) -> float:  # noqa: ARG002 - a fixed scale knows no time
        """The logarithmic position, pegged."""
        return min(1.0, math.log1p(count) / math.log1p(self.full_scale))


class AutoScale:
    """Linear, with a full scale of 1, 2 or 5 times a power of ten: up at once, down slowly.

    roomy_since_ms: since when the counts would have fitted comfortably on a smaller one.
    """

    def __init__(
        self, full_scale: int = SMALLEST_FULL_SCALE, roomy_since_ms: int | None = None
    ) -> None:
        self.full_scale = full_scale
        self.roomy_since_ms = roomy_since_ms

    def position(self, count: int, now_ms: int) -> float:
        """Count / full_scale, after the scale was fitted to the count."""
        self._fit(count, now_ms)
        return count / self.full_scale

    def _fit(self, count: int, now_ms: int) -> None:
        comfortable = step_above(math.ceil(count / COMFORT))
        if count > self.full_scale:
            self.full_scale = step_above(count)
        if comfortable >= self.full_scale:
            self.roomy_since_ms = None
        elif self.roomy_since_ms is None or now_ms < self.roomy_since_ms:
            self.roomy_since_ms = now_ms
        elif now_ms - self.roomy_since_ms >= PATIENCE_MS:
            self.full_scale = step_below(self.full_scale)
            self.roomy_since_ms = now_ms


def step_above(count: int) -> int:
    """The smallest 1-2-5 step that holds `count`."""
    decade = SMALLEST_FULL_SCALE
    while decade * 5 < count:
        decade *= 10
    return next(decade * step for step in (1, 2, 5) if decade * step >= count)


def step_below(full_scale: int) -> int:
    """The 1-2-5 step below a step."""
    digit = int(str(full_scale)[0])
    return max(SMALLEST_FULL_SCALE, full_scale * 2 // 5 if digit == 5 else full_scale // 2)


def make_scale(words: str) -> Scale:
    """A scale from its setting: `auto`, `linear:500`, `log:10000`; ValueError for anything else."""
    if words == "auto":
        return AutoScale()
    kind, _, number = words.partition(":")
    if kind in ("linear", "log") and re.fullmatch(r"[0-9]{1,9}", number) and int(number) > 0:
        return (LinearScale if kind == "linear" else LogScale)(int(number))
    raise ValueError("auto, linear:N or log:N with N from 1 to 999999999, such as linear:500")
