"""The short form of `kills.py`: whatever moment a kill hits, nothing is lost or counted twice."""

from pathlib import Path

import pytest
from kills import Plan, Tally, carry_out


def assert_nothing_lost(tally: Tally) -> None:
    assert tally.wrong == []
    assert (tally.lost, tally.doubled, tally.reread) == (0, 0, 0)


def test_whatever_moment_it_is_killed_at_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    # None late: X is asked for those once a minute, and the test has less time.
    plan = Plan(
        kills=3,
        seed=1,
        folder=tmp_path,
        preloaded=1500,
        longest_life=1.5,
        once_every=2,
        has_late=False,
        # So seldom that only the pages themselves make a kill in the first fill cheap.
        save_seconds=(30,),
    )
    tally = carry_out(plan)
    assert_nothing_lost(tally)
    assert tally.archived > plan.preloaded
    assert set(tally.grades) == {"exact"}


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(10))
def test_five_hundred_kills_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    assert_nothing_lost(carry_out(Plan(kills=50, seed=1000 * seed, folder=tmp_path)))
