"""Calibrating a dial: limits, marks and what is saved, by every sequence of keys."""

from itertools import accumulate
from pathlib import Path

import pytest
from dials import dials, settle
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.servos.calibration import (
    LEAD_US,
    LEAST_SPAN_US,
    PAUSE_SECONDS,
    RANGE,
    Calibration,
    DialPoint,
)
from tweetdock.servos.needles import Geometry
from tweetdock.settings.env_file import read_env_file, save
from tweetdock.settings.gauge import LAST_US, DialSettings, Settings

HELD, LET_GO = 0.03, PAUSE_SECONDS + 0.1
LEFT, MIDDLE, RIGHT = DialPoint
pulses = st.integers(*LAST_US)


def dial(left: int, right: int, middle: int | None = None) -> DialSettings:
    low, high = sorted((left, right))
    return dials(min_pulse_us=low, max_pulse_us=high, mid_pulse_us=middle, reversed=left > right)[0]


good_dials = st.builds(dial, pulses, pulses, st.none() | pulses).filter(
    lambda dial: not Calibration("tweets", dial).trouble
)


class Calibrating(Calibration):
    """A calibration with a needle that comes to where it is sent, and a clock of its own."""

    def __init__(self, left: int = 1000, right: int = 2000, middle: int | None = None) -> None:
        super().__init__("tweets", dial(left, right, middle))
        self.now = 100.0

    def press(self, us: int, seconds: float = HELD) -> None:
        self.now += seconds
        self.nudge(us, self.now)
        settle(self.needle)

    def hold(self, us: int, times: int) -> None:
        for _ in range(times):
            self.press(us)

    def mark_at(self, point: DialPoint, us: int) -> None:
        self.needle.aim(RANGE.angle(us))
        settle(self.needle)
        self.mark(point)


@pytest.fixture
def needle() -> Calibrating:
    return Calibrating()


steps = st.one_of(
    st.tuples(st.just("nudge"), st.sampled_from([-100, -10, -1, 1, 10, 100]), st.floats(0.01, 2.0)),
    st.tuples(st.sampled_from(["go", "mark"]), st.sampled_from(DialPoint), st.just(0.1)),
    st.tuples(
        st.sampled_from(["reverse", "undo", "sweep", "go_on", "halt"]), st.just(None), st.just(0.1)
    ),
)


@given(good_dials, st.lists(st.tuples(steps, st.integers(0, 60)), max_size=60))
def test_the_needle_never_passes_a_limit_without_a_second_press_for_it(
    dial: DialSettings, keys: list[tuple[tuple[str, object, float], int]]
) -> None:
    calibration, now = Calibration("tweets", dial), 0.0
    limits = {-1: min(dial.min_pulse_us, 500), 1: max(dial.max_pulse_us, 2500)}
    allowed = {-1: False, 1: False}
    asked: tuple[int, float] | None = None
    for (verb, what, seconds), frames in keys:
        now += seconds
        before = calibration.target_us
        if verb == "nudge":
            assert isinstance(what, int)
            side = 1 if what > 0 else -1
            calibration.nudge(what, now)
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
            getattr(calibration, verb)(*([what] if what is not None else []))
        assert LAST_US[0] <= calibration.target_us <= LAST_US[1]
        assert allowed[-1] or calibration.target_us >= limits[-1]
        assert allowed[1] or calibration.target_us <= limits[1]
        settle(calibration.needle, frames)


def dial_of(path: Path) -> DialSettings:
    return Settings.from_env(read_env_file(path), demo=True).tweets


@given(good_dials, st.lists(good_dials, min_size=1, max_size=3))
def test_what_is_saved_is_accepted_and_points_to_the_marks(
    tmp_path_factory: pytest.TempPathFactory, old: DialSettings, ways: list[DialSettings]
) -> None:
    """A middle of before stayed in the file, and the gauge did not start with it."""
    path = tmp_path_factory.mktemp("env") / ".env"
    path.touch()
    calibration = Calibration("tweets", dial_of(path))
    assert calibration.unsaved == {}
    for wanted in (old, *ways):
        calibration.marks = Calibration("tweets", wanted).marks
        save(path, calibration.unsaved)
        calibration.save()
        dial = dial_of(path)
        geometry = Geometry(dial)
        middle_us = geometry.pulse_us((dial.min_angle + dial.max_angle) / 2)
        assert geometry.pulse_us(dial.min_angle) == wanted.start_us
        assert geometry.pulse_us(dial.max_angle) == wanted.end_us
        assert abs(middle_us - calibration.pulse_us(MIDDLE)) <= 0.5
        assert calibration.unsaved == {}
        assert not any(calibration.is_unsaved(point) for point in DialPoint)


def test_a_held_key_stops_at_what_most_servos_can_and_a_new_press_goes_on(
    needle: Calibrating,
) -> None:
    needle.hold(10, 200)
    assert needle.target_us == 2500
    assert "press it again" in needle.note
    needle.press(10, LET_GO)
    assert needle.target_us == 2510
    needle.hold(10, 200)
    assert needle.target_us == 3000
    assert "the end" in needle.note
    needle.press(10, LET_GO)
    assert needle.target_us == 3000


