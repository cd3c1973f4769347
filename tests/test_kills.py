"""The short form of `kills.py`: whatever moment a kill hits, nothing is lost or counted twice."""

from pathlib import Path

import pytest
from kills import Plan, carry_out


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_moment_it_is_killed_at_nothing_is_lost_or_doubled(
    tmp_path: Path, seed: int
) -> None:
    # None late: X is asked for those once a minute, and the test has less time.
    plan = Plan(kills=8, seed=seed, folder=tmp_path, longest_life=1.5, once_every=3, has_late=False)
    tally = carry_out(plan)
    assert tally.wrong == []
    assert (tally.lost, tally.doubled, tally.reread) == (0, 0, 0)
    assert tally.archived > plan.preloaded
    assert set(tally.grades) == {"exact"}
