"""The past: ever coarser, never longer than it is kept, and right whatever the clock does."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from test_journal import reading

from tweetdock.core.coverage import Grade
from tweetdock.core.times import DAY_MS, HOUR_MS, MINUTE_MS
from tweetdock.show.board import STEPS, Moment, Past

START = 1_795_230_000_000 // HOUR_MS * HOUR_MS


def moment(at_ms: int, posts: int = 0) -> Moment:
    return Moment(at_ms, posts, posts // 2, Grade.EXACT)


def thinned(moments: list[Moment]) -> list[Moment]:
    """Brute force: of each row the first of each step; of the rows the finest that goes back."""
    found: list[Moment] = []
    for step, length in STEPS:
        firsts: dict[int, Moment] = {}
        for each in moments:
            firsts.setdefault(each.at_ms // step, each)
        row = list(firsts.values())[-(length // step) :]
        found = [each for each in row if not found or each.at_ms < found[0].at_ms] + found
    return found


@given(
    st.lists(st.integers(0, 3 * DAY_MS // 1000), max_size=200),
    st.integers(-10, 3 * DAY_MS // 1000),
)
def test_the_past_is_the_first_reading_of_each_step(seconds: list[int], since: int) -> None:
    moments = [moment(START + 1000 * at, at) for at in sorted(seconds)]
    past = Past(moments)
    since_ms = START + 1000 * since
    assert past.since(since_ms) == [each for each in thinned(moments) if each.at_ms > since_ms]


def test_the_last_hour_is_finer_than_the_day_before_it() -> None:
    past = Past()
    for second in range(3 * 3600):
        past.note(replace(reading(second), at_ms=START + 1000 * second))
    found = past.since(0)
    steps = [later.at_ms - one.at_ms for one, later in pairwise(found)]
    assert set(steps[:119]) == {MINUTE_MS}
    assert set(steps[120:]) == {10_000}
    assert found[-1].posts == 3 * 3600 - 10
    assert len(past.since(found[-1].at_ms - MINUTE_MS)) == 6


@given(st.lists(st.integers(0, 50), max_size=60))
def test_a_clock_that_is_set_back_takes_what_never_was_with_it(minutes: list[int]) -> None:
    past = Past()
    for number, minute in enumerate(minutes):
        past.note(replace(reading(number), at_ms=START + MINUTE_MS * minute))
    found = past.since(0)
    assert [each.at_ms for each in found] == sorted({each.at_ms for each in found})
    if minutes:
        assert found[-1].at_ms == START + MINUTE_MS * minutes[-1]


def test_a_year_takes_no_more_than_its_rows() -> None:
    past = Past(moment(START + HOUR_MS * hour) for hour in range(20_000))
    assert len(past.since(0)) == sum(length // step for step, length in STEPS[2:])
