"""The sparkline: higher counts are higher bars, and what is not known is left open."""

from hypothesis import given
from hypothesis import strategies as st

from tweetdock.show.terminal.two_dials import EIGHTHS, bars, steps

counts = st.lists(st.none() | st.integers(0, 10**10), max_size=80)


def heights(rows: list[str]) -> list[int]:
    """How high each column's bar is, in eighths of a row."""
    return [sum(EIGHTHS.find(sign) + 1 for sign in column) for column in zip(*rows, strict=True)]


@given(counts, st.integers(1, 3))
def test_a_higher_count_is_never_a_lower_bar(counts: list[int | None], rows: int) -> None:
    drawn = bars(counts, rows)
    assert [len(row) for row in drawn] == [len(counts)] * rows
    found = [
        (count, height)
        for count, height in zip(counts, heights(drawn), strict=True)
        if count is not None
    ]
    assert [height for _, height in sorted(found)] == sorted(height for _, height in found)
    most = max((count for count, _ in found), default=0)
    for count, height in found:
        assert 1 <= height <= 8 * rows
        assert not most or abs(height - 8 * rows * count / most) <= 1


@given(counts, st.integers(1, 3))
def test_only_what_is_unknown_is_left_open(counts: list[int | None], rows: int) -> None:
    ground = bars(counts, rows)[-1]
    assert [sign == " " for sign in ground] == [count is None for count in counts]


@given(counts, st.integers(2, 3))
def test_a_bar_stands_on_the_ground(counts: list[int | None], rows: int) -> None:
    for column in zip(*bars(counts, rows), strict=True):
        drawn = "".join(column).lstrip(" ")
        assert set(drawn[1:]) <= {"█"}


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers())).map(sorted),
    st.integers(0, 5000),
    st.integers(1, 700),
    st.integers(1, 20),
)
def test_each_step_has_the_last_value_in_it(
    points: list[tuple[int, int]], now: int, step: int, count: int
) -> None:
    found = steps(points, now, step, count)
    assert len(found) == count
    for place, value in enumerate(found):
        begin = (now // step - count + 1 + place) * step
        within = [v for at, v in points if begin <= at < begin + step]
        assert value == (within[-1] if within else None)


def test_as_time_goes_by_steps_move_as_a_whole() -> None:
    points = [(at, at) for at in range(0, 600, 7)]
    before = steps(points, 590, 60, 8)
    assert steps(points, 599, 60, 8) == before
    assert steps(points, 600, 60, 8) == [*before[1:], None]
