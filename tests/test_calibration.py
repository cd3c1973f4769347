"""Calibrating a dial: limits, marks and what is saved, by every sequence of keys."""

from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
from dials import dials
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.servos.calibration import (
    LEAD_US,
    LEAST_SPAN_US,
    PAUSE_SECONDS,
    Calibration,
    DialPoint,
    Marks,
)
from tweetdock.servos.needle import LAST_US, STEP_US, Geometry
from tweetdock.settings.env_file import read_env_file, save
from tweetdock.settings.gauge import DialSettings, Settings

DIAL, _ = dials()
HELD, LET_GO = 0.03, PAUSE_SECONDS + 0.1
pulses = st.integers(*LAST_US)
any_marks = st.builds(Marks, pulses, pulses, st.none() | pulses)
nearly_straight = st.builds(
    lambda left, right, off: Marks(left, right, (left + right) // 2 + off),
    *(pulses, pulses, st.integers(-7, 7)),
)
good_marks = (any_marks | nearly_straight).filter(lambda marks: not marks.trouble)


class Calibrating:
    """A calibration with a needle that comes to where it is sent, by a clock of its own."""

    def __init__(self, marks: Marks) -> None:
        self.calibration = Calibration(marks)
        self.at_us = marks.left
        self.now = 100.0

    def nudge(self, us: int, seconds: float = HELD) -> None:
        self.now += seconds
        self.calibration.nudge(us, self.at_us, self.now)
        self.at_us = self.calibration.target_us

    def hold(self, us: int, times: int) -> None:
        for _ in range(times):
            self.nudge(us)


@pytest.fixture
def needle() -> Calibrating:
    return Calibrating(Marks.of(DIAL))


steps = st.one_of(
    st.tuples(st.just("nudge"), st.sampled_from([-100, -10, -1, 1, 10, 100]), st.floats(0.01, 2.0)),
    st.tuples(st.sampled_from(["go", "mark"]), st.sampled_from(DialPoint), st.just(0.1)),
    st.tuples(
        st.sampled_from(["reverse", "undo", "sweep", "arrive", "halt"]), st.just(None), st.just(0.1)
    ),
)


@given(good_marks, st.lists(st.tuples(steps, st.floats(0, 1)), max_size=60))
def test_the_needle_never_passes_a_limit_without_a_second_press_for_it(
    marks: Marks, keys: list[tuple[tuple[str, object, float], float]]
) -> None:
    calibration, at_us, now = Calibration(marks), float(marks.left), 0.0
    low, high = sorted((marks.left, marks.right))
    limits = {-1: min(low, 500), 1: max(high, 2500)}
    allowed = {-1: False, 1: False}
    asked: tuple[int, float] | None = None
    for (verb, what, seconds), lag in keys:
        now += seconds
        here, before = round(at_us), calibration.target_us
        if verb == "nudge":
            assert isinstance(what, int)
            side = 1 if what > 0 else -1
            calibration.nudge(what, here, now)
            limit = limits[side]
            stood_there = asked is not None and asked[0] == side and now - asked[1] >= PAUSE_SECONDS
            if (calibration.target_us - limit) * side > 0 and (
                calibration.target_us - before
            ) * side > 0:
                assert allowed[side] or stood_there
                allowed[side] = True
            has_asked = "press it again" in calibration.note
            assert not has_asked or calibration.target_us == limit
            asked = (side, now) if has_asked else None
        else:
            asked = None
            if verb in ("go", "mark"):
                assert isinstance(what, DialPoint)
                getattr(calibration, verb)(what, *([here] if verb == "mark" else []))
            else:
                getattr(calibration, verb)(*([here] if verb == "halt" else []))
        assert LAST_US[0] <= calibration.target_us <= LAST_US[1]
        assert allowed[-1] or calibration.target_us >= limits[-1]
        assert allowed[1] or calibration.target_us <= limits[1]
        at_us += lag * (calibration.target_us - at_us)


def dial_of(path: Path) -> DialSettings:
    return Settings.from_env(read_env_file(path), demo=True).tweets


@given(good_marks, st.lists(good_marks, min_size=1, max_size=3))
def test_what_is_saved_is_accepted_and_points_to_the_marks(
    tmp_path_factory: pytest.TempPathFactory, old: Marks, ways: list[Marks]
) -> None:
    """A middle that was nearly halfway stayed in the file, and the gauge did not start with it."""
    path = tmp_path_factory.mktemp("env") / ".env"
    low, high = sorted((old.left, old.right))
    path.write_text(
        f"TWEETDOCK_TWEETS_MIN_PULSE_US={low}\nTWEETDOCK_TWEETS_MAX_PULSE_US={high}\n"
        f"TWEETDOCK_TWEETS_MID_PULSE_US={old.middle or ''}\n"
        f"TWEETDOCK_TWEETS_REVERSED={int(old.left > old.right)}\n"
    )
    calibration = Calibration(Marks.of(dial_of(path)))
    assert calibration.unsaved == {}
    for marks in ways:
        calibration.marks = marks
        save(
            path, {f"TWEETDOCK_TWEETS_{name}": value for name, value in calibration.unsaved.items()}
        )
        calibration.save()
        dial = dial_of(path)
        geometry = Geometry.of(dial)
        middle_us = geometry.pulse_us((dial.min_angle + dial.max_angle) / 2)
        assert geometry.pulse_us(dial.min_angle) == marks.left
        assert geometry.pulse_us(dial.max_angle) == marks.right
        assert abs(middle_us - marks.pulse_us(DialPoint.MIDDLE)) <= STEP_US
        assert calibration.unsaved == Calibration(Marks.of(dial)).unsaved == {}
        assert not any(calibration.is_unsaved(point) for point in DialPoint)


def test_a_middle_that_the_settings_have_is_taken_back_for_one_that_is_halfway() -> None:
    calibration = Calibration(Marks(1000, 2000, 1503))
    assert calibration.unsaved == {}
    calibration.marks = Marks(2000, 2500)
    assert calibration.unsaved["MID_PULSE_US"] == ""
    calibration.marks = Marks(1200, 2000, 1598)
    assert calibration.unsaved["MID_PULSE_US"] == ""


def test_a_middle_that_will_not_be_written_is_not_called_unsaved(needle: Calibrating) -> None:
    """It was marked as not saved for ever, and s said that there is nothing to save."""
    needle.hold(10, 50)
    needle.calibration.mark(DialPoint.MIDDLE, needle.at_us)
    assert needle.calibration.marks.middle == 1500
    assert not needle.calibration.is_unsaved(DialPoint.MIDDLE)
    needle.hold(10, 1)
    needle.calibration.mark(DialPoint.MIDDLE, needle.at_us)
    assert needle.calibration.is_unsaved(DialPoint.MIDDLE)


def test_a_held_key_stops_at_what_most_servos_can_and_a_new_press_goes_on(
    needle: Calibrating,
) -> None:
    needle.hold(10, 200)
    assert needle.calibration.target_us == 2500
    assert "press it again" in needle.calibration.note
    needle.nudge(10, LET_GO)
    assert needle.calibration.target_us == 2510
    needle.hold(10, 200)
    assert needle.calibration.target_us == 3000
    assert "the end" in needle.calibration.note
    needle.nudge(10, LET_GO)
    assert needle.calibration.target_us == 3000


def test_leave_to_go_on_is_of_one_side_and_forgotten_by_another_key(needle: Calibrating) -> None:
    needle.hold(-10, 100)
    assert needle.calibration.target_us == 500
    needle.calibration.go(DialPoint.LEFT)
    needle.calibration.halt(500)
    needle.nudge(-10, LET_GO)
    assert needle.calibration.target_us == 500
    needle.nudge(-10, LET_GO)
    assert needle.calibration.target_us == 490
    assert needle.calibration.limits == (300, 2500)


def test_a_dial_that_is_set_beyond_what_is_usual_has_its_limit_there() -> None:
    """One end a little beyond opened the way to the last pulse that there is, without a word."""
    needle = Calibrating(Marks(480, 2600))
    assert needle.calibration.limits == (480, 2600)
    needle.hold(10, 3)
    needle.hold(-10, 60)
    assert needle.calibration.target_us == 480
    assert "480 µs is as far as this dial is set to go" in needle.calibration.note
    needle.nudge(-10, LET_GO)
    assert needle.calibration.target_us == 470
    assert needle.calibration.limits == (300, 2600)
    assert Calibration(Marks(3000, 300)).limits == (300, 3000)


def test_a_limit_next_to_the_last_pulse_does_not_lead_beyond_it() -> None:
    """The settings refused what was marked there."""
    for end, us, last in ((304, -10, 300), (2998, 10, 3000)):
        needle = Calibrating(Marks(end, 1500))
        needle.nudge(us)
        needle.nudge(us, LET_GO)
        assert needle.calibration.target_us == last


def test_where_not_every_servo_goes_it_says_so(needle: Calibrating) -> None:
    assert needle.calibration.caution == ""
    needle.nudge(-1)
    assert "not all" in needle.calibration.caution
    needle.hold(-10, 60)
    needle.nudge(-1, LET_GO)
    assert needle.calibration.target_us < 500
    assert "Few" in needle.calibration.caution


def test_a_held_key_runs_ahead_of_a_slow_needle_by_a_little_only(needle: Calibrating) -> None:
    for _ in range(50):
        needle.calibration.nudge(10, 1000, needle.now)
    assert needle.calibration.target_us == 1000 + LEAD_US + 10
    needle.calibration.go(DialPoint.RIGHT)
    needle.calibration.nudge(-1, 1200, needle.now)
    assert needle.calibration.target_us == 1200 + LEAD_US - 1


def test_a_zero_at_the_longer_pulse_turns_the_dial_round(needle: Calibrating) -> None:
    calibration = needle.calibration
    needle.hold(10, 110)
    calibration.mark(DialPoint.LEFT, needle.at_us)
    needle.hold(-10, 130)
    calibration.mark(DialPoint.RIGHT, needle.at_us)
    assert calibration.marks == Marks(2100, 800)
    assert calibration.unsaved == {"MIN_PULSE_US": "800", "MAX_PULSE_US": "2100", "REVERSED": "1"}
    calibration.reverse()
    assert calibration.unsaved == {"MIN_PULSE_US": "800", "MAX_PULSE_US": "2100"}


def test_a_turn_back_to_what_was_reversed_is_saved_too() -> None:
    calibration = Calibration(Marks(2000, 1000))
    calibration.reverse()
    assert calibration.unsaved["REVERSED"] == "0"


def test_the_middle_is_saved_if_it_is_elsewhere_than_halfway(needle: Calibrating) -> None:
    calibration = needle.calibration
    needle.hold(10, 50)
    calibration.mark(DialPoint.MIDDLE, needle.at_us)
    assert calibration.unsaved == {}
    needle.hold(10, 3)
    calibration.mark(DialPoint.MIDDLE, needle.at_us)
    assert calibration.unsaved["MID_PULSE_US"] == "1530"
    calibration.save()
    assert calibration.unsaved == {}
    calibration.mark(DialPoint.MIDDLE, needle.at_us)
    assert calibration.marks.middle is None
    assert calibration.unsaved["MID_PULSE_US"] == ""


def test_nothing_is_marked_before_the_needle_was_moved_or_while_it_moves(
    needle: Calibrating,
) -> None:
    calibration = needle.calibration
    calibration.mark(DialPoint.LEFT, None)
    assert "Move the needle first" in calibration.note
    calibration.go(DialPoint.RIGHT)
    calibration.mark(DialPoint.LEFT, 1500)
    assert "still on its way" in calibration.note
    assert calibration.unsaved == {}
    calibration.mark(DialPoint.LEFT, 1995)
    assert calibration.marks.left == 2000


def test_stops_without_room_between_them_are_refused(needle: Calibrating) -> None:
    calibration = needle.calibration
    calibration.go(DialPoint.RIGHT)
    calibration.mark(DialPoint.LEFT, 2000)
    assert "0 µs apart" in calibration.marks.trouble
    assert not Marks(1000, 1000 + LEAST_SPAN_US).trouble


def test_a_middle_that_is_not_between_the_stops_is_refused() -> None:
    marks = Marks(1000, 2000, 1400)
    assert not marks.trouble
    assert "not between" in replace(marks, left=1400).trouble
    assert "not between" in replace(marks, left=1800).trouble
    assert "not between" in replace(marks, right=1400).trouble


@given(st.lists(st.sampled_from(DialPoint), max_size=8), st.integers(0, 8))
def test_undo_takes_marks_back_one_by_one(points: list[DialPoint], count: int) -> None:
    needle = Calibrating(Marks.of(DIAL))
    states = [needle.calibration.marks]
    for point in points:
        needle.hold(10, 7)
        needle.calibration.mark(point, needle.at_us)
        states.append(needle.calibration.marks)
    stood = needle.calibration.target_us
    for _ in range(count):
        needle.calibration.undo()
    assert needle.calibration.marks == states[max(0, len(states) - 1 - count)]
    assert needle.calibration.target_us == stood


def test_a_sweep_goes_through_all_marks_and_ends_by_itself(needle: Calibrating) -> None:
    calibration = needle.calibration
    calibration.sweep()
    way = [calibration.target_us]
    while calibration.is_sweeping:
        calibration.arrive()
        way.append(calibration.target_us)
    assert way == [1000, 1500, 2000, 1000, 1000]
    calibration.arrive()
    assert calibration.target_us == 1000


def test_a_halt_ends_a_sweep_where_the_needle_is(needle: Calibrating) -> None:
    needle.calibration.sweep()
    needle.calibration.halt(1234)
    assert not needle.calibration.is_sweeping
    assert needle.calibration.target_us == 1234


def test_small_steps_add_up(needle: Calibrating) -> None:
    wanted = list(accumulate([1, 1, -1, 10, 1, -10], initial=1000))[1:]
    for us, target in zip([1, 1, -1, 10, 1, -10], wanted, strict=True):
        needle.nudge(us)
        assert needle.calibration.target_us == target
