"""X's stream is never connected to more often than X allows."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.errors import SourceError
from tweetdock.sources.x.stream import CONNECTS_MS, MOST_CONNECTS, Connects

NOW_MS = 1_790_000_000_000


def refused(connects: Connects, now_ms: int) -> float:
    """How many seconds one more is to wait."""
    with pytest.raises(SourceError, match="as often as X allows") as caught:
        connects.add(now_ms)
    assert caught.value.retry_after is not None
    return caught.value.retry_after


def test_a_connect_that_never_reached_x_does_not_count() -> None:
    connects = Connects()
    for _ in range(MOST_CONNECTS * 3):
        connects.add(NOW_MS)
        connects.drop_last()


def test_connects_are_known_over_a_restart() -> None:
    before = Connects()
    for number in range(MOST_CONNECTS):
        before.add(NOW_MS + number)
    after = Connects(before.made_ms)
    assert refused(after, NOW_MS + 60_000) == CONNECTS_MS / 1000 - 60
    after.add(NOW_MS + CONNECTS_MS)


def test_times_to_come_hold_nobody_up_for_longer_than_a_window() -> None:
    """They are from before the clock was corrected."""
    connects = Connects([NOW_MS + 86_400_000] * (MOST_CONNECTS + 5))
    assert refused(connects, NOW_MS) == CONNECTS_MS / 1000
    connects.add(NOW_MS + CONNECTS_MS)


@given(seed=st.integers(0, 2**32))
def test_whatever_happens_no_fifteen_minutes_see_more_connects_than_allowed(seed: int) -> None:
    dice = random.Random(seed)
    connects, now_ms = Connects(), NOW_MS
    made: list[int] = []
    for _ in range(400):
        if dice.random() < 0.05:
            connects = Connects(connects.made_ms)
        try:
            connects.add(now_ms)
        except SourceError as error:
            now_ms += round((error.retry_after or 1.0) * 1000)
        else:
            made.append(now_ms)
            now_ms += dice.choice([0, 100, 25_000])
        assert len([at_ms for at_ms in made if at_ms > now_ms - CONNECTS_MS]) <= MOST_CONNECTS
