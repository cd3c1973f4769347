"""The clock: the machine's own until a server disagrees, then steady; and which server is right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.clock import TRUSTED_MS, Clock, TimeVote

NOW_MS = 1_790_000_000_123


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


def test_a_server_that_agrees_moves_nothing_but_fixes_the_time(machine: Machine) -> None:
    before = machine.clock.now_ms()
    assert not machine.clock.correct(NOW_MS + TRUSTED_MS)
    assert machine.clock.now_ms() == before
    machine.set_clock(-86_400)
    machine.wait(1)
    assert machine.clock.now_ms() == before + 1000


def test_a_server_that_disagrees_is_believed(machine: Machine) -> None:
    months_ms = 10_000_000_000
    assert machine.clock.correct(NOW_MS + months_ms)
    assert machine.clock.now_ms() == NOW_MS + months_ms
    machine.wait(2.5)
    assert machine.clock.now_ms() == NOW_MS + months_ms + 2500


def test_when_the_time_server_comes_late_the_window_does_not_move(machine: Machine) -> None:
    machine.set_clock(-10_000_000)
    late = Clock(lambda: machine.wall, lambda: machine.monotonic)
    assert late.correct(NOW_MS)
    machine.set_clock(10_000_000)
    assert late.now_ms() == NOW_MS
    assert not late.correct(NOW_MS)


@given(st.floats(0, 30), st.floats(0, 1))
def test_a_slow_answer_is_not_taken_for_a_wrong_clock(lasted: float, spoken: float) -> None:
    machine = Machine()
    asked_ms = machine.clock.now_ms()
    machine.wait(lasted)
    before = machine.clock.now_ms()
    assert not machine.clock.correct(asked_ms + round(spoken * (before - asked_ms)), asked_ms)
    assert machine.clock.now_ms() == before


def test_a_slow_answer_of_another_time_is_taken_from_its_middle(machine: Machine) -> None:
    asked_ms = machine.clock.now_ms()
    machine.wait(20)
    assert machine.clock.correct(NOW_MS + 3_600_000, asked_ms)
    assert machine.clock.now_ms() == NOW_MS + 3_610_000


@given(st.integers(-10 * TRUSTED_MS, 10 * TRUSTED_MS))
def test_only_a_difference_that_proves_something_moves_the_clock(off_ms: int) -> None:
    machine = Machine()
    machine.clock.correct(NOW_MS)
    ours = machine.clock.now_ms()
    moved = machine.clock.correct(ours + off_ms)
    assert moved is (abs(off_ms) > TRUSTED_MS)
    assert machine.clock.now_ms() == (ours + off_ms if moved else ours)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(-TRUSTED_MS, TRUSTED_MS)), max_size=30))
def test_while_servers_about_agree_time_never_runs_back(
    answers: list[tuple[float, int]],
) -> None:
    machine = Machine()
    last = machine.clock.now_ms()
    for pause, off_ms in answers:
        machine.wait(pause)
        now = machine.clock.now_ms()
        assert now >= last
        machine.clock.correct(now + off_ms)
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


def test_a_fast_clock_that_is_corrected_runs_on_as_fast_from_there() -> None:
    machine = Machine(60)
    machine.wait(10)
    assert machine.clock.now_ms() == NOW_MS + 600_000
    assert not machine.clock.correct(NOW_MS + 600_000 - TRUSTED_MS)
    assert machine.clock.correct(NOW_MS)
    machine.wait(2)
    assert machine.clock.now_ms() == NOW_MS + 120_000


def test_a_fast_clock_takes_a_slow_answer_from_the_middle_of_its_own_time() -> None:
    machine = Machine(60)
    asked_ms = machine.clock.now_ms()
    machine.wait(20)
    assert not machine.clock.correct(asked_ms + 1_000_000, asked_ms)
    assert machine.clock.correct(asked_ms + 9_000_000, asked_ms)
    assert machine.clock.now_ms() == asked_ms + 9_600_000


def test_a_question_from_before_a_correction_does_not_correct_once_more(machine: Machine) -> None:
    """Two threads asked with the clock an hour ahead: the second answer took half of it back."""
    hour_ms = 3_600_000
    asked_ms = machine.clock.now_ms()
    machine.wait(0.1)
    assert machine.clock.correct(NOW_MS - hour_ms + 100, asked_ms)
    machine.wait(0.1)
    machine.clock.correct(NOW_MS - hour_ms + 200, asked_ms)
    assert abs(machine.clock.now_ms() - (NOW_MS - hour_ms + 200)) <= TRUSTED_MS


# --- which of several servers is believed ------------------------------------------------------

NAMES = ["x", "bluesky", "mastodon a", "mastodon b"]
HOUR_MS = 3_600_000


def agreed(machine_ms: int, **said: int) -> int:
    vote = TimeVote(NAMES)
    for name, ahead_ms in said.items():
        vote.cast(name, ahead_ms)
    return vote.winner(machine_ms)


def test_without_servers_the_machine_is_believed() -> None:
    assert agreed(5) == 5


def test_one_server_goes_before_the_machine() -> None:
    assert agreed(0, x=HOUR_MS) == HOUR_MS


def test_a_server_that_is_off_does_not_move_a_machine_that_another_agrees_with() -> None:
    """The first Mastodon server of the settings was ten minutes ahead, and the gauge with it."""
    vote = TimeVote(["mastodon a", "mastodon b"])
    vote.cast("mastodon a", 600_000)
    assert vote.winner(0) == 600_000
    vote.cast("mastodon b", 300)
    assert abs(vote.winner(0)) <= 300
    vote.cast("mastodon a", 600_020)
    assert abs(vote.winner(0)) <= 300


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
    votes = [machine, *said.values()]
    support = sum(abs(found - vote) <= TRUSTED_MS for vote in votes)
    assert found in votes
    for vote in votes:
        assert support >= sum(abs(vote - other) <= TRUSTED_MS for other in votes)
