"""The dial in Braille: round, within its room, with the needle where the servo's would be."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tweetdock.core.dial import Dial, short
from tweetdock.core.scaler import LinearScale, LogScale, step_above
from tweetdock.show.terminal.dial_art import BITS, NEEDLE, DialArt, needle_dots

sweeps = st.floats(60, 360)
scales = st.one_of(
    st.integers(1, 10**9).map(LinearScale),
    st.integers(1, 10**9).map(LogScale),
    st.integers(1, 10**9).map(lambda count: LinearScale(step_above(count))),
)
sizes = st.tuples(st.integers(30, 60), st.integers(7, 16))


def drawn(sweep: float, full_scale: int = 1000, columns: int = 38, rows: int = 12) -> DialArt:
    art = DialArt.of(Dial(0, sweep, LinearScale(full_scale)), columns, rows)
    assert art
    return art


def dots(art: DialArt, lines: list[str]) -> set[tuple[int, int]]:
    """The dots of all Braille characters, from the pivot."""
    return {
        (2 * column + x - art.pivot[0], 4 * row + y - art.pivot[1])
        for row, line in enumerate(lines)
        for column, sign in enumerate(line)
        if "\u2800" < sign <= "\u28ff"
        for x in range(2)
        for y in range(4)
        if ord(sign) & BITS[x][y]
    }


def face(art: DialArt) -> set[tuple[int, int]]:
    """The dots of all but the needle."""
    lines = ["".join(chr(0x2800 | cell) for cell in row) for row in art.cells]
    return dots(art, lines)


@given(st.integers(10, 60), st.floats(-180, 180))
def test_the_needle_lies_on_its_bearing_and_reaches_the_marks(radius: int, bearing: float) -> None:
    way = math.radians(bearing)
    forward = {}
    for x, y in needle_dots(radius, bearing):
        if math.hypot(x, y) > 3:
            assert abs(x * math.cos(way) + y * math.sin(way)) <= 1.21  # half a dot and a half
            forward[x, y] = x * math.sin(way) - y * math.cos(way)
    assert min(forward.values()) > 0
    assert max(forward.values()) == pytest.approx(NEEDLE * radius, abs=1)


@given(st.floats(-720, 720))
def test_of_a_needle_outside_the_sweep_is_drawn_what_has_room(angle: float) -> None:
    art = drawn(60, columns=30, rows=9)
    assert len(art.rows(angle)) == len(art.cells)


@given(sweeps, scales, sizes)
def test_a_dial_keeps_within_its_room(
    sweep: float, scale: LinearScale | LogScale, size: tuple[int, int]
) -> None:
    columns, rows = size
    art = DialArt.of(Dial(0, sweep, scale), columns, rows)
    assume(art is not None)
    assert art
    for share in (0.0, 0.3, 1.0):
        drawn_rows = art.rows(sweep * share)
        assert len(drawn_rows) == len(art.cells) <= rows
        assert {len(row.text) for row in drawn_rows} == {columns}


@pytest.mark.parametrize("sweep", [60, 90, 120, 180, 270, 300, 360])
@pytest.mark.parametrize(("columns", "rows"), [(30, 9), (38, 12), (52, 14)])
def test_a_dial_of_any_usual_sweep_has_room_in_any_usual_terminal(
    sweep: int, columns: int, rows: int
) -> None:
    assert drawn(sweep, 10**6, columns, rows).radius >= 10


def test_in_too_little_room_there_is_no_dial() -> None:
    assert DialArt.of(Dial(0, 180, LinearScale(100)), 20, 12) is None
    assert DialArt.of(Dial(0, 180, LinearScale(100)), 38, 3) is None


@given(sweeps, scales)
def test_a_dial_is_round(sweep: float, scale: LinearScale | LogScale) -> None:
    art = DialArt.of(Dial(0, sweep, scale), 38, 12)
    assert art
    distances = [math.hypot(x, y) for x, y in face(art)]
    assert max(distances) <= art.radius + 0.75
    assert min(distances) >= art.radius * 0.75 - 1.5
    half = math.radians(sweep / 2)
    # The arc is whole: from any place on it a dot is no further than a dot's diagonal.
    for step in range(21):
        way = half * (step / 10 - 1)
        at = art.radius * math.sin(way), -art.radius * math.cos(way)
        assert min(math.dist(at, dot) for dot in face(art)) <= 1.5


@given(sweeps, st.floats(0, 1))
def test_the_drawn_needle_shows_the_servos_angle(sweep: float, share: float) -> None:
    art = drawn(sweep)
    rows = art.rows(sweep * share)
    needle = {
        (x, y)
        for x, y in dots(art, [row.text for row in rows]) - face(art)
        if math.hypot(x, y) > art.radius / 2
    }
    assume(needle)
    x, y = max(needle, key=lambda dot: math.hypot(*dot))
    bearing = math.degrees(math.atan2(x, -y))
    error = (bearing - art.dial.bearing_of(sweep * share) + 180) % 360 - 180
    assert abs(error) <= math.degrees(math.atan2(1.2, math.hypot(x, y)))


@given(sweeps, st.floats(0, 1))
def test_nothing_but_the_needle_has_its_colour(sweep: float, share: float) -> None:
    art = drawn(sweep)
    cells = {
        ((y + art.pivot[1]) // 4, (x + art.pivot[0]) // 2)
        for x, y in needle_dots(art.radius, art.dial.bearing_of(sweep * share))
    }
    for number, row in enumerate(art.rows(sweep * share)):
        columns = {column for of, column in cells if of == number}
        assert (row.needle is None) is (not columns)
        coloured = set(range(*row.needle)) if row.needle else set()
        assert columns <= coloured
        assert {row.text[column] for column in coloured - columns} <= {" "}


@given(st.floats(60, 300), scales)
def test_both_ends_have_their_number(sweep: float, scale: LinearScale | LogScale) -> None:
    art = DialArt.of(Dial(0, sweep, scale), 38, 12)
    assume(art is not None)
    assert art
    numbers = [word for row in art.letters for word in "".join(s or " " for s in row).split()]
    assert "0" in numbers
    assert short(scale.full_scale) in numbers


@pytest.mark.parametrize("sweep", [90, 180, 270])
def test_a_scale_that_grows_moves_nothing(sweep: int) -> None:
    arts = [drawn(sweep, full_scale) for full_scale in (10, 50, 1000, 20_000, 500_000, 10**6)]
    assert len({(art.radius, art.pivot, len(art.cells)) for art in arts}) == 1


def test_left_and_right_are_alike() -> None:
    art = drawn(180)
    assert {(-x, y) for x, y in face(art)} == face(art)
