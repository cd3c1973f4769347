"""The clock: steady, set by what most agree on, and never back by little; and who is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.clock import (
    MOST_STEPS,
    OTHERS_MS,
    STEP_MS,
    TRUSTED_MS,
    WHILE_MS,
    Clock,
    TimeVote,
)
from tweetdock.core.post import Batch, Span

NOW_MS = 1_790_000_000_123
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS


class Machine:
    """A machine's two clocks."""

    def __init__(self, speed: float = 1.0) -> None:
        self.wall = NOW_MS / 1000
        self.monotonic = 5.0
        self.clock = Clock(lambda: self.wall, lambda: self.monotonic, speed=speed)

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def set_clock(self, seconds: float) -> None:
        """As a time server does, or a hand: only the wall clock moves."""
        self.wall += seconds


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_the_clock_begins_with_the_machines_and_goes_on_steadily(machine: Machine) -> None:
    assert machine.clock.now_ms() == NOW_MS
    machine.wait(10)
    machine.set_clock(3600)
    assert machine.clock.now_ms() == NOW_MS + 10_000


def test_a_time_that_is_known_to_have_passed_is_the_least(machine: Machine) -> None:
    machine.clock.not_before(NOW_MS - HOUR_MS)
    assert machine.clock.now_ms() == NOW_MS
    machine.clock.not_before(NOW_MS + HOUR_MS)
    machine.wait(1)
    assert machine.clock.now_ms() == NOW_MS + HOUR_MS + 1000


@given(st.integers(-10 * STEP_MS, 10 * STEP_MS))
def test_only_what_is_far_off_is_a_step(off_ms: int) -> None:
    machine = Machine()
    is_step = machine.clock.set(NOW_MS + off_ms)
    assert is_step is (abs(off_ms) > STEP_MS)
    assert machine.clock.now_ms() == NOW_MS + (off_ms if is_step else max(0, off_ms))
    machine.wait(100)
    assert machine.clock.now_ms() == NOW_MS + off_ms + 100_000


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(-STEP_MS, STEP_MS)), max_size=30))
def test_but_for_a_step_time_never_runs_back(settings: list[tuple[float, int]]) -> None:
    machine = Machine()
    last = machine.clock.now_ms()
    for pause, off_ms in settings:
        machine.wait(pause)
        now = machine.clock.now_ms()
        assert now >= last
        assert not machine.clock.set(now + off_ms)
        last = machine.clock.now_ms()
        assert last >= now


@given(st.floats(0.1, 3600), st.lists(st.floats(0, 100), max_size=20))
def test_a_fast_clock_begins_with_the_machines_and_runs_away_from_it(
    speed: float, waits: list[float]
) -> None:
    machine = Machine(speed)
    assert machine.clock.now_ms() == NOW_MS
    last = NOW_MS
    for seconds in waits:
        machine.wait(seconds)
        assert machine.clock.now_ms() >= last
        last = machine.clock.now_ms()
    assert abs(last - NOW_MS - sum(waits) * 1000 * speed) < 2


# --- which of several servers is believed ------------------------------------------------------

NAMES = ["x", "bluesky", "mastodon a", "mastodon b"]


def agreed(machine_ms: int, **said: int) -> int | None:
    vote = TimeVote(NAMES)
    for name, server_ms in said.items():
        vote.cast(name, server_ms - OTHERS_MS, -OTHERS_MS)  # all have had their time to speak
    return vote.winner(machine_ms, 0)


def test_without_servers_nobody_has_confirmed_the_machines_time() -> None:
    assert agreed(NOW_MS) is None


def test_feeds_of_one_server_have_one_vote() -> None:
    """X's two ways agreed with each other, and both went by the same wrong clock."""
    vote = TimeVote(["x", "x-stream", "bluesky"])
    vote.cast("x", NOW_MS + 3 * YEAR_MS, 0)
    vote.cast("x-stream", NOW_MS + 3 * YEAR_MS + 10, 10)
    assert vote.winner(NOW_MS, 0) is None
    vote.cast("bluesky", NOW_MS, 0)
    assert vote.winner(NOW_MS, 0) == NOW_MS
    assert vote.is_reliable("x-stream")
    vote = TimeVote(["x", "bluesky", "x-stream"])
    vote.cast("bluesky", NOW_MS, 0)
    vote.cast("x-stream", NOW_MS + 60_000, 0)
    assert vote.winner(NOW_MS - HOUR_MS, 0) == NOW_MS + 60_000  # as X is named first


