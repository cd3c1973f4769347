"""How a dial is drawn, on a screen as on paper: where its marks stand and its needle points."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

from tweetdock.scaler import LinearScale, LogScale, Scale, make_scale
from tweetdock.settings import DialSettings

LEAST_DEGREES = 1.4  # between two marks; nearer ones are a smear
LEAST_LABEL_DEGREES = 13.0  # between two numbers
MOST_MINOR = 60  # marks on a dial
INTERVALS = 5  # between numbers, at most; so every scale of 1, 2 or 5 times ten divides evenly


class Rank(IntEnum):
    """How long a mark is; the longest have a number."""

    MINOR = 0
    MIDDLE = 1
    MAJOR = 2


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """One mark: its count, its place (0..1), its bearing, and how long it is."""

    count: int
    position: float
    bearing: float
    rank: Rank

    @property
    def label(self) -> str:
        """The number beside it, as short as it can be read: `500`, `2k`, `1.5M`; or nothing."""
        return short(self.count) if self.rank is Rank.MAJOR else ""


@dataclass(frozen=True, slots=True)
class Dial:
    """A dial's geometry: bearings are degrees clockwise from straight up, as seen by its reader.

    The middle of the dial is straight up; higher counts are further clockwise.
    """

    min_angle: float
    max_angle: float
    scale: Scale

    @classmethod
    def of(cls, dial: DialSettings, full_scale: int) -> "Dial":
        """A dial as it is set; an automatic scale is drawn as it stands now."""
        scale = LinearScale(full_scale) if dial.scale == "auto" else make_scale(dial.scale)
        return cls(dial.min_angle, dial.max_angle, scale)

    @property
    def sweep(self) -> float:
        """Degrees from one end to the other."""
        return self.max_angle - self.min_angle

    def bearing_of(self, angle: float) -> float:
        """The bearing of a needle at a servo's angle."""
        return angle - (self.min_angle + self.max_angle) / 2

    def bearing(self, position: float) -> float:
        """The bearing of a place on the scale, 0..1."""
        return self.bearing_of(self.min_angle + position * self.sweep)

    def marks(self) -> list[Mark]:
        """All marks, from zero to full scale; both ends have a number, the others if there is room.

        Numbers go by 1-2-5, on a logarithmic scale in each decade.
        """
        wishes = _log_wishes if isinstance(self.scale, LogScale) else _linear_wishes
        labelled: list[Mark] = []
        kept: list[Mark] = []
        for count, rank in sorted(
            wishes(self.scale.full_scale, self.sweep), key=lambda wish: -wish[1]
        ):
            mark = self._mark(count, rank)
            if rank >= Rank.MAJOR:
                if _is_clear(mark, labelled, LEAST_LABEL_DEGREES):
                    labelled.append(mark)
                else:
                    mark = replace(mark, rank=Rank.MIDDLE)
            if _is_clear(mark, kept, LEAST_DEGREES):
                kept.append(mark)
        return sorted(kept)

    def _mark(self, count: int, rank: int) -> Mark:
        # Both kinds of scale that are drawn know no time.
        position = self.scale.position(count, 0)
        return Mark(count, position, self.bearing(position), Rank(min(rank, Rank.MAJOR)))


def point(bearing: float, radius: float) -> tuple[float, float]:
    """Where a bearing leads to from the pivot, x to the right and y downwards."""
    angle = math.radians(bearing)
    return radius * math.sin(angle), -radius * math.cos(angle)


def short(count: int) -> str:
    """A count as a dial has room for it: `500`, `2000`, `10k`, `1.5M`."""
    for unit, sign in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if count >= max(unit, 10_000):
            return f"{count / unit:.4g}{sign}"
    return str(count)


# A wish for a mark has its count and a rank; above MAJOR are those whose numbers go first.
_END, _TENS = Rank.MAJOR + 2, Rank.MAJOR + 1


def _linear_wishes(full_scale: int, sweep: float) -> Iterator[tuple[int, int]]:
    yield from ((0, _END), (full_scale, _END))
    major = _step(full_scale / max(1, min(INTERVALS, sweep // LEAST_LABEL_DEGREES)))
    middle = major // 2 if major % 2 == 0 else 0
    minor = max(1, major // 10 if full_scale // major * 10 <= MOST_MINOR else major // 5)
    for count in range(minor, full_scale, minor):
        if count % major == 0:
            yield count, Rank.MAJOR
        else:
            yield count, Rank.MIDDLE if middle and count % middle == 0 else Rank.MINOR


def _log_wishes(full_scale: int, _: float) -> Iterator[tuple[int, int]]:
    yield from ((0, _END), (full_scale, _END))
    decade = 1
    while decade < full_scale:
        for digit in range(1, 10):
            if (count := digit * decade) < full_scale:
                yield count, {1: _TENS, 2: Rank.MAJOR, 5: Rank.MAJOR}.get(digit, Rank.MINOR)
        decade *= 10


def _step(least: float) -> int:
    """The smallest whole 1, 2 or 5 times a power of ten that is no less."""
    decade = 1
    while decade * 5 < least:
        decade *= 10
    return next(decade * digit for digit in (1, 2, 5) if decade * digit >= least)


def _is_clear(mark: Mark, others: list[Mark], degrees: float) -> bool:
    return all(abs(mark.bearing - other.bearing) >= degrees for other in others)
