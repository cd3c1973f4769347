"""A dial as a picture: its needle, marks and words are those of its reading."""

import math
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import dial

from tweetdock.core.coverage import Grade
from tweetdock.core.dial import Dial
from tweetdock.core.reading import DialReading
from tweetdock.settings.gauge import DialSettings, Settings
from tweetdock.show.web.page import draw_dial
from tweetdock.show.words import notes

DIALS = Settings.from_env({}, demo=True).dials
USUAL = DIALS["tweets"]
SVG = "{http://www.w3.org/2000/svg}"


def drawn(one: DialReading, settings: DialSettings, grade: Grade = Grade.EXACT) -> ET.Element:
    return ET.fromstring(draw_dial("tweets", one, settings, grade))


def bearing_of(svg: ET.Element) -> float:
    """Where the drawn needle points, degrees clockwise from straight up."""
    (needle,) = svg.findall(f"{SVG}g[@class='needle']")
    found = re.fullmatch(r"rotate\((-?[\d.]+)\)", needle.attrib["transform"])
    assert found
    return float(found[1])


@given(
    position=st.floats(0, 1),
    low=st.integers(-180, 179),
    sweep=st.integers(1, 360),
)
def test_the_drawn_needle_points_where_the_reading_says(
    position: float, low: int, sweep: int
) -> None:
    settings = replace(USUAL, min_angle=low, max_angle=low + sweep)
    angle = round(low + position * sweep, 3)
    one = DialReading(count=1, position=position, full_scale=500, angle=angle, pegged=False)
    svg = drawn(one, settings)
    assert bearing_of(svg) == pytest.approx(angle - (low + sweep / 2), abs=0.001)
    assert float(svg.attrib["data-angle"]) == pytest.approx(angle, abs=0.001)
    straight = float(svg.attrib["data-straight"])
    assert angle - straight == pytest.approx(bearing_of(svg), abs=0.001)


@pytest.mark.parametrize("scale", ["auto", "linear:740", "log:10000"])
def test_every_mark_is_drawn_at_its_bearing(scale: str) -> None:
    settings = replace(USUAL, scale=scale, min_angle=20, max_angle=160)
    full_scale = 500 if scale == "auto" else int(scale.partition(":")[2])
    svg = drawn(dial(40, full_scale=full_scale), settings)
    marks = Dial.of(settings, full_scale).ticks()
    lines = svg.findall(f"{SVG}g[@class='marks']/{SVG}line")
    assert [int(line.attrib["data-count"]) for line in lines] == [mark.count for mark in marks]
    for line, mark in zip(lines, marks, strict=True):
        for end in "12":
            x, y = float(line.attrib[f"x{end}"]), float(line.attrib[f"y{end}"])
            assert math.degrees(math.atan2(x, -y)) == pytest.approx(mark.bearing, abs=0.01)
    labels = [text.text for text in svg.findall(f"{SVG}g[@class='numbers']/{SVG}text")]
    assert labels == [mark.label for mark in marks if mark.label]


def test_a_picture_of_a_dial_needs_no_style_sheet() -> None:
    svg = drawn(dial(412), USUAL)
    for element in svg.iter():
        assert "style" not in element.attrib
        assert element.tag != f"{SVG}style"
    for shape in ("circle", "path"):
        assert all("fill" in found.attrib for found in svg.iter(SVG + shape))


def test_a_count_above_the_scale_has_an_arrow_and_a_word() -> None:
    for count, opacity in ((500, "0"), (501, "1")):
        svg = drawn(dial(count, full_scale=500), USUAL)
        (peg,) = svg.findall(f"{SVG}g[@class='peg']")
        assert peg.attrib["opacity"] == opacity
        assert ("above the scale" in svg.attrib["aria-label"]) == (opacity == "1")


@pytest.mark.parametrize(
    ("grade", "is_known"), [(Grade.STALE, True), (Grade.STALE, False), (Grade.PARTIAL, False)]
)
def test_no_arrow_leads_past_the_end_while_the_needle_rests(
    grade: Grade, *, is_known: bool
) -> None:
    """It was drawn beside a needle at zero: two words that cannot both be true."""
    one = replace(dial(501, full_scale=500), known=is_known)
    (peg,) = drawn(one, USUAL, grade).findall(f"{SVG}g[@class='peg']")
    assert peg.attrib["opacity"] == "0"


def test_a_dial_says_of_which_scale_its_marks_are() -> None:
    settings = replace(USUAL, scale="log:1000", min_angle=-60.5, max_angle=60)
    svg = drawn(dial(40, full_scale=1000), settings)
    assert svg.attrib["data-scale"] == "log:1000"
    ends = [float(svg.attrib[f"data-{name}-angle"]) for name in ("min", "max")]
    assert ends == [-60.5, 60]


@pytest.mark.parametrize(
    ("grade", "note"), [(Grade.EXACT, "Demo"), (Grade.FILLING, "Demo · at least")]
)
def test_a_picture_of_made_up_posts_says_so(grade: Grade, note: str) -> None:
    svg = ET.fromstring(draw_dial("tweets", dial(40), USUAL, grade, "Demo"))
    assert "".join(svg.find(f"{SVG}text[@class='note']").itertext()) == note  # type: ignore[union-attr]
    assert svg.attrib["aria-label"].startswith("Demo. Tweets: 40")


@pytest.mark.parametrize(
    ("grade", "is_known", "is_pegged", "note"),
    [
        (Grade.EXACT, True, False, ""),
        (Grade.EXACT, True, True, "above the scale"),
        (Grade.FILLING, True, False, "at least"),
        (Grade.PARTIAL, True, True, "at least · above the scale"),
        (Grade.PARTIAL, False, False, "at least · needle at rest"),
        (Grade.STALE, True, True, "at least · needle at rest"),
    ],
)
def test_a_count_says_what_it_is_worth(
    grade: Grade, *, is_known: bool, is_pegged: bool, note: str
) -> None:
    one = replace(dial(40), known=is_known, pegged=is_pegged)
    assert notes(one, grade) == note
    svg = drawn(one, USUAL, grade)
    assert "".join(svg.find(f"{SVG}text[@class='note']").itertext()) == note  # type: ignore[union-attr]
