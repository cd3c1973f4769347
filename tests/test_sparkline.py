"""The sparkline: higher counts are higher bars, and what is not known is left open."""

from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.coverage import Grade
from tweetdock.core.times import MINUTE_MS
from tweetdock.show.board import Moment
from tweetdock.show.terminal.two_dials import BARS_ROWS, EIGHTHS, bars, by_minute

counts = st.lists(st.none() | st.integers(0, 10**10), max_size=80)


def heights(rows: list[str]) -> list[int]:
    """How high each column's bar is, in eighths of a row."""
    return [sum(EIGHTHS.find(sign) + 1 for sign in column) for column in zip(*rows, strict=True)]


@given(counts)
def test_a_higher_count_is_never_a_lower_bar(counts: list[int | None]) -> None:
    drawn = bars(counts)
    assert [len(row) for row in drawn] == [len(counts)] * BARS_ROWS
    found = [
        (count, height)
        for count, height in zip(counts, heights(drawn), strict=True)
        if count is not None
    ]
    assert [height for _, height in sorted(found)] == sorted(height for _, height in found)
    most = max((count for count, _ in found), default=0)
    for count, height in found:
        assert 1 <= height <= 8 * BARS_ROWS
        assert not most or abs(height - 8 * BARS_ROWS * count / most) <= 1


@given(counts)
def test_only_what_is_unknown_is_left_open(counts: list[int | None]) -> None:
    assert [sign == " " for sign in bars(counts)[-1]] == [count is None for count in counts]


@given(counts)
def test_a_bar_stands_on_the_ground(counts: list[int | None]) -> None:
    for column in zip(*bars(counts), strict=True):
        drawn = "".join(column).lstrip(" ")
        assert set(drawn[1:]) <= {"█"}


@given(st.lists(st.integers(0, 5_000_000)).map(sorted), st.integers(0, 5_000_000))
def test_each_minute_has_the_last_moment_in_it(times: list[int], now: int) -> None:
    past = [Moment(at, at, at, Grade.EXACT) for at in times]
    found = by_minute(past, now, 20)
    assert len(found) == 20
    for place, moment in enumerate(found):
        minute = now // MINUTE_MS - 19 + place
        within = [one for one in past if one.at_ms // MINUTE_MS == minute]
        assert moment == (within[-1] if within else None)
