"""A dial's face on paper: what is printed, where, in true millimetres."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from unicodedata import east_asian_width

from tweetdock.core.dial import (
    CAPITAL,
    INK,
    LABEL_SIZE,
    LEAST_LABEL_DEGREES,
    RED,
    SOFT,
    TURN,
    Dial,
    Rank,
    label_point,
    point,
)
from tweetdock.core.errors import TweetDockError

Box = tuple[float, float, float, float]  # left, top, right, bottom

CUT = 0.2  # mm, the thickness of such lines
_ROUND = 0.7  # a face whose print comes down so far, in radii, stays a whole disc
_NARROW = 0.85  # one that is not so wide loses its sides

RING = 50.0  # mm across
LENGTH = 100.0  # mm
_ADVICE = (
    "This line is 100 mm long, and the ring is 50 mm wide.",
    "If not, print at 100 %, not 'fit to page'.",
)
_SIZE = 3.3  # of the type
_LEADING = 5.0
_THIN, _FINE = 0.3, 0.15
_SPACE = 12.0  # between ring and line
# An SG90's body as most data sheets have it; its shaft is as far from three of its sides.
_BODY = (22.2, 11.8)

PAPERS = {"a4": (210.0, 297.0), "letter": (215.9, 279.4), "a3": (297.0, 420.0)}
SHEET_MARGIN = 10.0  # of the sheet; no printer needs more
LEAST_RADIUS_MM = 20.0  # a smaller dial's numbers cannot be read
_GAP = 8.0  # between the face and what is below it

# In radii of the dial: how far ticks reach inwards, how thick they are, and so on.
_LENGTHS = {Rank.MAJOR: 0.11, Rank.MIDDLE: 0.075, Rank.MINOR: 0.05}
_WIDTHS = {Rank.MAJOR: 0.014, Rank.MIDDLE: 0.009, Rank.MINOR: 0.006}
_TITLE_SIZE, _LEAST_TITLE_SIZE = 0.15, 0.06
_TITLE_Y, _SUBTITLE_Y = -0.44, -0.31
_TITLE_WIDTH = 1.2
_RIM = 0.06  # from the outermost print to the cut


@dataclass(frozen=True, slots=True)
class StraightLine:
    """A straight line; count: of the tick that it is, if it is one."""

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
    """A circle, or its part clockwise from one bearing to another, in degrees from straight up.

    Without a width it is a filled disc.
    """

    x: float
    y: float
    radius: float
    width: float
    colour: str = INK
    start: float = 0.0
    end: float = TURN
    is_dashed: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it comes round to where it began."""
        return self.end - self.start >= TURN

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


Shape = StraightLine | Arc | Words


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


def cut_out(printed: Sequence[Shape], rim: float) -> Iterator[Shape]:
    """The outline around what is printed around 0, 0, with a rim of so many millimetres.

    It is a disc, less what would stay empty at its bottom and its sides. The outermost is a text.
    """
    boxes = [shape.box for shape in printed]
    texts = [shape.box for shape in printed if isinstance(shape, Words)]
    radius = max(math.hypot(x, y) for box in texts for x in box[::2] for y in box[1::2]) + rim
    low = max(bottom for _, _, _, bottom in boxes) + rim
    wide = max(max(-left, right) for left, _, right, _ in boxes) + rim
    if low >= _ROUND * radius:
        yield Arc(0, 0, radius, CUT, SOFT, is_dashed=True)
        return
    if wide >= _NARROW * radius:
        bearing = 90 + math.degrees(math.asin(low / radius))
        wide = math.sqrt(radius**2 - low**2)
    else:
        bearing = math.degrees(math.asin(wide / radius))
    arc = Arc(0, 0, radius, CUT, SOFT, -bearing, bearing, is_dashed=True)
    _, height = arc.at(bearing)
    yield arc
    for side in (-wide, wide):
        if height < low - CUT:
            yield StraightLine(side, height, side, low, CUT, SOFT, is_dashed=True)
    yield StraightLine(-wide, low, wide, low, CUT, SOFT, is_dashed=True)


