"""The dial's geometry against its scales: where ticks stand, and which of them have numbers."""

import math
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.dial import (
    CAPITAL,
    DIGIT,
    LABEL_SIZE,
    LEAST_DEGREES,
    LEAST_LABEL_DEGREES,
    Dial,
    Rank,
    Tick,
    label_point,
    point,
    short,
)
from tweetdock.core.errors import SettingsError
from tweetdock.core.scaler import LinearScale, LogScale
from tweetdock.settings.gauge import Settings

HAIR = 1e-6
WIDE = 330.0  # degrees; from there on the ends may meet

full_scales = st.integers(1, 999_999_999) | st.sampled_from([10**n for n in range(9)])
kinds = st.sampled_from([LinearScale, LogScale])
dials = st.builds(
    lambda kind, full_scale, least, sweep: Dial(least, least + sweep, kind(full_scale)),
    kinds,
    full_scales,
    st.floats(-360, 0),
    st.floats(1, 720),
)


def dial(scale: str, sweep: float = 180, full_scale: int = 10) -> Dial:
    """A dial as it is set in the environment."""
    env = {"TWEETDOCK_TWEETS_SCALE": scale, "TWEETDOCK_TWEETS_MAX_ANGLE": f"{sweep:g}"}
    return Dial.of(Settings.from_env(env, demo=True).tweets, full_scale)


def numbers(ticks: list[Tick]) -> list[Tick]:
    return [tick for tick in ticks if tick.label]


def apart(one: Tick, other: Tick) -> float:
    """Degrees between two ticks, the shorter way round."""
    return abs((one.bearing - other.bearing + 180) % 360 - 180)


def is_over(one: Tick, other: Tick) -> bool:
    """Whether two numbers are printed over each other."""
    (x, y), (u, v) = (label_point(tick.bearing, tick.label) for tick in (one, other))
    signs = (len(one.label) + len(other.label)) / 2
    return abs(x - u) <= signs * DIGIT * LABEL_SIZE and abs(y - v) <= CAPITAL * LABEL_SIZE


@given(dials)
def test_a_mark_stands_where_the_needle_points_at_its_count(dial: Dial) -> None:
    for tick in dial.ticks():
        assert tick.position == dial.scale.position(tick.count, 0)
        angle = dial.min_angle + tick.position * (dial.max_angle - dial.min_angle)
        assert tick.bearing == pytest.approx(dial.bearing_of(angle))


@given(dials)
def test_zero_and_full_scale_stand_at_the_ends_and_have_numbers(dial: Dial) -> None:
    ticks = dial.ticks()
    first, last = ticks[0], ticks[-1]
    assert (first.count, first.label) == (0, "0")
    assert -first.bearing == pytest.approx(dial.sweep / 2)
    if dial.sweep <= WIDE:
        assert (last.count, last.label) == (dial.scale.full_scale, short(dial.scale.full_scale))
        assert last.bearing == pytest.approx(dial.sweep / 2)


@given(dials.filter(lambda dial: dial.sweep > WIDE))
def test_where_a_dial_comes_round_again_no_mark_or_number_is_upon_another(dial: Dial) -> None:
    """At 360 degrees 0 and full scale were printed over each other, at 720 all ticks were."""
    ticks = dial.ticks()
    for one, other in combinations(ticks, 2):
        assert apart(one, other) >= LEAST_DEGREES - HAIR
    for one, other in combinations(numbers(ticks), 2):
        assert not is_over(one, other)


@pytest.mark.parametrize(
    ("sweep", "labels"),
    [
        (340, "0 100 200 300 400 500"),
        (355, "0 100 200 300 400"),
        (360, "0 100 200 300 400"),
        (720, "0 100 200"),
    ],
)
def test_the_number_of_full_scale_is_left_away_where_it_would_meet_zero(
    sweep: float, labels: str
) -> None:
    ticks = Dial(0, sweep, LinearScale(500)).ticks()
    assert [tick.label for tick in numbers(ticks)] == labels.split()


@given(dials)
def test_marks_are_in_order_apart_and_not_too_many(dial: Dial) -> None:
    ticks = dial.ticks()
    assert ticks == sorted(ticks)
    assert len(ticks) <= 100
    if len(ticks) > 2:
        nearest = min(b.bearing - a.bearing for a, b in pairwise(ticks))
        assert nearest >= LEAST_DEGREES - HAIR


@given(dials)
def test_numbers_never_crowd(dial: Dial) -> None:
    found = numbers(dial.ticks())
    for one, other in combinations(found, 2):
        if len(found) == 2 and dial.sweep <= WIDE:
            break  # both ends, which are told however narrow the dial is
        assert apart(one, other) >= LEAST_LABEL_DEGREES - HAIR
        if {one.count, other.count} != {0, dial.scale.full_scale}:
            assert not is_over(one, other)


# One that goes round more than once has numbers in the way of others.
@given(dials.filter(lambda dial: dial.sweep < 345))
def test_numbers_are_1_2_5_times_a_power_of_ten(dial: Dial) -> None:
    counts = [tick.count for tick in numbers(dial.ticks())]
    if isinstance(dial.scale, LogScale):
        assert all(str(count)[0] in "125" for count in counts[1:-1])
        assert all(set(str(count)[1:]) <= {"0"} for count in counts[1:-1])
    else:
        steps = [b - a for a, b in pairwise(counts)]
        # The last step is what remains of the scale.
        assert len(set(steps[:-1])) <= 1
        for step in steps[:-1]:
            assert str(step)[0] in "125"
            assert set(str(step)[1:]) <= {"0"}


