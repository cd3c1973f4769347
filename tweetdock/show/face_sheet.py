"""A sheet of paper and the shapes on it, in millimetres from its upper left corner."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from unicodedata import east_asian_width

from tweetdock.core.dial import CAPITAL, point

INK = "#1d2733"
SOFT = "#5b6673"
RED = "#d6402b"

Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line; count: what it marks, if it is a dial's mark."""

    x1: float
    y1: float
    x2: float
    y2: float
    width: float
    colour: str = INK
    is_dashed: bool = False
    count: int | None = None

    @property
    def box(self) -> Box:
        """What it takes of the sheet."""
        half = self.width / 2
        left, right = sorted((self.x1, self.x2))
        top, bottom = sorted((self.y1, self.y2))
        return left - half, top - half, right + half, bottom + half


@dataclass(frozen=True, slots=True)
class Arc:
    """A part of a circle, clockwise from one bearing to another, in degrees from straight up."""

    x: float
    y: float
    radius: float
    start: float
    end: float
    width: float
    colour: str = INK
    is_dashed: bool = False

    def at(self, bearing: float) -> tuple[float, float]:
        """Where it is at a bearing."""
        x, y = point(bearing, self.radius)
        return self.x + x, self.y + y

    @property
    def box(self) -> Box:
        """What it takes of the sheet."""
        # A box is widest at an end, or where an arc goes straight up, right, down or left.
        quarters = range(math.ceil(self.start / 90) * 90, math.floor(self.end) + 1, 90)
        xs, ys = zip(
            *(self.at(bearing) for bearing in (self.start, self.end, *quarters)), strict=True
        )
        half = self.width / 2
        return min(xs) - half, min(ys) - half, max(xs) + half, max(ys) + half


@dataclass(frozen=True, slots=True)
class Ring:
    """A whole circle; without a width it is a filled disc."""

    x: float
    y: float
    radius: float
    width: float
    colour: str = INK
    is_dashed: bool = False

    @property
    def box(self) -> Box:
        """What it takes of the sheet."""
        reach = self.radius + self.width / 2
        return self.x - reach, self.y - reach, self.x + reach, self.y + reach


@dataclass(frozen=True, slots=True)
class Words:
    """One line of text; y is its baseline, x its middle or, if it is not centred, its left end."""

    x: float
    y: float
    size: float
    text: str
    colour: str = INK
    is_centred: bool = False

    @property
    def box(self) -> Box:
        """About what it takes of the sheet."""
        width = text_width(self.text) * self.size
        left = self.x - width / 2 if self.is_centred else self.x
        return left, self.y - CAPITAL * self.size, left + width, self.y + 0.22 * self.size


Shape = Line | Arc | Ring | Words


@dataclass(frozen=True, slots=True)
class Layer:
    """Shapes of one kind, by a name for who edits or cuts them by machine."""

    name: str
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page."""

    title: str
    width: float
    height: float
    layers: tuple[Layer, ...]

    @property
    def box(self) -> Box:
        """What all shapes take of it."""
        return box_of(shape for layer in self.layers for shape in layer.shapes)


def box_of(shapes: Iterator[Shape]) -> Box:
    """What some shapes take together."""
    lefts, tops, rights, bottoms = zip(*(shape.box for shape in shapes), strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def text_width(text: str) -> float:
    """About how wide a text is in a common typeface without serifs, in its size."""
    return sum(map(_sign_width, text))


def _sign_width(sign: str) -> float:
    if east_asian_width(sign) in "WF":
        return 1.0
    if sign in "mwMW@%":
        return 0.9
    if sign in "fijlrtI.,:;'|()[]/ ":
        return 0.32
    return 0.7 if sign.isupper() else 0.57
