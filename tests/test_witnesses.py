"""Whose word for the time is taken, when servers and the machine do not agree."""

from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.clock import TRUSTED_MS, TimeVote

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
    st.integers(-HOUR_MS, HOUR_MS),
)
def test_what_most_agree_on_is_taken(machine: int, said: dict[str, int], lone: int) -> None:
    found = agreed(machine, **said)
    words = [machine, *said.values()]
    support = sum(abs(found - word) <= TRUSTED_MS for word in words)
    assert found in words
    for word in [*words, lone]:
        if word in words:
            assert support >= sum(abs(word - other) <= TRUSTED_MS for other in words)
