"""One dial as SVG: face, marks, number and needle, the same in the page and as a picture."""

from html import escape
from typing import NamedTuple

from tweetdock.core.coverage import Grade
from tweetdock.core.dial import CAPITAL, LABEL_SIZE, Dial, Mark, Rank, label_point, point
from tweetdock.core.reading import DialReading
from tweetdock.core.scaler import SMALLEST_FULL_SCALE, make_scale
from tweetdock.settings.gauge import DialSettings
from tweetdock.show.web.words import NOTES, TITLES, WORDS, dial_words, notes, number

# The pivot is the origin; the picture is 400 wide and high.
FACE, ARC = 198.0, 148.0
LENGTHS = {Rank.MINOR: 8.0, Rank.MIDDLE: 13.0, Rank.MAJOR: 20.0}
HALF_CAPITAL = ARC * LABEL_SIZE * CAPITAL / 2
WIDTHS = {Rank.MINOR: 1.4, Rank.MIDDLE: 1.4, Rank.MAJOR: 3.5}
# The largest size at which so many signs fit below the pivot.
SIZES = ((5, 76), (7, 60), (9, 46), (13, 34))
SMALLEST_SIZE = 24
WIDE_SWEEP = 250.0  # degrees; marks come down beside the number
FONTS = (
    "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', Piboto, Roboto, 'Noto Sans', "
    "'DejaVu Sans Condensed', sans-serif"
)
# A style sheet may put other colours in their place; a picture has these.
PAPER, INK, SOFT, RULE, RED = "#fbf8f1", "#1d2733", "#5b6673", "#e4ddcd", "#d6402b"


class Places(NamedTuple):
    """How far below the pivot the words stand, and how large they are at most."""

    title_y: int
    count_y: int
    note_y: int
    count_size: int
    note_size: int


BELOW, WITHIN = Places(56, 129, 159, 76, 15), Places(-50, 84, 106, 40, 12)


def draw_dial(
    name: str, reading: DialReading | None, dial: DialSettings, grade: Grade, sort: str = ""
) -> str:
    """A dial with its needle; reading: None while there is none.

    sort: what a picture that stands by itself says first; empty for real posts of now.
    The needle is the group `needle`, turned by its bearing: degrees clockwise from straight up.
    `data-straight` is the angle at which it points straight up; by the other data-attributes one
    knows of which scale its marks are.
    """
    shown = reading or _nothing(dial)
    geometry = Dial.of(dial, shown.full_scale)
    places = WITHIN if abs(geometry.sweep) > WIDE_SWEEP else BELOW
    size = min(places.count_size, _size(number(shown.count)))
    label = dial_words(name, shown, grade) if reading else f"{TITLES[name]}: {WORDS['none_why']}"
    count = number(shown.count) if reading else "\u2013"
    note = notes(shown, grade) if reading else WORDS["at_rest"]
    if sort:
        label, note = f"{sort}. {label}", NOTES.join(filter(None, (sort, note)))
    is_pegged = shown.pegged and shown.known and grade is not Grade.STALE
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" class="dial" viewBox="-200 -200 400 400" role="img"
aria-label="{escape(label)}" data-dial="{escape(name)}" data-angle="{shown.angle:g}"
data-straight="{-geometry.bearing_of(0):g}" data-full-scale="{shown.full_scale}"
data-scale="{escape(dial.scale)}" data-min-angle="{dial.min_angle}"
data-max-angle="{dial.max_angle}"
font-family="{escape(FONTS)}" text-anchor="middle">
<circle class="face" r="{FACE:g}" fill="{PAPER}" stroke="{RULE}" stroke-width="2"/>
{_scale(geometry)}
<text class="title" y="{places.title_y}" font-size="18" letter-spacing="1.4" \
fill="{SOFT}">{TITLES[name]}</text>
<text class="count" y="{places.count_y}" font-size="{size}" fill="{INK}">{count}</text>
<text class="note" y="{places.note_y}" font-size="{places.note_size}" \
fill="{INK}">{escape(note)}</text>
{_peg(geometry, is_pegged=is_pegged)}
{_needle(geometry.bearing_of(shown.angle))}
</svg>"""


def _nothing(dial: DialSettings) -> DialReading:
    full_scale = SMALLEST_FULL_SCALE if dial.scale == "auto" else make_scale(dial.scale).full_scale
    return DialReading(
        count=0, position=0, full_scale=full_scale, angle=dial.min_angle, pegged=False, known=False
    )


def _scale(dial: Dial) -> str:
    marks = dial.marks()
    lines = "".join(map(_mark, marks))
    numbers = "".join(_number(mark) for mark in marks if mark.label)
    return (
        f'<g class="marks" stroke="{INK}" stroke-linecap="butt">{lines}</g>'
        f'<g class="numbers" font-size="{ARC * LABEL_SIZE:g}" fill="{INK}">{numbers}</g>'
    )


def _mark(mark: Mark) -> str:
    (x1, y1), (x2, y2) = point(mark.bearing, ARC), point(mark.bearing, ARC - LENGTHS[mark.rank])
    return (
        f'<line x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" '
        f'stroke-width="{WIDTHS[mark.rank]:g}" data-count="{mark.count}"/>'
    )


def _number(mark: Mark) -> str:
    x, y = (ARC * way for way in label_point(mark.bearing, mark.label))
    return f'<text x="{x:.1f}" y="{y + HALF_CAPITAL:.1f}">{mark.label}</text>'


def _size(count: str) -> int:
    return next((size for longest, size in SIZES if len(count) <= longest), SMALLEST_SIZE)


def _peg(dial: Dial, *, is_pegged: bool) -> str:
    """An arrow that leads on past the end of the scale."""
    opacity = 1 if is_pegged else 0
    return (
        f'<g class="peg" opacity="{opacity}" transform="rotate({dial.bearing(1):g})">'
        f'<path d="M7 -{ARC:g}l13 8.5l-13 8.5z" fill="{RED}"/></g>'
    )


def _needle(bearing: float) -> str:
    return (
        f'<g class="needle" transform="rotate({bearing:g})">'
        f'<path d="M-5 30L-1.3 -141H1.3L5 30z" fill="{RED}"/>'
        f'<circle r="13" fill="{RED}"/></g>'
        f'<circle class="pivot" r="4" fill="{PAPER}"/>'
    )
