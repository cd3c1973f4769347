"""One needle: where it may stand, when it moves and when its pulses end."""

import pytest
from dials import dials, exact_us
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.motion import SPEED
from tweetdock.servos.needles import LATE_SECONDS, SETTLE_SECONDS, STEP_US, TWITCH, Geometry, Needle
from tweetdock.settings.gauge import DialSettings

FRAME = 0.02
DIAL = Geometry(dials()[0])
STEP = 0.9  # degrees


@st.composite
def dials_set(draw: st.DrawFn, *, whole_ends: bool = False) -> DialSettings:
    """A dial as the settings may have it; whole_ends: its ends lie on whole steps."""
    low, high = sorted(draw(st.lists(st.integers(-360, 360), min_size=2, max_size=2, unique=True)))
    grid = 5 if whole_ends else 1
    pulses = st.integers(300 // grid, 3000 // grid).map(lambda n: n * grid)
    least, most = sorted(draw(st.lists(pulses, min_size=2, max_size=2, unique=True)))
    middle = draw(st.none() | st.integers(least + 1, most - 1)) if most - least > 1 else None
    return dials(
        min_angle=low,
        max_angle=high,
        min_pulse_us=least,
        max_pulse_us=most,
        mid_pulse_us=middle,
        reversed=draw(st.booleans()),
    )[0]


def at(dial: DialSettings, share: float) -> float:
    """The angle at a share of the dial."""
    return dial.min_angle + share * (dial.max_angle - dial.min_angle)


class Turning:
    """A needle with the frames that the needles' thread would give it, by a clock of its own."""

    def __init__(self, needle: Needle) -> None:
        self.needle = needle
        self.now = 100.0
        self.angles: list[float] = []

    def frame(self) -> float | None:
        self.now += FRAME
        angle = self.needle.frame(self.now, SPEED)
        if angle is not None:
            self.angles.append(angle)
        return angle

    def wake(self) -> None:
        if self.needle.wants_to_move:
            self.needle.start(self.now)

    def until_rest(self) -> float:
        """Turn until the needle rests; the seconds that it took."""
        begun = self.now
        self.wake()
        while not self.needle.is_resting:
            self.frame()
            assert self.now - begun < 60
        return self.now - begun


@pytest.fixture
def turning() -> Turning:
    """A needle that has made its first move and rests at 0."""
    turning = Turning(Needle(DIAL, 0.0))
    turning.needle.aim(0.0)
    turning.until_rest()
    return turning


@given(dials_set(), st.floats(0, 1))
def test_an_angle_has_the_pulse_of_its_piece(dial: DialSettings, share: float) -> None:
    angle = at(dial, share)
    assert Geometry(dial).pulse_us(angle) == pytest.approx(exact_us(dial, angle), abs=1e-6)


@given(dials_set())
def test_both_ends_and_the_middle_are_exact(dial: DialSettings) -> None:
    geometry = Geometry(dial)
    known = {
        dial.min_angle: dial.start_us,
        at(dial, 0.5): dial.middle_us,
        dial.max_angle: dial.end_us,
    }
    for angle, pulse_us in known.items():
        assert geometry.pulse_us(angle) == pulse_us
        assert geometry.angle(pulse_us) == angle


@given(dials_set(), st.floats(0, 1))
def test_pulse_and_angle_are_each_others_inverse(dial: DialSettings, share: float) -> None:
    geometry, angle = Geometry(dial), at(dial, share)
    assert geometry.angle(geometry.pulse_us(angle)) == pytest.approx(angle, abs=1e-6)


@given(dials_set(), st.floats(-0.5, 1.5), st.floats(-0.5, 1.5))
def test_a_greater_angle_never_has_a_pulse_on_the_other_side(
    dial: DialSettings, share: float, other: float
) -> None:
    low, high = sorted((at(dial, share), at(dial, other)))
    way = Geometry(dial).pulse_us(high) - Geometry(dial).pulse_us(low)
    assert way * (dial.end_us - dial.start_us) >= 0


@given(dials_set(whole_ends=True), st.floats(0, 1))
def test_a_needle_only_stands_on_whole_steps(dial: DialSettings, share: float) -> None:
    geometry = Geometry(dial)
    steps = geometry.pulse_us(geometry.snap(at(dial, share))) / STEP_US
    assert steps == pytest.approx(round(steps), abs=1e-6)


@given(dials_set(), st.floats(0, 1))
def test_snapping_stays_within_the_dial_and_half_a_step(dial: DialSettings, share: float) -> None:
    geometry, angle = Geometry(dial), at(dial, share)
    snapped = geometry.snap(angle)
    assert dial.min_angle - 1e-9 <= snapped <= dial.max_angle + 1e-9
    assert abs(geometry.pulse_us(snapped) - geometry.pulse_us(angle)) <= STEP_US / 2 + 1e-6
    assert geometry.snap(snapped) == pytest.approx(snapped, abs=1e-9)


@given(dials_set(), st.floats(-1000, 1000))
def test_no_angle_leads_out_of_the_dial(dial: DialSettings, angle: float) -> None:
    geometry = Geometry(dial)
    assert dial.min_angle - 1e-9 <= geometry.snap(angle) <= dial.max_angle + 1e-9
    assert dial.min_pulse_us <= geometry.pulse_us(angle) <= dial.max_pulse_us


def test_the_first_move_is_made_even_to_where_it_should_stand_already() -> None:
    needle = Needle(DIAL, 0.0)
    assert needle.is_still
    needle.aim(0.0)
    assert needle.wants_to_move
    assert not needle.is_sure
    turning = Turning(needle)
    turning.until_rest()
    assert set(turning.angles) == {0.0}
    assert needle.is_sure
    assert not needle.wants_to_move


def test_a_frame_that_was_long_in_coming_is_no_leap(turning: Turning) -> None:
    turning.needle.aim(180.0)
    turning.wake()
    for _ in range(10):
        turning.frame()
    before = turning.needle.angle
    turning.now += 0.9
    turning.frame()
    assert turning.needle.angle - before <= SPEED * LATE_SECONDS


def test_the_pulses_end_when_the_servo_has_had_time_to_follow(turning: Turning) -> None:
    needle = turning.needle
    needle.aim(90.0)
    turning.wake()
    while needle.angle != 90.0:
        turning.frame()
    arrived_at = turning.now
    while turning.frame() is not None:
        assert turning.angles[-1] == 90.0
    # A frame later it is seen to stand, and within a frame after its time it rests.
    assert SETTLE_SECONDS <= turning.now - arrived_at <= SETTLE_SECONDS + 2.5 * FRAME
    assert needle.is_resting


def test_a_change_that_no_step_would_show_does_not_wake_the_needle(turning: Turning) -> None:
    turning.needle.aim(TWITCH * STEP - 0.01)
    assert not turning.needle.wants_to_move
    turning.needle.aim(TWITCH * STEP + 0.01)
    assert turning.needle.wants_to_move


def test_a_needle_rests_on_a_whole_step(turning: Turning) -> None:
    turning.needle.aim(90.3)
    turning.until_rest()
    assert turning.needle.angle == 90.0


def test_a_change_that_no_step_would_show_is_nothing_on_the_way_either(turning: Turning) -> None:
    turning.needle.aim(90.0)
    turning.wake()
    turning.frame()
    turning.needle.aim(90.6)
    turning.until_rest()
    assert turning.needle.angle == 90.0


def test_small_changes_do_not_add_up_unseen(turning: Turning) -> None:
    for tenth in range(101):
        turning.needle.aim(tenth / 10)
        turning.until_rest()
    assert turning.needle.angle == pytest.approx(10.0, abs=STEP)


@given(
    dials_set(),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 60)), min_size=1, max_size=8),
)
def test_a_needle_rests_within_a_step_of_its_last_aim(
    dial: DialSettings, aims: list[tuple[float, int]]
) -> None:
    geometry = Geometry(dial)
    turning = Turning(Needle(geometry, dial.min_angle))
    angle = 0.0
    for share, count in aims:
        angle = at(dial, share)
        turning.needle.aim(angle)
        for _ in range(count):
            turning.wake()
            if not turning.needle.is_resting:
                turning.frame()
    turning.until_rest()
    stands_us = geometry.pulse_us(turning.needle.angle)
    assert abs(stands_us - geometry.pulse_us(angle)) <= STEP_US + 1e-6
    assert not turning.needle.wants_to_move


