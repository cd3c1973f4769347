"""A needle's way: what holds for every start, every change of mind and every frame rate."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.motion import ACCELERATION, ARRIVED, SPEED, Motion

angles = st.floats(-360, 360)
frames = st.lists(st.floats(0.005, 0.05), min_size=1, max_size=20)
# Each target with how many frames it lasts.
targets = st.lists(st.tuples(angles, st.integers(0, 60)), min_size=1, max_size=6)
speeds = st.sampled_from([30.0, SPEED, 240.0])

ROUNDING = 1e-6


def travel(
    start: float, goals: list[tuple[float, int]], seconds: list[float], speed: float
) -> list[tuple[Motion, float]]:
    """Every frame of a way, each with its length; the last target lasts until it is reached."""
    motion = Motion(start)
    way = [(motion, 0.0)]

    def step(target: float) -> Motion:
        length = seconds[len(way) % len(seconds)]
        way.append((motion.step(target, length, speed), length))
        return way[-1][0]

    for target, count in goals:
        for _ in range(count):
            motion = step(target)
    while not motion.is_at(goals[-1][0]):
        motion = step(goals[-1][0])
        assert len(way) < 20_000
    return way


@given(angles, targets, frames, speeds)
def test_no_needle_turns_faster_than_its_limit(
    start: float, goals: list[tuple[float, int]], seconds: list[float], speed: float
) -> None:
    for (before, _), (after, length) in pairwise(travel(start, goals, seconds, speed)):
        assert abs(after.velocity) <= speed
        # The last step may be longer by the bit that is too small to see.
        assert abs(after.angle - before.angle) <= speed * length + ARRIVED + ROUNDING


@given(angles, targets, frames, speeds)
def test_no_needle_is_jerked(
    start: float, goals: list[tuple[float, int]], seconds: list[float], speed: float
) -> None:
    for (before, _), (after, length) in pairwise(travel(start, goals, seconds, speed)):
        most = ACCELERATION * length
        if after.velocity == 0.0:  # the snap to the target ends a speed that one frame can end
            most *= 2
        assert abs(after.velocity - before.velocity) <= most + ROUNDING


@given(angles, targets, frames, speeds)
def test_no_needle_leaves_the_span_of_its_start_and_targets(
    start: float, goals: list[tuple[float, int]], seconds: list[float], speed: float
) -> None:
    lowest = min([start, *(target for target, _ in goals)])
    highest = max([start, *(target for target, _ in goals)])
    for motion, _ in travel(start, goals, seconds, speed):
        assert lowest - ROUNDING <= motion.angle <= highest + ROUNDING


@given(angles, angles, frames, speeds)
def test_a_needle_arrives_in_time(
    start: float, target: float, seconds: list[float], speed: float
) -> None:
    way = travel(start, [(target, 0)], seconds, speed)
    took = sum(length for _, length in way)
    ideal = abs(target - start) / speed + 2 * speed / ACCELERATION
    assert took <= ideal + 10 * max(seconds)


@given(angles, targets, frames, frames)
def test_a_needle_that_has_arrived_stays(
    start: float, goals: list[tuple[float, int]], seconds: list[float], later: list[float]
) -> None:
    motion = travel(start, goals, seconds, SPEED)[-1][0]
    for length in later:
        motion = motion.step(goals[-1][0], length)
        assert motion == Motion(goals[-1][0], 0.0)


@given(angles, angles, frames, speeds)
def test_from_rest_a_needle_only_comes_nearer(
    start: float, target: float, seconds: list[float], speed: float
) -> None:
    way = [abs(target - motion.angle) for motion, _ in travel(start, [(target, 0)], seconds, speed)]
    assert all(later < earlier for earlier, later in pairwise(way))


def test_a_needle_starts_and_ends_slowly() -> None:
    way = [motion for motion, _ in travel(0.0, [(90.0, 0)], [0.02], SPEED)]
    assert way[1].velocity == ACCELERATION * 0.02
    assert max(motion.velocity for motion in way) == SPEED
    assert way[-2].velocity <= ACCELERATION * 0.02
    assert way[-1] == Motion(90.0)


def test_a_needle_whose_target_is_behind_it_brakes_and_turns() -> None:
    motion = Motion(0.0)
    for _ in range(20):
        motion = motion.step(90.0, 0.02)
    turned = motion.step(0.0, 0.02)
    assert 0 < turned.velocity < motion.velocity
    assert turned.angle > motion.angle
