"""One needle: where it may stand, when it moves and when its pulses end."""

import pytest
from dials import dials
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.motion import SPEED
from tweetdock.servos.needles import SETTLE_SECONDS, STEP_US, TWITCH, Geometry, Needle

FRAME = 0.02
DIAL = Geometry(0.0, 180.0, 1000.0, 1500.0, 2000.0)
STEP = 0.9  # degrees


@st.composite
def geometries(draw: st.DrawFn, *, whole_ends: bool = False) -> Geometry:
    """A dial as the settings may have it; whole_ends: its ends lie on whole steps."""
    low, high = sorted(draw(st.lists(st.integers(-360, 360), min_size=2, max_size=2, unique=True)))
    grid = 5 if whole_ends else 1
    pulses = st.integers(300 // grid, 3000 // grid).map(lambda n: n * grid)
    start, end = draw(st.lists(pulses, min_size=2, max_size=2, unique=True))
    middle = (start + end) / 2
    if abs(start - end) > 1 and draw(st.booleans()):
        middle = draw(st.integers(min(start, end) + 1, max(start, end) - 1))
    return Geometry(low, high, start, middle, end)


def exact_us(geometry: Geometry, angle: float) -> float:
    """The pulse of an angle by the two-point form of each piece."""
    middle = (geometry.min_angle + geometry.max_angle) / 2
    a, b, pa, pb = geometry.min_angle, middle, geometry.start_us, geometry.middle_us
    if angle > middle:
        a, b, pa, pb = middle, geometry.max_angle, geometry.middle_us, geometry.end_us
    return (pa * (b - angle) + pb * (angle - a)) / (b - a)


def at(geometry: Geometry, share: float) -> float:
    """The angle at a share of the dial."""
    return geometry.min_angle + share * (geometry.max_angle - geometry.min_angle)


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


@pytest.mark.parametrize(
    ("changes", "start_us", "middle_us", "end_us"),
    [
        ({}, 600, 1500, 2400),
        ({"reversed": True}, 2400, 1500, 600),
        ({"mid_pulse_us": 1405}, 600, 1405, 2400),
        ({"mid_pulse_us": 1405, "reversed": True}, 2400, 1405, 600),
    ],
)
def test_the_geometry_of_a_dial_is_that_of_its_settings(
    changes: dict[str, int], start_us: float, middle_us: float, end_us: float
) -> None:
    dial, _ = dials(
        min_angle=-90.0, max_angle=90.0, **{"min_pulse_us": 600, "max_pulse_us": 2400} | changes
    )
    geometry = Geometry.of(dial)
    assert geometry == Geometry(-90.0, 90.0, start_us, middle_us, end_us)
    assert geometry.pulse_us(-90.0) == start_us
    assert geometry.pulse_us(0.0) == middle_us
    assert geometry.pulse_us(90.0) == end_us
    assert geometry.pulse_us(45.0) == (middle_us + end_us) / 2


@given(geometries(), st.floats(0, 1))
def test_an_angle_has_the_pulse_of_its_piece(geometry: Geometry, share: float) -> None:
    angle = at(geometry, share)
    assert geometry.pulse_us(angle) == pytest.approx(exact_us(geometry, angle), abs=1e-6)


@given(geometries())
def test_both_ends_and_the_middle_are_exact(geometry: Geometry) -> None:
    known = {
        geometry.min_angle: geometry.start_us,
        at(geometry, 0.5): geometry.middle_us,
        geometry.max_angle: geometry.end_us,
    }
    for angle, pulse_us in known.items():
        assert geometry.pulse_us(angle) == pulse_us
        assert geometry.angle(pulse_us) == angle


@given(geometries(), st.floats(0, 1))
def test_pulse_and_angle_are_each_others_inverse(geometry: Geometry, share: float) -> None:
    angle = at(geometry, share)
    assert geometry.angle(geometry.pulse_us(angle)) == pytest.approx(angle, abs=1e-6)


@given(geometries(), st.floats(-0.5, 1.5), st.floats(-0.5, 1.5))
def test_a_greater_angle_never_has_a_pulse_on_the_other_side(
    geometry: Geometry, share: float, other: float
) -> None:
    low, high = sorted((at(geometry, share), at(geometry, other)))
    way = geometry.pulse_us(high) - geometry.pulse_us(low)
    assert way * (geometry.end_us - geometry.start_us) >= 0


@given(geometries(whole_ends=True), st.floats(0, 1))
def test_a_needle_only_stands_on_whole_steps(geometry: Geometry, share: float) -> None:
    steps = geometry.pulse_us(geometry.snap(at(geometry, share))) / STEP_US
    assert steps == pytest.approx(round(steps), abs=1e-6)


@given(geometries(), st.floats(0, 1))
def test_snapping_stays_within_the_dial_and_half_a_step(geometry: Geometry, share: float) -> None:
    angle = at(geometry, share)
    snapped = geometry.snap(angle)
    assert geometry.min_angle - 1e-9 <= snapped <= geometry.max_angle + 1e-9
    assert abs(geometry.pulse_us(snapped) - geometry.pulse_us(angle)) <= STEP_US / 2 + 1e-6


@given(geometries(), st.floats(0, 1))
def test_snapping_twice_is_snapping_once(geometry: Geometry, share: float) -> None:
    snapped = geometry.snap(at(geometry, share))
    assert geometry.snap(snapped) == pytest.approx(snapped, abs=1e-9)


@given(geometries(), st.floats(-1000, 1000))
def test_no_angle_leads_out_of_the_dial(geometry: Geometry, angle: float) -> None:
    assert geometry.min_angle - 1e-9 <= geometry.snap(angle) <= geometry.max_angle + 1e-9
    low, high = sorted((geometry.start_us, geometry.end_us))
    assert low <= geometry.pulse_us(angle) <= high


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
    geometries(),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 60)), min_size=1, max_size=8),
)
def test_a_needle_rests_within_a_step_of_its_last_aim(
    geometry: Geometry, aims: list[tuple[float, int]]
) -> None:
    turning = Turning(Needle(geometry, geometry.min_angle))
    angle = 0.0
    for share, count in aims:
        angle = at(geometry, share)
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
