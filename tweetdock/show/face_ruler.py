"""What stands below a face: notes for its maker, and means to check the printer's size."""

from collections.abc import Iterator, Sequence

from tweetdock.show.face_sheet import INK, SOFT, Line, Ring, Shape, Words

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


def ruler(width: float, top: float, notes: Sequence[str]) -> Iterator[Shape]:
    """A ring, a line and the notes, in the middle of a sheet of that width, below `top`."""
    left = (width - RING - _SPACE - LENGTH) / 2
    x, y = left + RING / 2, top + RING / 2 + _THIN
    yield Ring(x, y, RING / 2, _THIN)
    yield Line(x - 2, y, x + 2, y, _FINE, SOFT)
    yield Line(x, y - 2, x, y + 2, _FINE, SOFT)
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


def _line(left: float, y: float) -> Iterator[Shape]:
    yield Line(left, y, left + LENGTH, y, _THIN)
    for centimetre in range(11):
        x = left + centimetre * 10
        height = 2.5 if centimetre in (0, 5, 10) else 1.5
        yield Line(x, y - height, x, y, _FINE)


def _body(left: float, top: float) -> Iterator[Shape]:
    width, height = _BODY
    right, bottom = left + width, top + height
    for corners in (
        (left, top, right, top),
        (right, top, right, bottom),
        (right, bottom, left, bottom),
        (left, bottom, left, top),
    ):
        yield Line(*corners, _FINE, SOFT, is_dashed=True)
    x, y = left + height / 2, top + height / 2
    yield Line(x - 2, y, x + 2, y, _FINE, SOFT)
    yield Line(x, y - 2, x, y + 2, _FINE, SOFT)
    words = (
        "An SG90 servo from the front; the cross is its shaft.",
        "Others differ: measure yours.",
    )
    for number, line in enumerate(words):
        yield Words(right + 4, y - 0.8 + number * _LEADING, _SIZE, line, SOFT)