def ruler(width: float, top: float, notes: Sequence[str]) -> Iterator[Shape]:
    """A ring, a line and the notes, in the middle of a sheet of that width, below `top`."""
    left = (width - RING - _SPACE - LENGTH) / 2
    x, y = left + RING / 2, top + RING / 2 + _THIN
    yield Arc(x, y, RING / 2, _THIN)
    yield from _cross(x, y, 2, _FINE)
    yield Words(x, y + 9, _SIZE, "50 mm", SOFT, is_centred=True)
    left += RING + _SPACE
    baseline = top + _SIZE
    for note in notes:
        yield Words(left, baseline, _SIZE, note, SOFT)
        baseline += _LEADING
    y = top + 21
    yield from _line(left, y)
    for number, advice in enumerate(_ADVICE):
        yield Words(left, y + 7 + number * _LEADING, _SIZE, advice, INK)
    yield from _body(left, top + RING - _BODY[1])


def _cross(x: float, y: float, arm: float, width: float) -> Iterator[Shape]:
    yield StraightLine(x - arm, y, x + arm, y, width, SOFT)
    yield StraightLine(x, y - arm, x, y + arm, width, SOFT)


def _line(left: float, y: float) -> Iterator[Shape]:
    yield StraightLine(left, y, left + LENGTH, y, _THIN)
    for centimetre in range(11):
        x = left + centimetre * 10
        height = 2.5 if centimetre in (0, 5, 10) else 1.5
        yield StraightLine(x, y - height, x, y, _FINE)


def _body(left: float, top: float) -> Iterator[Shape]:
    width, height = _BODY
    right, bottom = left + width, top + height
    for y in (top, bottom):
        yield StraightLine(left, y, right, y, _FINE, SOFT, is_dashed=True)
    for x in (left, right):
        yield StraightLine(x, top, x, bottom, _FINE, SOFT, is_dashed=True)
    x, y = left + height / 2, top + height / 2
    yield from _cross(x, y, 2, _FINE)
    words = (
        "An SG90 servo from the front; the cross is its shaft.",
        "Others differ: measure yours.",
    )
    for number, line in enumerate(words):
        yield Words(right + 4, y - 0.8 + number * _LEADING, _SIZE, line, SOFT)


class FaceError(TweetDockError, ValueError):
    """A face that cannot be printed so: `str()` says why, and what can."""


@dataclass(frozen=True, slots=True)
class Face:
    """What a face shows. radius: of the arc; hole: across, for the horn; both in millimetres.

    notes: lines that are printed beside it, for its maker.
    """

    dial: Dial
    radius: float
    hole: float
    title: str
    subtitle: str
    notes: tuple[str, ...] = ()


def draw_face(face: Face, paper: str) -> Sheet:
    """The sheet with a face and the means to check its size; raises FaceError if it has no room."""
    _check(face)
    sheet = _draw(face, paper)
    if _fits(sheet):
        return sheet
    sizes = range(int(face.radius), int(LEAST_RADIUS_MM) - 1, -1)
    radius = next((r for r in sizes if _fits(_draw(replace(face, radius=r), paper))), None)
    rest = f"up to {radius} mm fits" if radius else "make its title or its hole smaller"
    larger = "" if paper == "a3" else ", or use a larger paper"
    raise FaceError(
        f"a radius of {face.radius:g} mm does not fit on {paper.upper()}: {rest}{larger}"
    )


def needle_length(radius: float) -> float:
    """How long a needle is that ends where the longest ticks begin."""
    return radius * (1 - _LENGTHS[Rank.MAJOR])


