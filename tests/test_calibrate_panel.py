"""What calibration shows, at every width."""

from dataclasses import replace

import pytest
from dials import dials
from rich.text import Text

from tweetdock.commands.calibrate_panel import View, help_text, panel
from tweetdock.servos.calibration import Calibration, DialPoint, Marks

DIAL, _ = dials()
WIDTHS = (20, 40, 46, 60, 80, 200)


def view(calibration: Calibration, at_us: int | None = None) -> View:
    return View(
        name="tweets",
        other="tweeters",
        servos="mock",
        dial=DIAL,
        calibration=calibration,
        at_us=at_us,
        is_resting=True,
        trouble="",
        other_is_unsaved=False,
    )


@pytest.fixture
def calibration() -> Calibration:
    return Calibration(Marks.of(DIAL))


def text(rows: list[Text]) -> list[str]:
    return [row.plain for row in rows]


def row_with(rows: list[str], words: str) -> str:
    return next(row for row in rows if words in row)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("at_us", [None, 300, 1000, 1499, 3000])
def test_no_row_is_wider_than_the_terminal(
    calibration: Calibration, width: int, at_us: int | None
) -> None:
    calibration.mark(DialPoint.LEFT, 1000)
    seen = view(calibration, at_us)
    for note in ("", "a" * 90):
        calibration.note = note
        assert all(len(row) < width for row in text(panel(seen, width)))
    in_trouble = replace(seen, trouble="no pigpiod answers " * 9)
    assert all(len(row) < width for row in text(panel(in_trouble, width)))
    assert all(len(row) < width for row in text(help_text(width)))


@pytest.mark.parametrize("width", WIDTHS)
def test_needle_and_marks_stand_in_their_order(calibration: Calibration, width: int) -> None:
    rows = text(panel(view(calibration, 1750), width))
    line = row_with(rows, "L")
    needle = row_with(rows, "▼").index("▼")
    assert line.index("L") < line.index("M") < needle < line.index("R")
    calibration.reverse()
    line = row_with(text(panel(view(calibration, 1750), width)), "━")
    assert line.index("R") < line.index("M") < line.index("L")


def test_the_needle_on_a_mark_stands_above_it(calibration: Calibration) -> None:
    for point, letter in zip(DialPoint, "LMR", strict=True):
        rows = text(panel(view(calibration, calibration.marks.pulse_us(point)), 80))
        assert row_with(rows, "▼").index("▼") == row_with(rows, "━").index(letter)


def test_pulses_beyond_the_usual_widen_the_scale(calibration: Calibration) -> None:
    assert "3000" not in "".join(text(panel(view(calibration, 2500), 80)))
    assert "3000" in "".join(text(panel(view(calibration, 2501), 80)))


def test_what_is_not_saved_says_so(calibration: Calibration) -> None:
    assert "not saved" not in "".join(text(panel(view(calibration, 1000), 80)))
    calibration.nudge(10, 1000, 0.0)
    calibration.mark(DialPoint.LEFT, 1010)
    for width in (46, 80):
        rows = text(panel(view(calibration, 1010), width))
        assert [row.split()[1] for row in rows if "not saved" in row] == ["left"]
    other = replace(view(calibration), other_is_unsaved=True)
    assert "tweeters, not saved" in text(panel(other, 80))[0]


def test_the_next_step_is_told_until_all_is_done(calibration: Calibration) -> None:
    def told(at_us: int | None) -> str:
        return " ".join(text(panel(view(calibration, at_us), 80)))

    assert "slowly at first" in told(None)
    assert "press l" in told(1000)
    calibration.nudge(10, 1000, 0.0)
    calibration.mark(DialPoint.LEFT, 1010)
    assert "press r" in told(1010)
    calibration.mark(DialPoint.RIGHT, 1010)
    assert "0 µs apart" in told(1010)
    calibration.go(DialPoint.LEFT)
    calibration.halt(1900)
    calibration.mark(DialPoint.RIGHT, 1900)
    assert "press m" in told(1900)
    calibration.halt(1400)
    calibration.mark(DialPoint.MIDDLE, 1400)
    assert "s saves" in told(1400)
    calibration.save()
    assert "q quits" in told(1400)


def test_keys_stay_where_they_are_whatever_is_said(calibration: Calibration) -> None:
    def place_of_keys(at_us: int | None) -> int:
        rows = text(panel(view(calibration, at_us), 80))
        return rows.index(row_with(rows, "tab other dial"))

    before = place_of_keys(None)
    calibration.nudge(-600, 1000, 0.0)
    assert calibration.note
    assert place_of_keys(500) == before
