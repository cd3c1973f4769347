"""One needle: where it may stand, when it moves and when its pulses end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.motion import SPEED
from tweetdock.servos.hand import SETTLE_SECONDS, STEP_US, TWITCH, Geometry, Hand
from tweetdock.settings import DialSettings

FRAME = 0.02
DIAL = Geometry(0.0, 180.0, 1000.0, 2000.0)
STEP = STEP_US * DIAL.degrees_per_us  # 0.9 degrees


@st.composite
def geometries(draw: st.DrawFn, *, whole_ends: bool = False) -> Geometry:
    """A dial as the settings may have it; whole_ends: its ends lie on whole steps."""
    low, high = sorted(draw(st.lists(st.integers(-360, 360), min_size=2, max_size=2, unique=True)))
    grid = 5 if whole_ends else 1
    pulses = st.integers(300 // grid, 3000 // grid).map(lambda n: n * grid)
    short, long = sorted(draw(st.lists(pulses, min_size=2, max_size=2, unique=True)))
    return Geometry(low, high, short, long)


def pulse_us(geometry: Geometry, angle: float) -> float:
    return geometry.min_pulse_us + (angle - geometry.min_angle) / geometry.degrees_per_us


class Turning:
    """A hand with the frames that the needles' thread would give it, by a clock of its own."""

    def __init__(self, hand: Hand) -> None:
        self.hand = hand
        self.now = 100.0
        self.angles: list[float] = []

    def frame(self) -> float | None:
        self.now += FRAME
        order = self.hand.frame(self.now, SPEED)
        if order is not None:
            self.angles.append(order)
        return order

    def wake(self) -> None:
        if self.hand.wants_to_move:
            self.hand.start(self.now)

    def until_rest(self) -> float:
        """Turn until the hand rests; the seconds that it took."""
        begun = self.now
        self.wake()
        while not self.hand.is_resting:
            self.frame()
            assert self.now - begun < 60
        return self.now - begun


@pytest.fixture
def turning() -> Turning:
    """A hand that has made its first move and rests at 0."""
    turning = Turning(Hand(DIAL, 0.0))
    turning.until_rest()
    return turning


def test_the_geometry_of_a_dial_is_that_of_its_settings() -> None:
    dial = DialSettings(
        pin=12,
        scale="auto",
        min_angle=-90.0,
        max_angle=90.0,
        min_pulse_us=600,
        max_pulse_us=2400,
        reversed=True,
    )
    assert Geometry.of(dial) == Geometry(-90.0, 90.0, 600, 2400)
    assert Geometry.of(dial).degrees_per_us == pytest.approx(0.1)


@given(geometries(whole_ends=True), st.floats(0, 1))
def test_a_needle_only_stands_on_whole_steps(geometry: Geometry, share: float) -> None:
    angle = geometry.min_angle + share * (geometry.max_angle - geometry.min_angle)
    steps = pulse_us(geometry, geometry.snap(angle)) / STEP_US
    assert steps == pytest.approx(round(steps), abs=1e-6)


@given(geometries(), st.floats(0, 1))
def test_snapping_stays_within_the_dial_and_half_a_step(geometry: Geometry, share: float) -> None:
    angle = geometry.min_angle + share * (geometry.max_angle - geometry.min_angle)
    snapped = geometry.snap(angle)
    assert geometry.min_angle - 1e-9 <= snapped <= geometry.max_angle + 1e-9
    assert abs(snapped - angle) <= STEP_US / 2 * geometry.degrees_per_us + 1e-6


@given(geometries(), st.floats(0, 1))
def test_snapping_twice_is_snapping_once(geometry: Geometry, share: float) -> None:
    angle = geometry.min_angle + share * (geometry.max_angle - geometry.min_angle)
    snapped = geometry.snap(angle)
    assert geometry.snap(snapped) == pytest.approx(snapped, abs=1e-9)


@given(geometries(), st.floats(-1000, 1000))
def test_no_angle_leads_out_of_the_dial(geometry: Geometry, angle: float) -> None:
    snapped = geometry.snap(angle)
    assert geometry.min_angle - 1e-9 <= snapped <= geometry.max_angle + 1e-9


def test_the_first_move_is_made_even_to_where_it_should_stand_already() -> None:
    hand = Hand(DIAL, 0.0)
    assert hand.is_resting
    assert hand.wants_to_move
    assert not hand.is_sure
    turning = Turning(hand)
    turning.until_rest()
    assert set(turning.angles) == {0.0}
    assert hand.is_sure
    assert not hand.wants_to_move