def _check(face: Face) -> None:
    sweep = face.dial.sweep
    least, most = LEAST_LABEL_DEGREES, 360 - LEAST_LABEL_DEGREES
    if not least <= sweep <= most:
        raise FaceError(
            f"this dial goes over {sweep:g} degrees: a face can show from {least:g} to {most:g}"
        )
    if face.hole > face.radius / 2:
        raise FaceError(
            f"a hole of {face.hole:g} mm is too wide for a radius of {face.radius:g} mm: "
            "at most half of it"
        )
    longest = _TITLE_WIDTH / _LEAST_TITLE_SIZE
    for text in (face.title, face.subtitle):
        if not text.isprintable():
            raise FaceError(f"{text!r} has characters that cannot be printed")
        if text_width(text) > longest:
            raise FaceError(f"{text!r} is too long: about {longest / 0.57:.0f} letters fit")


def _fits(sheet: Sheet) -> bool:
    left, top, right, bottom = sheet.box
    least = SHEET_MARGIN - 0.01
    return (
        min(left, top) >= least and right <= sheet.width - least and bottom <= sheet.height - least
    )


def _draw(face: Face, paper: str) -> Sheet:
    width, height = PAPERS[paper]
    # All is drawn around the pivot, and then laid onto the sheet.
    layers = [*_print(face), Layer("hole", tuple(_hole(face.hole)))]
    printed = [shape for layer in layers for shape in layer.shapes]
    layers.append(Layer("cut", tuple(cut_out(printed, _RIM * face.radius))))
    _, top, _, bottom = box_of(shape for layer in layers for shape in layer.shapes)
    at = (width / 2, SHEET_MARGIN - top)
    placed = [
        Layer(layer.name, tuple(_moved(shape, *at) for shape in layer.shapes)) for layer in layers
    ]
    below = SHEET_MARGIN - top + bottom + _GAP
    placed.append(Layer("check", tuple(ruler(width, below, face.notes))))
    return Sheet(f"TweetDock: {face.title}".rstrip(": "), width, height, tuple(placed))


def _print(face: Face) -> Iterator[Layer]:
    dial, radius = face.dial, face.radius
    ticks = dial.ticks()
    start, end = dial.bearing(0), dial.bearing(1)
    lines = [_spoke(tick.bearing, radius, tick.rank, tick.count) for tick in ticks]
    # The arc ends flush with its outermost ticks.
    arc = Arc(0, 0, radius, 0.01 * radius, INK, start, end)
    yield Layer("scale", (arc, *lines))
    size = LABEL_SIZE * radius
    numbers = [(label_point(tick.bearing, tick.label), tick.label) for tick in ticks if tick.label]
    yield Layer(
        "numbers",
        tuple(
            Words(x * radius, y * radius + CAPITAL * size / 2, size, label, is_centred=True)
            for (x, y), label in numbers
        ),
    )
    yield Layer("rest", (Arc(*point(start, radius * 0.845), 0.016 * radius, 0, RED),))
    yield Layer("title", tuple(_titles(face)))


def _spoke(bearing: float, radius: float, rank: Rank, count: int) -> StraightLine:
    outer = point(bearing, radius)
    inner = point(bearing, radius * (1 - _LENGTHS[rank]))
    return StraightLine(*inner, *outer, _WIDTHS[rank] * radius, count=count)


def _titles(face: Face) -> Iterator[Words]:
    for text, size, y, colour in (
        (face.title, _TITLE_SIZE, _TITLE_Y, INK),
        (face.subtitle, _TITLE_SIZE / 2, _SUBTITLE_Y, SOFT),
    ):
        if text:
            fitting = min(size, _TITLE_WIDTH / text_width(text))
            yield Words(0, y * face.radius, fitting * face.radius, text, colour, is_centred=True)


def _hole(across: float) -> Iterator[Shape]:
    # The cross goes with the hole: nothing of it stays on the face.
    arm = across / 2 or 1.5
    yield from _cross(0, 0, arm, CUT / 2)
    if across:
        yield Arc(0, 0, across / 2, CUT, SOFT)


def _moved(shape: Shape, x: float, y: float) -> Shape:
    if isinstance(shape, StraightLine):
        return replace(shape, x1=shape.x1 + x, y1=shape.y1 + y, x2=shape.x2 + x, y2=shape.y2 + y)
    return replace(shape, x=shape.x + x, y=shape.y + y)