@given(full_scales, st.floats(1, 720))
def test_the_marks_of_a_linear_dial_are_evenly_spaced(full_scale: int, sweep: float) -> None:
    counts = [tick.count for tick in Dial(0, sweep, LinearScale(full_scale)).ticks()]
    assert len({b - a for a, b in pairwise(counts[:-1])}) <= 1


@pytest.mark.parametrize(
    ("scale", "sweep", "labels"),
    [
        ("linear:500", 180, "0 100 200 300 400 500"),
        ("linear:500", 60, "0 100 200 300 400 500"),
        ("linear:37", 180, "0 10 20 30 37"),
        ("linear:1001", 180, "0 200 400 600 800 1001"),
        ("linear:1", 180, "0 1"),
        ("linear:12345678", 180, "0 5M 10M 12.35M"),
        ("auto", 180, "0 2 4 6 8 10"),
        ("log:10", 180, "0 1 2 5 10"),
        ("log:10000", 180, "0 1 5 10 20 50 100 200 500 1000 2000 5000 10k"),
        ("log:10000", 60, "0 10 100 1000 10k"),
        ("log:1000000", 180, "0 10 100 1000 10k 100k 1M"),
        ("log:100000", 60, "0 10 1000 100k"),
    ],
)
def test_numbers_are_those_that_a_person_would_choose(
    scale: str, sweep: float, labels: str
) -> None:
    assert [tick.label for tick in numbers(dial(scale, sweep).ticks())] == labels.split()


def test_an_automatic_scale_is_drawn_as_it_stands() -> None:
    assert dial("auto", full_scale=2000).scale.full_scale == 2000


def test_between_two_numbers_the_middle_is_longer_where_it_is_a_mark() -> None:
    ranks = {tick.count: tick.rank for tick in dial("linear:500").ticks()}
    assert (ranks[100], ranks[150], ranks[140]) == (Rank.MAJOR, Rank.MIDDLE, Rank.MINOR)


def test_marks_of_a_decade_are_all_there_or_few_enough_to_be_counted() -> None:
    wide = [tick.count for tick in dial("log:1000", 180).ticks()]
    assert [count for count in wide if 100 <= count < 1000] == list(range(100, 1000, 100))
    narrow = [tick.count for tick in dial("log:1000000", 60).ticks()]
    assert [count for count in narrow if 100 <= count < 1000] == [100, 200, 500]


@given(st.floats(-180, 180), st.floats(0.1, 100))
def test_a_point_lies_in_its_bearing(bearing: float, radius: float) -> None:
    x, y = point(bearing, radius)
    assert math.hypot(x, y) == pytest.approx(radius)
    difference = math.degrees(math.atan2(x, -y)) - bearing
    assert abs((difference + 180) % 360 - 180) < HAIR


@given(st.floats(-180, 180), st.integers(1, 6))
def test_a_number_stands_clear_of_the_arc(bearing: float, signs: int) -> None:
    x, y = label_point(bearing, "8" * signs)
    across = max(0.0, abs(x) - signs * DIGIT * LABEL_SIZE / 2)
    down = max(0.0, abs(y) - CAPITAL * LABEL_SIZE / 2)
    assert 1.01 < math.hypot(across, down) < 1.2


@given(st.integers(0, 999_999_999))
def test_a_number_is_short_and_true_to_four_digits(count: int) -> None:
    label = short(count)
    units = {"k": 1e3, "M": 1e6, "G": 1e9}
    told = float(label.rstrip("kMG")) * units.get(label[-1], 1)
    assert len(label) <= 6
    assert told == pytest.approx(count, rel=0.0005)


@pytest.mark.parametrize(
    ("count", "label"),
    [
        *((0, "0"), (500, "500"), (9999, "9999"), (10_000, "10k"), (1_500_000, "1.5M")),
        *((999_949, "999.9k"), (999_999, "1M"), (999_999_999, "1G")),
    ],
)
def test_a_number_is_written_as_a_dial_has_room_for_it(count: int, label: str) -> None:
    assert short(count) == label


def test_a_dial_can_be_read_before_anything_else_is_set() -> None:
    env = {"TWEETDOCK_TWEETS_PIN": "5", "TWEETDOCK_SOURCES": "nonsense"}
    settings = Settings.from_env(env, about=("TWEETDOCK_TWEETS_", "TWEETDOCK_TWEETERS_"))
    assert (settings.tweets.pin, settings.tweeters.pin) == (5, 13)


def test_what_is_wrong_with_the_dials_is_told_at_once() -> None:
    env = {
        "TWEETDOCK_TWEETS_SCALE": "loud",
        "TWEETDOCK_TWEETS_MIN_ANGLE": "200",
        "TWEETDOCK_TWEETERS_MID_PULSE_US": "2000",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(env, demo=True)
    names = [problem.name for problem in caught.value.problems]
    assert sorted(names) == sorted(env)
