"""Scales: what holds for every count, and the scale that fits itself over time."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.scaler import (
    COMFORT,
    PATIENCE_MS,
    AutoScale,
    LinearScale,
    LogScale,
    make_scale,
    step_above,
    step_below,
)

MINUTE_MS = 60_000
STEPS = sorted(digit * 10**power for power in range(1, 12) for digit in (1, 2, 5))

counts = st.integers(0, 10**6)
fixed_scales = st.builds(
    lambda kind, full_scale: kind(full_scale),
    st.sampled_from([LinearScale, LogScale]),
    st.integers(1, 10**6),
)


@given(fixed_scales, counts, counts)
def test_a_higher_count_is_never_shown_lower(
    scale: LinearScale | LogScale, one: int, other: int
) -> None:
    low, high = sorted((one, other))
    assert scale.position(low, 0) <= scale.position(high, 0)
    if low < high <= scale.full_scale:
        assert scale.position(low, 0) < scale.position(high, 0)


@given(fixed_scales, st.integers(1, 10**6))
def test_a_scale_goes_from_0_to_1_and_pegs(scale: LinearScale | LogScale, more: int) -> None:
    assert scale.position(0, 0) == 0.0
    assert scale.position(scale.full_scale, 0) == 1.0
    assert scale.position(scale.full_scale + more, 0) == 1.0


def test_a_linear_scale_has_equal_ways_and_a_logarithmic_one_equal_ratios() -> None:
    linear = LinearScale(500)
    assert linear.position(125, 0) == 0.25
    logarithmic = LogScale(9_999)
    tens = [logarithmic.position(10**power - 1, 0) for power in range(5)]
    assert tens == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])


@given(st.integers(0, 10**11))
def test_the_step_above_is_the_smallest_1_2_5_that_holds(count: int) -> None:
    assert step_above(count) == next(step for step in STEPS if step >= count)


def test_the_step_below_is_the_neighbour_and_ends_at_the_smallest() -> None:
    assert [step_below(high) for high in STEPS[1:]] == STEPS[:-1]
    assert step_below(STEPS[0]) == STEPS[0]


@given(st.lists(st.tuples(st.integers(0, 20 * MINUTE_MS), counts), max_size=40))
def test_the_automatic_scale_always_holds_the_count(history: list[tuple[int, int]]) -> None:
    scale, now = AutoScale(), 0
    for pause, count in history:
        now += pause
        position = scale.position(count, now)
        assert scale.full_scale in STEPS
        assert position == count / scale.full_scale <= 1.0


def test_the_automatic_scale_goes_up_at_once_and_as_far_as_needed() -> None:
    scale = AutoScale()
    assert scale.position(10, 0) == 1.0
    assert scale.full_scale == 10
    assert scale.position(11, 0) == 0.55
    assert scale.full_scale == 20
    assert scale.position(4_321, 0) == 0.8642
    assert scale.full_scale == 5_000


def test_the_automatic_scale_comes_down_a_step_in_fifteen_minutes() -> None:
    scale = AutoScale()
    scale.position(1_000, 0)
    scales = []
    for minute in range(1, 62):
        scale.position(3, minute * MINUTE_MS)
        scales.append(scale.full_scale)
    # Room since the first minute: down at 16, 31, 46 and 61.
    assert scales == [1_000] * 15 + [500] * 15 + [200] * 15 + [100] * 15 + [50]


def test_the_automatic_scale_stays_while_the_smaller_one_would_be_nearly_full() -> None:
    scale = AutoScale()
    scale.position(1_000, 0)
    for minute in range(1, 120):
        scale.position(401, minute * MINUTE_MS)
    assert scale.full_scale == 1_000
    for minute in range(120, 136):
        scale.position(400, minute * MINUTE_MS)
    assert scale.full_scale == 500


def test_one_busy_moment_begins_the_fifteen_minutes_anew() -> None:
    scale = AutoScale()
    scale.position(1_000, 0)
    for minute in range(1, 200):
        scale.position(900 if minute % 14 == 0 else 3, minute * MINUTE_MS)
    assert scale.full_scale == 1_000


def test_a_clock_set_back_begins_the_fifteen_minutes_anew() -> None:
    scale = AutoScale()
    scale.position(1_000, PATIENCE_MS * 10)
    scale.position(3, PATIENCE_MS * 10)
    scale.position(3, 0)
    scale.position(3, PATIENCE_MS - 1)
    assert scale.full_scale == 1_000
    scale.position(3, PATIENCE_MS)
    assert scale.full_scale == 500


@given(
    border=st.sampled_from(STEPS[:8]),
    steps=st.lists(st.integers(-6, 6), min_size=50, max_size=300),
    pause=st.integers(1_000, 10 * MINUTE_MS),
)
def test_around_a_border_the_automatic_scale_does_not_flap(
    border: int, steps: list[int], pause: int
) -> None:
    scale, count = AutoScale(), border
    changes = [(0, 0, 0)]
    for number, step in enumerate(steps):
        count = max(0, count + step * max(1, border // 20))
        before = scale.full_scale
        scale.position(count, number * pause)
        if number and scale.full_scale != before:
            changes.append((number * pause, before, scale.full_scale))
    for (earlier, _, _), (later, before, after) in pairwise(changes):
        if after < before:
            assert later - earlier >= PATIENCE_MS
            assert after == step_below(before)


@given(st.sampled_from(STEPS[1:9]), st.integers(0, 100))
def test_within_a_fifth_of_a_border_the_automatic_scale_never_comes_down(
    border: int, percent: int
) -> None:
    scale = AutoScale()
    scale.position(border + 1, 0)
    count = int(border * COMFORT) + 1 + percent * border // 500
    for quarter in range(1, 10):
        scale.position(min(count, border + 1), quarter * PATIENCE_MS)
    assert scale.full_scale == step_above(border + 1)


def test_a_scale_is_made_from_its_words() -> None:
    assert isinstance(make_scale("auto"), AutoScale)
    linear, logarithmic = make_scale("linear:500"), make_scale("log:10000")
    assert isinstance(linear, LinearScale)
    assert linear.full_scale == 500
    assert isinstance(logarithmic, LogScale)
    assert logarithmic.full_scale == 10_000


@pytest.mark.parametrize(
    "words",
    [
        *("", "linear", "linear:", "linear:0", "linear:-5", "linear:1.5", "log:x", "log:0"),
        *("auto:", "auto:500", "AUTO", "500", "linear:500:1", "linear: 500", "cubic:500"),
        "linear:\u0665\u0660\u0660",  # 500 in Arabic digits
        # This many digits are beyond a float: they would end the gauge at its first count.
        "log:1" + 400 * "0",
        "linear:1" + 5_000 * "0",
    ],
)
def test_other_words_are_refused_with_what_is_accepted(words: str) -> None:
    with pytest.raises(ValueError, match=r"auto, linear:N or log:N .* such as linear:500"):
        make_scale(words)