def test_a_needle_under_way_turns_to_a_new_target_without_a_rest(turning: Turning) -> None:
    needle = turning.needle
    needle.aim(180.0)
    turning.wake()
    for _ in range(30):
        turning.frame()
    assert 0 < needle.angle < 180
    needle.aim(45.0)
    turning.until_rest()
    assert needle.angle == 45.0
    assert max(turning.angles) < 180


def test_a_new_target_while_it_settles_is_followed_and_settled_anew(turning: Turning) -> None:
    needle = turning.needle
    needle.aim(9.0)
    turning.wake()
    while needle.angle != 9.0:
        turning.frame()
    turning.frame()
    needle.aim(99.0)
    while needle.angle != 99.0:
        turning.frame()
    assert turning.until_rest() >= SETTLE_SECONDS


def test_lost_pulses_make_it_point_again(turning: Turning) -> None:
    needle = turning.needle
    needle.lose()
    assert needle.wants_to_move
    turning.angles.clear()
    turning.until_rest()
    assert turning.angles
    assert set(turning.angles) == {0.0}
    assert not needle.wants_to_move


def test_a_needle_lost_on_its_way_goes_on_from_where_it_is_slowly(turning: Turning) -> None:
    needle = turning.needle
    needle.aim(180.0)
    turning.wake()
    for _ in range(30):
        turning.frame()
    where = needle.angle
    needle.lose()
    assert needle.is_resting
    turning.wake()
    turning.frame()
    assert where < needle.angle < where + 0.5
    turning.until_rest()
    assert needle.angle == 180.0


def test_a_clock_that_stands_still_moves_nothing(turning: Turning) -> None:
    turning.needle.aim(90.0)
    turning.wake()
    assert turning.needle.frame(turning.now, SPEED) == 0.0
    assert turning.needle.frame(turning.now - 1, SPEED) == 0.0