def test_nobody_alone_moves_the_clock_by_more_than_a_day() -> None:
    """A Mastodon server 60 years ahead took the gauge along, which then said exact 0."""
    vote = TimeVote(NAMES)
    vote.cast("mastodon a", NOW_MS + 60 * YEAR_MS, 0)
    assert vote.winner(NOW_MS, 0) is None
    vote.cast("x", NOW_MS + 10, 0)
    assert vote.winner(NOW_MS, 0) == NOW_MS + 10


def test_a_machine_that_never_was_set_believes_the_first_to_say_the_time() -> None:
    assert agreed(5, x=NOW_MS) == NOW_MS


def test_two_that_agree_move_a_machine_by_months() -> None:
    assert agreed(NOW_MS, x=NOW_MS + YEAR_MS, bluesky=NOW_MS + YEAR_MS + 9) == NOW_MS + YEAR_MS


def test_one_server_goes_before_the_machine() -> None:
    assert agreed(0, x=HOUR_MS) == HOUR_MS


def test_what_was_said_goes_on_with_the_time() -> None:
    vote = TimeVote(NAMES)
    vote.cast("x", NOW_MS, 1_000)
    assert vote.winner(0, 61_000) == NOW_MS + 60_000


def test_a_server_that_is_off_does_not_move_a_machine_that_another_agrees_with() -> None:
    """The first Mastodon server of the settings was ten minutes ahead, and the gauge with it."""
    vote = TimeVote(["mastodon a", "mastodon b"])
    vote.cast("mastodon a", 600_000, 0)
    assert vote.winner(0, 0) is None
    assert vote.winner(OTHERS_MS, OTHERS_MS) == 600_000 + OTHERS_MS
    vote.cast("mastodon b", 300, 0)
    assert vote.winner(0, 0) in (0, 300)
    vote.cast("mastodon a", 600_020, 0)
    assert vote.winner(0, 0) in (0, 300)


def test_two_servers_move_a_machine_without_battery() -> None:
    assert agreed(-50 * HOUR_MS, bluesky=10, x=20) == 20


def test_among_those_who_all_disagree_the_first_is_believed() -> None:
    assert agreed(0, bluesky=HOUR_MS, x=2 * HOUR_MS) == 2 * HOUR_MS


@given(
    st.integers(-HOUR_MS, HOUR_MS),
    st.dictionaries(st.sampled_from(NAMES), st.integers(-HOUR_MS, HOUR_MS), max_size=4),
)
def test_what_most_agree_on_is_taken(machine: int, said: dict[str, int]) -> None:
    found = agreed(machine, **said)
    if not said:
        assert found is None
        return
    assert found is not None
    votes = [machine, *said.values()]
    support = sum(abs(found - vote) <= TRUSTED_MS for vote in votes)
    assert found in votes
    for vote in votes:
        assert support >= sum(abs(vote - other) <= TRUSTED_MS for other in votes)


def test_a_server_with_two_clocks_has_no_vote_until_it_has_agreed_with_itself_for_a_while() -> None:
    vote = TimeVote(NAMES)
    for number in range(MOST_STEPS + 1):
        vote.cast("x", number % 2 * HOUR_MS, number)
        assert vote.is_reliable("x")
    batch = Batch(source="x", covers=Span(0, HOUR_MS))
    assert "ahead by 60 min" in vote.doubted(batch, 5_000, 5_000).doubt
    vote.cast("x", HOUR_MS, MOST_STEPS)
    vote.cast("x", 0, MOST_STEPS + 1)
    assert not vote.is_reliable("x")
    assert "disagree" in vote.doubted(batch, 5_000, 5_000).doubt
    assert vote.winner(NOW_MS, 0) is None
    vote.cast("x", WHILE_MS + MOST_STEPS + 2, WHILE_MS + MOST_STEPS + 2)
    assert vote.is_reliable("x")
