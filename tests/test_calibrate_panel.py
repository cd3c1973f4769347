"""What calibration shows, at every width."""

import pytest
from dials import dials, settle
from rich.text import Text

from tweetdock.commands.calibrate_panel import help_text, panel
from tweetdock.servos.calibration import RANGE, Calibration, DialPoint

DIAL, OTHER = dials()
WIDTHS = (20, 40, 46, 60, 80, 200)


def stands(calibration: Calibration, at_us: int) -> None:
    calibration.needle.aim(RANGE.angle(at_us))
    settle(calibration.needle)


def marked(calibration: Calibration, point: DialPoint, at_us: int) -> None:
    stands(calibration, at_us)
    calibration.mark(point)


def seen(calibration: Calibration, width: int = 80, trouble: str = "") -> list[str]:
    rows = panel(calibration, Calibration("tweeters", OTHER), "mock", trouble, width)
    return text(rows)


@pytest.fixture
def calibration() -> Calibration:
    return Calibration("tweets", DIAL)


def text(rows: list[Text]) -> list[str]:
    return [row.plain for row in rows]


def row_with(rows: list[str], words: str) -> str:
    return next(row for row in rows if words in row)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("at_us", [None, 300, 1000, 1499, 3000])
def test_no_row_is_wider_than_the_terminal(
    calibration: Calibration, width: int, at_us: int | None
) -> None:
    if at_us is not None:
        marked(calibration, DialPoint.LEFT, at_us)
    for note in ("", "a" * 90):
        calibration.note = note
        assert all(len(row) < width for row in seen(calibration, width))
    assert all(len(row) < width for row in seen(calibration, width, "no pigpiod answers " * 9))
    assert all(len(row) < width for row in text(help_text(width)))


@pytest.mark.parametrize("width", WIDTHS)
def test_needle_and_marks_stand_in_their_order(calibration: Calibration, width: int) -> None:
    stands(calibration, 1750)
    rows = seen(calibration, width)
    line = row_with(rows, "L")
    needle = row_with(rows, "▼").index("▼")
    assert line.index("L") < line.index("M") < needle < line.index("R")
    calibration.reverse()
    line = row_with(seen(calibration, width), "━")
    assert line.index("R") < line.index("M") < line.index("L")


def test_the_needle_on_a_mark_stands_above_it(calibration: Calibration) -> None:
    for point, letter in zip(DialPoint, "LMR", strict=True):
        stands(calibration, calibration.pulse_us(point))
        rows = seen(calibration)
        assert row_with(rows, "▼").index("▼") == row_with(rows, "━").index(letter)


def test_pulses_beyond_the_usual_widen_the_scale(calibration: Calibration) -> None:
    stands(calibration, 2500)
    assert "3000" not in "".join(seen(calibration))
    stands(calibration, 2501)
    assert "3000" in "".join(seen(calibration))


def test_what_is_not_saved_says_so(calibration: Calibration) -> None:
    assert "not saved" not in "".join(seen(calibration))
    marked(calibration, DialPoint.LEFT, 1010)
    for width in (46, 80):
        rows = seen(calibration, width)
        assert [row.split()[1] for row in rows if "not saved" in row] == ["left"]
    other = Calibration("tweeters", OTHER)
    other.reverse()
    assert "tweeters, not saved" in text(panel(calibration, other, "mock", "", 80))[0]


def test_the_next_step_is_told_until_all_is_done(calibration: Calibration) -> None:
    def told() -> str:
        return " ".join(seen(calibration))

    assert "slowly at first" in told()
    stands(calibration, 1000)
    assert "press l" in told()
    marked(calibration, DialPoint.LEFT, 1010)
    assert "press r" in told()
    marked(calibration, DialPoint.RIGHT, 1010)
    assert "0 µs apart" in told()
    marked(calibration, DialPoint.RIGHT, 1900)
    assert "press m" in told()
    marked(calibration, DialPoint.MIDDLE, 1400)
    assert "s saves" in told()
    calibration.save()
    assert "q quits" in told()


def test_the_first_pulse_is_said_to_be_where_the_needle_is_assumed(
    calibration: Calibration,
) -> None:
    calibration.nudge(10, 0.0)
    assert "its first pulse will be 1000 µs" in row_with(seen(calibration), "not moved yet")


def test_keys_stay_where_they_are_whatever_is_said(calibration: Calibration) -> None:
    def place_of_keys() -> int:
        rows = seen(calibration)
        return rows.index(row_with(rows, "tab other dial"))

    before = place_of_keys()
    calibration.nudge(-600, 0.0)
    assert calibration.note
    assert place_of_keys() == before
