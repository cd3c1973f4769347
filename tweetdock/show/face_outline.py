"""Where a dial's face is to be cut out of its sheet."""

import math
from collections.abc import Iterator, Sequence

from tweetdock.show.face_sheet import SOFT, Arc, Line, Ring, Shape

CUT = 0.2  # mm, the thickness of such lines
_ROUND = 0.7  # a face whose print comes down so far, in radii, stays a whole disc
_NARROW = 0.85  # one that is not so wide loses its sides


def cut_out(printed: Sequence[Shape], rim: float) -> Iterator[Shape]:
    """The outline around what is printed around 0, 0, with a rim of so many millimetres.

    It is a disc, less what would stay empty at its bottom and its sides.
    """
    radius = max(math.hypot(x, y) for shape in printed for x, y in _corners(shape)) + rim
    boxes = [shape.box for shape in printed]
    low = max(bottom for _, _, _, bottom in boxes) + rim
    wide = max(max(-left, right) for left, _, right, _ in boxes) + rim
    if low >= _ROUND * radius:
        yield Ring(0, 0, radius, CUT, SOFT, is_dashed=True)
        return
    if wide >= _NARROW * radius:
        bearing = 90 + math.degrees(math.asin(low / radius))
        wide = math.sqrt(radius**2 - low**2)
    else:
        bearing = math.degrees(math.asin(wide / radius))
    arc = Arc(0, 0, radius, -bearing, bearing, CUT, SOFT, is_dashed=True)
    _, height = arc.at(bearing)
    yield arc
    for side in (-wide, wide):
        if height < low - CUT:
            yield Line(side, height, side, low, CUT, SOFT, is_dashed=True)
    yield Line(-wide, low, wide, low, CUT, SOFT, is_dashed=True)


def _corners(shape: Shape) -> Iterator[tuple[float, float]]:
    if isinstance(shape, Arc):
        yield shape.at(shape.start)  # the corners of its box are further out than itself
    elif isinstance(shape, Line):
        yield from ((shape.x1, shape.y1), (shape.x2, shape.y2))
    else:
        left, top, right, bottom = shape.box
        yield from ((left, top), (right, top), (left, bottom), (right, bottom))
