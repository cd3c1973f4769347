"""When X's stream is connected to again: X's own rules, and never more often than it allows."""

import random

from hypothesis import given
from hypothesis import strategies as st

from tweetdock.sources.x.stream import CONNECTS_MS, MOST_CONNECTS, Reconnects

NOW_MS = 1_790_000_000_000


def waits_after_breaks(number: int) -> list[float]:
    reconnects = Reconnects()
    return [reconnects.broke(NOW_MS) for _ in range(number)]


def test_the_first_retry_is_at_once_and_the_next_ones_a_quarter_of_a_second_later_each() -> None:
    waits = waits_after_breaks(70)
    assert waits[:5] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert waits[64:] == [16.0] * 6


def test_a_refusal_doubles_the_wait_up_to_its_cap() -> None:
    reconnects = Reconnects()
    waits = [reconnects.refused(NOW_MS, 5.0, 320.0) for _ in range(9)]
    assert waits == [5, 10, 20, 40, 80, 160, 320, 320, 320]
    assert reconnects.refused(NOW_MS, 60.0, 960.0) == 60


def test_a_row_starts_over_only_after_a_connection_that_lasted() -> None:
    reconnects = Reconnects()
    for _ in range(5):
        reconnects.opened(NOW_MS)
        last = reconnects.broke(NOW_MS + 19_999)
    assert last == 1.0
    reconnects.refused(NOW_MS, 5.0, 320.0)
    assert reconnects.refused(NOW_MS, 5.0, 320.0) == 10.0
    reconnects.opened(NOW_MS)
    assert reconnects.broke(NOW_MS + 20_000) == 0.0
    assert reconnects.refused(NOW_MS, 5.0, 320.0) == 5.0


def test_failures_that_take_turns_do_not_start_each_other_over() -> None:
    reconnects = Reconnects()
    waits = [(reconnects.broke(NOW_MS), reconnects.refused(NOW_MS, 5, 320)) for _ in range(3)]
    assert waits == [(0.0, 5.0), (0.25, 10.0), (0.5, 20.0)]


def test_a_connect_that_never_reached_x_does_not_count() -> None:
    reconnects = Reconnects()
    for _ in range(MOST_CONNECTS * 3):
        reconnects.connecting(NOW_MS)
        reconnects.not_reached()
    assert reconnects.wait_seconds(NOW_MS) == 0.0


def test_connects_are_known_over_a_restart() -> None:
    before = Reconnects()
    for number in range(MOST_CONNECTS):
        before.connecting(NOW_MS + number)
    after = Reconnects(before.connects_ms)
    assert after.wait_seconds(NOW_MS + 60_000) == CONNECTS_MS / 1000 - 60
    assert after.wait_seconds(NOW_MS + CONNECTS_MS) == 0.0


def test_times_to_come_hold_nobody_up_for_longer_than_a_window() -> None:
    """They are from before the clock was corrected."""
    reconnects = Reconnects([NOW_MS + 86_400_000] * MOST_CONNECTS)
    assert reconnects.wait_seconds(NOW_MS) == CONNECTS_MS / 1000
    assert reconnects.wait_seconds(NOW_MS + CONNECTS_MS) == 0.0


@given(seed=st.integers(0, 2**32))
def test_whatever_happens_no_fifteen_minutes_see_more_connects_than_allowed(seed: int) -> None:
    dice = random.Random(seed)
    reconnects, now_ms = Reconnects(), NOW_MS
    connects: list[int] = []
    for _ in range(400):
        if dice.random() < 0.05:
            reconnects = Reconnects(reconnects.connects_ms)
        wait = reconnects.wait_seconds(now_ms)
        if wait == 0.0:
            reconnects.connecting(now_ms)
            connects.append(now_ms)
            if dice.random() < 0.8:
                reconnects.opened(now_ms)
                now_ms += dice.choice([0, 100, 25_000])
                wait = reconnects.broke(now_ms)
            else:
                wait = reconnects.refused(now_ms, 5.0, 320.0) if dice.random() < 0.1 else 0.0
        now_ms += round(wait * 1000)
        within = [at_ms for at_ms in connects if at_ms > now_ms - CONNECTS_MS]
        assert len(within) <= MOST_CONNECTS