def test_the_pulses_end_when_the_servo_has_had_time_to_follow(turning: Turning) -> None:
    hand = turning.hand
    hand.aim(90.0)
    turning.wake()
    while hand.angle != 90.0:
        turning.frame()
    arrived_at = turning.now
    while turning.frame() is not None:
        assert turning.angles[-1] == 90.0
    # A frame later it is seen to stand, and within a frame after its time it rests.
    assert SETTLE_SECONDS <= turning.now - arrived_at <= SETTLE_SECONDS + 2.5 * FRAME
    assert hand.is_resting


def test_a_change_that_no_step_would_show_does_not_wake_the_needle(turning: Turning) -> None:
    turning.hand.aim(TWITCH * STEP - 0.01)
    assert not turning.hand.wants_to_move
    turning.hand.aim(TWITCH * STEP + 0.01)
    assert turning.hand.wants_to_move


def test_a_needle_rests_on_a_whole_step(turning: Turning) -> None:
    turning.hand.aim(90.3)
    turning.until_rest()
    assert turning.hand.angle == 90.0


def test_a_change_that_no_step_would_show_is_nothing_on_the_way_either(turning: Turning) -> None:
    turning.hand.aim(90.0)
    turning.wake()
    turning.frame()
    turning.hand.aim(90.6)
    turning.until_rest()
    assert turning.hand.angle == 90.0


def test_small_changes_do_not_add_up_unseen(turning: Turning) -> None:
    for tenth in range(101):
        turning.hand.aim(tenth / 10)
        turning.until_rest()
    assert turning.hand.angle == pytest.approx(10.0, abs=STEP)


@given(
    geometries(),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 60)), min_size=1, max_size=8),
)
def test_a_needle_rests_within_a_step_of_its_last_aim(
    geometry: Geometry, aims: list[tuple[float, int]]
) -> None:
    turning = Turning(Hand(geometry, geometry.min_angle))
    angle = 0.0
    for share, count in aims:
        angle = geometry.min_angle + share * (geometry.max_angle - geometry.min_angle)
        turning.hand.aim(angle)
        for _ in range(count):
            turning.wake()
            if not turning.hand.is_resting:
                turning.frame()
    turning.until_rest()
    assert abs(turning.hand.angle - angle) <= STEP_US * geometry.degrees_per_us + 1e-6
    assert not turning.hand.wants_to_move


def test_a_needle_under_way_turns_to_a_new_target_without_a_rest(turning: Turning) -> None:
    hand = turning.hand
    hand.aim(180.0)
    turning.wake()
    for _ in range(30):
        turning.frame()
    assert 0 < hand.angle < 180
    hand.aim(45.0)
    turning.until_rest()
    assert hand.angle == 45.0
    assert max(turning.angles) < 180


def test_a_new_target_while_it_settles_is_followed_and_settled_anew(turning: Turning) -> None:
    hand = turning.hand
    hand.aim(9.0)
    turning.wake()
    while hand.angle != 9.0:
        turning.frame()
    turning.frame()
    hand.aim(99.0)
    while hand.angle != 99.0:
        turning.frame()
    assert turning.until_rest() >= SETTLE_SECONDS


def test_lost_pulses_make_it_point_again(turning: Turning) -> None:
    hand = turning.hand
    hand.lose()
    assert hand.wants_to_move
    turning.angles.clear()
    turning.until_rest()
    assert turning.angles
    assert set(turning.angles) == {0.0}
    assert not hand.wants_to_move


def test_a_needle_lost_on_its_way_goes_on_from_where_it_is_slowly(turning: Turning) -> None:
    hand = turning.hand
    hand.aim(180.0)
    turning.wake()
    for _ in range(30):
        turning.frame()
    where = hand.angle
    hand.lose()
    assert hand.is_resting
    turning.wake()
    turning.frame()
    assert where < hand.angle < where + 0.5
    turning.until_rest()
    assert hand.angle == 180.0


def test_a_clock_that_stands_still_moves_nothing(turning: Turning) -> None:
    turning.hand.aim(90.0)
    turning.wake()
    assert turning.hand.frame(turning.now, SPEED) == 0.0
    assert turning.hand.frame(turning.now - 1, SPEED) == 0.0
