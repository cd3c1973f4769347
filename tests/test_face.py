"""A printed face, measured in the drawing itself."""

import math

import pytest
from drawings import Drawing, a_face
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.dial import INK
from tweetdock.show.face import PAPERS, Arc, Face, FaceError, draw_face
from tweetdock.show.face_file import svg

MARGIN = 5  # mm; no printer leaves more white

scales = st.builds(
    "{}:{}".format,
    st.sampled_from(["linear", "log"]),
    st.integers(1, 999_999_999) | st.integers(1, 2000),
)
sweeps = st.floats(12, 348)


faces = st.builds(
    a_face,
    scale=scales,
    least=st.floats(-360, 0),
    sweep=sweeps,
    radius=st.floats(20, 60),
    hole=st.floats(0, 10),
)


def apart(bearing: float, other: float) -> float:
    return abs((bearing - other + 180) % 360 - 180)


@given(faces)
def test_a_mark_is_drawn_where_the_servo_turns_the_needle_for_its_count(face: Face) -> None:
    drawing = Drawing(svg(draw_face(face, "a4")))
    dial = face.dial
    marks = drawing.layer("scale").findall("line")
    assert {int(mark.attrib["data-count"]) for mark in marks} >= {0, dial.scale.full_scale}
    for mark in marks:
        position = dial.scale.position(int(mark.attrib["data-count"]), 0)
        angle = dial.min_angle + position * (dial.max_angle - dial.min_angle)
        middle = (dial.min_angle + dial.max_angle) / 2
        for end in "12":
            seen = drawing.bearing(mark.attrib[f"x{end}"], mark.attrib[f"y{end}"])
            assert apart(seen, angle - middle) < 0.001
        left, top = drawing.pivot
        outer = float(mark.attrib["x2"]) - left, float(mark.attrib["y2"]) - top
        assert math.hypot(*outer) == pytest.approx(face.radius, abs=0.001)


@given(faces)
def test_where_the_needle_rests_is_told_by_a_dot(face: Face) -> None:
    drawing = Drawing(svg(draw_face(face, "a4")))
    (dot,) = drawing.layer("rest")
    seen = drawing.bearing(dot.attrib["cx"], dot.attrib["cy"])
    assert apart(seen, -face.dial.sweep / 2) < 0.001


@given(faces, st.sampled_from(list(PAPERS)))
def test_all_that_is_drawn_is_where_a_printer_prints(face: Face, paper: str) -> None:
    sheet = draw_face(face, paper)
    assert (sheet.width, sheet.height) == PAPERS[paper]
    left, top, right, bottom = sheet.box
    assert min(left, top) >= MARGIN
    assert right <= sheet.width - MARGIN
    assert bottom <= sheet.height - MARGIN


@given(faces)
def test_the_cut_goes_around_all_print(face: Face) -> None:
    layers = {layer.name: layer.shapes for layer in draw_face(face, "a4").layers}
    printed = [shape for name in ("scale", "numbers", "title", "hole") for shape in layers[name]]
    cut = [shape.box for shape in layers["cut"]]
    outer = [min(box[side] for box in cut) for side in (0, 1)]
    outer += [max(box[side] for box in cut) for side in (2, 3)]
    for shape in printed:
        left, top, right, bottom = shape.box
        assert outer[0] < left < right < outer[2]
        assert outer[1] < top < bottom < outer[3]
    below = max(bottom for _, _, _, bottom in cut)
    assert all(shape.box[1] > below for shape in layers["check"])


@given(st.floats(-180, 180), st.floats(0, 360), st.floats(1, 100))
def test_an_arc_takes_the_room_that_its_points_take(
    start: float, sweep: float, radius: float
) -> None:
    arc = Arc(3, 4, radius, 0, INK, start, start + sweep)
    points = [arc.at(start + sweep * step / 720) for step in range(721)]
    xs, ys = zip(*points, strict=True)
    around = min(xs), min(ys), max(xs), max(ys)
    # Half a degree of a circle is that flat.
    assert arc.box == pytest.approx(around, abs=radius * 1e-5)


def test_a_drawing_is_in_millimetres() -> None:
    root = Drawing(svg(draw_face(a_face(), "letter"))).root
    assert (root.attrib["width"], root.attrib["height"]) == ("215.9mm", "279.4mm")
    assert root.attrib["viewBox"] == "0 0 215.9 279.4"


def test_the_line_and_the_ring_are_as_long_and_wide_as_they_say() -> None:
    drawing = Drawing(svg(draw_face(a_face(), "a4")))
    lines = drawing.layer("check").findall("line")
    lengths = [float(line.attrib["x2"]) - float(line.attrib["x1"]) for line in lines]
    assert max(lengths) == pytest.approx(100, abs=0.0005)
    (ring,) = drawing.layer("check").findall("circle")
    assert float(ring.attrib["r"]) == 25
    assert any("100 mm long" in text for text in drawing.texts("check"))


@pytest.mark.parametrize(("hole", "rings"), [(9.5, ["4.75"]), (0, [])])
def test_the_hole_is_as_wide_as_asked_for(hole: float, rings: list[str]) -> None:
    drawing = Drawing(svg(draw_face(a_face(hole=hole), "a4")))
    assert [ring.attrib["r"] for ring in drawing.layer("hole").findall("circle")] == rings


@pytest.mark.parametrize(
    ("sweep", "shapes"),
    [(60, {"path": 1, "line": 3}), (180, {"path": 1, "line": 1}), (320, {"circle": 1})],
)
def test_a_face_is_a_panel_half_a_disc_or_a_whole_one(sweep: float, shapes: dict[str, int]) -> None:
    cut = Drawing(svg(draw_face(a_face(sweep=sweep), "a4"))).layer("cut")
    assert {kind: len(cut.findall(kind)) for kind in {e.tag for e in cut}} == shapes


def test_a_text_is_drawn_as_it_is_written() -> None:
    text = "東京 <&\"'> %s"
    drawing = Drawing(svg(draw_face(a_face(title=text), "a4")))
    assert drawing.texts("title") == [text, "in the last hour"]
    assert text in (drawing.root.findtext("title") or "")


def test_a_long_title_is_smaller_and_has_room() -> None:
    drawing = Drawing(svg(draw_face(a_face(title="posts about the weather"), "a4")))
    long, _ = drawing.layer("title")
    short, _ = Drawing(svg(draw_face(a_face(), "a4"))).layer("title")
    assert float(long.attrib["font-size"]) < float(short.attrib["font-size"])


@pytest.mark.parametrize("paper", PAPERS)
def test_a_face_that_is_too_large_is_refused_with_what_fits(paper: str) -> None:
    with pytest.raises(
        FaceError, match=rf"200 mm does not fit on {paper.upper()}: up to"
    ) as caught:
        draw_face(a_face(radius=200), paper)
    largest = int(str(caught.value).partition("up to ")[2].split()[0])
    draw_face(a_face(radius=largest), paper)
    with pytest.raises(FaceError):
        draw_face(a_face(radius=largest + 1), paper)


@pytest.mark.parametrize(
    ("face", "words"),
    [
        (a_face(sweep=360), "over 360 degrees"),
        (a_face(sweep=5), "over 5 degrees"),
        (a_face(radius=20, hole=11), "too wide"),
        (a_face(title="a\nb"), "cannot be printed"),
        (a_face(title="w" * 40), "too long"),
    ],
)
def test_what_no_face_can_show_is_refused(face: Face, words: str) -> None:
    with pytest.raises(FaceError, match=words):
        draw_face(face, "a4")