def test_leave_to_go_on_is_of_one_side_and_forgotten_by_another_key(needle: Calibrating) -> None:
    needle.hold(-10, 100)
    assert needle.target_us == 500
    needle.halt()
    needle.press(-10, LET_GO)
    assert needle.target_us == 500
    needle.press(-10, LET_GO)
    assert needle.target_us == 490
    needle.press(5000, LET_GO)
    assert needle.target_us == 2500


def test_a_dial_that_is_set_beyond_what_is_usual_has_its_limit_there() -> None:
    """One end a little beyond opened the way to the last pulse that there is, without a word."""
    needle = Calibrating(480, 2600)
    needle.hold(10, 3)
    needle.hold(-10, 60)
    assert needle.target_us == 480
    assert "480 µs is as far as this dial is set to go" in needle.note
    needle.press(-10, LET_GO)
    assert needle.target_us == 470
    needle.press(5000, LET_GO)
    assert needle.target_us == 2600


def test_a_limit_next_to_the_last_pulse_does_not_lead_beyond_it() -> None:
    """The settings refused what was marked there."""
    for end, us, last in ((304, -10, 300), (2998, 10, 3000)):
        needle = Calibrating(end, 1500)
        needle.press(us)
        needle.press(us, LET_GO)
        assert needle.target_us == last


def test_where_not_every_servo_goes_it_says_so(needle: Calibrating) -> None:
    assert needle.caution == ""
    needle.press(-1)
    assert "not all" in needle.caution
    needle.hold(-10, 60)
    needle.press(-1, LET_GO)
    assert needle.target_us < 500
    assert "Few" in needle.caution


def test_a_held_key_runs_ahead_of_a_slow_needle_by_a_little_only(needle: Calibrating) -> None:
    for _ in range(50):
        needle.nudge(10, needle.now)
    assert needle.target_us == 1000 + LEAD_US + 10
    needle.go(RIGHT)
    needle.nudge(-1, needle.now)
    assert needle.target_us == 1000 + LEAD_US - 1


def test_a_zero_at_the_longer_pulse_turns_the_dial_round(needle: Calibrating) -> None:
    needle.mark_at(LEFT, 2100)
    needle.mark_at(RIGHT, 800)
    assert needle.marks == {LEFT: 2100, RIGHT: 800}
    assert needle.unsaved["TWEETDOCK_TWEETS_REVERSED"] == "1"
    needle.reverse()
    assert needle.marks == {LEFT: 800, RIGHT: 2100}


def test_a_middle_that_is_marked_once_more_is_halfway_again(needle: Calibrating) -> None:
    needle.mark_at(MIDDLE, 1530)
    assert needle.unsaved["TWEETDOCK_TWEETS_MID_PULSE_US"] == "1530"
    needle.save()
    assert needle.unsaved == {}
    needle.mark(MIDDLE)
    assert needle.pulse_us(MIDDLE) == 1500
    assert needle.unsaved["TWEETDOCK_TWEETS_MID_PULSE_US"] == ""


def test_nothing_is_marked_before_the_needle_was_moved_or_while_it_moves(
    needle: Calibrating,
) -> None:
    needle.mark(LEFT)
    assert "Move the needle first" in needle.note
    needle.go(RIGHT)
    settle(needle.needle, 5)
    needle.mark(LEFT)
    assert "still on its way" in needle.note
    assert needle.unsaved == {}
    settle(needle.needle)
    needle.mark(LEFT)
    assert needle.marks[LEFT] == 2000


def test_stops_without_room_between_them_are_refused() -> None:
    assert "0 µs apart" in Calibrating(2000, 2000).trouble
    assert not Calibrating(1000, 1000 + LEAST_SPAN_US).trouble


def test_a_middle_that_is_not_between_the_stops_is_refused() -> None:
    assert not Calibrating(1000, 2000, 1400).trouble
    for left, right in ((1400, 2000), (1800, 2000), (1000, 1400)):
        assert "not between" in Calibrating(left, right, 1400).trouble


@given(st.lists(st.sampled_from(DialPoint), max_size=8), st.integers(0, 8))
def test_undo_takes_marks_back_one_by_one(points: list[DialPoint], count: int) -> None:
    needle = Calibrating()
    states = [needle.marks]
    for point in points:
        needle.press(70)
        needle.mark(point)
        states.append(needle.marks)
    stood = needle.target_us
    for _ in range(count):
        needle.undo()
    assert needle.marks == states[max(0, len(states) - 1 - count)]
    assert needle.target_us == stood


def test_a_sweep_goes_through_all_marks_and_ends_by_itself(needle: Calibrating) -> None:
    needle.sweep()
    way = [needle.target_us]
    while needle.is_sweeping:
        assert not needle.go_on()  # not before it stands
        settle(needle.needle)
        needle.go_on()
        way.append(needle.target_us)
    assert way == [1000, 1500, 2000, 1000, 1000]
    assert not needle.go_on()


def test_a_halt_ends_a_sweep_where_the_needle_is(needle: Calibrating) -> None:
    needle.go(RIGHT)
    settle(needle.needle, 30)
    needle.halt()
    assert not needle.is_sweeping
    assert 1000 < needle.target_us == needle.at_us < 2000


def test_small_steps_add_up(needle: Calibrating) -> None:
    nudges = [1, 1, -1, 10, 1, -10]
    for us, target in zip(nudges, list(accumulate(nudges, initial=1000))[1:], strict=True):
        needle.press(us)
        assert needle.target_us == target
