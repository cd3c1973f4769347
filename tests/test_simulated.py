"""The real loop in virtual time against model networks: what it calls exact is the truth.

Each scenario is played by some seeds; what there really is, the oracle knows by brute force.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from profiles import is_thorough
from simulated.play import Scenario, play
from simulated.scenarios import SCENARIOS, USUAL

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def _chosen() -> Iterator[tuple[Scenario, int]]:
    """All by some seeds each, or a few."""
    if not is_thorough():
        yield from ((BY_NAME[name], 1) for name in USUAL)
        return
    for scenario in SCENARIOS:
        yield from ((scenario, seed) for seed in range(1, scenario.seeds + 1))


@pytest.mark.parametrize(
    ("scenario", "seed"), [pytest.param(s, seed, id=f"{s.name} {seed}") for s, seed in _chosen()]
)
def test_what_is_said_to_be_exact_is_true(scenario: Scenario, seed: int, tmp_path: Path) -> None:
    report = play(scenario, seed, tmp_path)
    assert not report.falses, f"{report}: {report.falses[0]}"
    assert report.ends_exact or not scenario.ends_exact, f"{report}: {report.details}"
    if scenario.undisturbed:
        assert report.settled_share >= 0.9, f"{report}: {report.details}"
        for source, seconds in report.certain_ago.items():
            assert seconds <= scenario.certain_ago[source], f"{report}: {source}"


def test_the_same_seed_is_the_same_run(tmp_path: Path) -> None:
    first, second, other = (
        play(BY_NAME["x storms and the gauge is killed"], seed, tmp_path / str(number))
        for number, seed in enumerate((3, 3, 4))
    )
    assert first.fingerprint == second.fingerprint != other.fingerprint


def test_the_scenarios_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(SCENARIOS)
