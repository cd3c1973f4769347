"""A dial's face on paper: what is printed, where, in true millimetres."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tweetdock.core.dial import (
    CAPITAL,
    LABEL_SIZE,
    LEAST_LABEL_DEGREES,
    Dial,
    Rank,
    label_point,
    point,
)
from tweetdock.core.errors import TweetDockError
from tweetdock.show.face_outline import CUT, cut_out
from tweetdock.show.face_ruler import ruler
from tweetdock.show.face_sheet import (
    INK,
    RED,
    SOFT,
    Arc,
    Layer,
    Line,
    Ring,
    Shape,
    Sheet,
    Words,
    box_of,
    text_width,
)

PAPERS = {"a4": (210.0, 297.0), "letter": (215.9, 279.4), "a3": (297.0, 420.0)}
MARGIN = 10.0  # of the sheet; no printer needs more
LEAST_RADIUS = 20.0  # a smaller dial's numbers cannot be read
_GAP = 8.0  # between the face and what is below it

# In radii of the dial: how far marks reach inwards, and how thick they are.
_LENGTHS = {Rank.MAJOR: 0.11, Rank.MIDDLE: 0.075, Rank.MINOR: 0.05}
_WIDTHS = {Rank.MAJOR: 0.014, Rank.MIDDLE: 0.009, Rank.MINOR: 0.006}
_TITLE_SIZE, _LEAST_TITLE_SIZE = 0.15, 0.06
_TITLE_Y, _SUBTITLE_Y = -0.44, -0.31
_TITLE_WIDTH = 1.2
_RIM = 0.06  # from the outermost print to the cut


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
    sizes = range(int(face.radius), int(LEAST_RADIUS) - 1, -1)
    radius = next((r for r in sizes if _fits(_draw(replace(face, radius=r), paper))), None)
    rest = f"up to {radius} mm do" if radius else "make its title or its hole smaller"
    larger = "" if paper == "a3" else ", or take a larger paper"
    raise FaceError(
        f"a radius of {face.radius:g} mm does not fit on {paper.upper()}: {rest}{larger}"
    )


def needle_length(radius: float) -> float:
    """How long a needle is that ends where the longest marks begin."""
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
            f"a hole of {face.hole:g} mm takes too much of a face with a radius of "
            f"{face.radius:g} mm: at most half of it"
        )
    longest = _TITLE_WIDTH / _LEAST_TITLE_SIZE
    for text in (face.title, face.subtitle):
        if not text.isprintable():
            raise FaceError(f"{text!r} has signs that cannot be printed")
        if text_width(text) > longest:
            raise FaceError(f"{text!r} is too long: about {longest / 0.57:.0f} letters have room")


def _fits(sheet: Sheet) -> bool:
    left, top, right, bottom = sheet.box
    least = MARGIN - 0.01
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
    at = (width / 2, MARGIN - top)
    placed = [
        Layer(layer.name, tuple(_moved(shape, *at) for shape in layer.shapes)) for layer in layers
    ]
    below = MARGIN - top + bottom + _GAP
    placed.append(Layer("check", tuple(ruler(width, below, face.notes))))
    return Sheet(f"TweetDock: {face.title}".rstrip(": "), width, height, tuple(placed))


def _print(face: Face) -> Iterator[Layer]:
    dial, radius = face.dial, face.radius
    marks = dial.marks()
    start, end = dial.bearing(0), dial.bearing(1)
    lines = [_spoke(mark.bearing, radius, mark.rank, mark.count) for mark in marks]
    # The arc ends flush with its outermost marks.
    arc = Arc(0, 0, radius, start, end, 0.01 * radius)
    yield Layer("scale", (arc, *lines))
    size = LABEL_SIZE * radius
    numbers = [(label_point(mark.bearing, mark.label), mark.label) for mark in marks if mark.label]
    yield Layer(
        "numbers",
        tuple(
            Words(x * radius, y * radius + CAPITAL * size / 2, size, label, is_centred=True)
            for (x, y), label in numbers
        ),
    )
    yield Layer("rest", (Ring(*point(start, radius * 0.845), 0.016 * radius, 0, RED),))
    yield Layer("title", tuple(_titles(face)))


def _spoke(bearing: float, radius: float, rank: Rank, count: int) -> Line:
    outer = point(bearing, radius)
    inner = point(bearing, radius * (1 - _LENGTHS[rank]))
    return Line(*inner, *outer, _WIDTHS[rank] * radius, count=count)


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
    yield Line(-arm, 0, arm, 0, CUT / 2, SOFT)
    yield Line(0, -arm, 0, arm, CUT / 2, SOFT)
    if across:
        yield Ring(0, 0, across / 2, CUT, SOFT)


def _moved(shape: Shape, x: float, y: float) -> Shape:
    if isinstance(shape, Line):
        return replace(shape, x1=shape.x1 + x, y1=shape.y1 + y, x2=shape.x2 + x, y2=shape.y2 + y)
    return replace(shape, x=shape.x + x, y=shape.y + y)
