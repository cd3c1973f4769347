"""What is played: all scenarios."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from simulated.play import Run, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulated.network import Kind
    from simulated.play import Simulation

    Part = Callable[[Simulation], object]


# What a world is made of. Times in seconds from its beginning.


def x_posts(per_minute: float = 6, since: float = -3600, until: float | None = None) -> Part:
    """X has posts."""

    def part(sim: Simulation) -> None:
        end = sim.total if until is None else until
        sim.x.busy(sim.begun + since, sim.begun + end, per_minute)

    return part


def x_index(least: float, most: float) -> Part:
    """X's index is late, each time by another while."""

    def part(sim: Simulation) -> None:
        sim.x.index = lambda _: sim.dice.uniform(least, most)

    return part


def x_index_stands(since: float, seconds: float) -> Part:
    """X's index stands still, and then has all at once."""

    def part(sim: Simulation) -> None:
        usual, begin = sim.x.index, sim.begun + since

        def late(at: float) -> float | None:
            lag = usual(at)
            shows = at + (lag or 0.0)
            return lag if not begin <= shows < begin + seconds else begin + seconds - at

        sim.x.index = late

    return part


def x_stream(least: float, most: float, *, lost: float = 0.0) -> Part:
    """X's stream is late, and does not bring a share of all posts."""

    def part(sim: Simulation) -> None:
        sim.x.stream = lambda _: None if sim.dice.random() < lost else sim.dice.uniform(least, most)

    return part


def fails(network: str, since: float, seconds: float, kind: Kind) -> Part:
    """The way to a network fails for a while."""
    return lambda sim: sim.fails(sim.host(network), since, seconds, kind)


def storm(network: str, since: float = 0.0, until: float | None = None) -> Part:
    """The way to a network fails again and again."""
    return lambda sim: sim.storm(sim.host(network), since, sim.total if until is None else until)


def slow(network: str, least: float, most: float) -> Part:
    """The way to a network is slow."""

    def part(sim: Simulation) -> None:
        way = sim.network.ways[sim.host(network)]
        way.least_seconds, way.most_seconds = least, most

    return part


def dates(network: str, off: float | None) -> Part:
    """A network's dates are so far ahead; None: there are none."""

    def part(sim: Simulation) -> None:
        sim.network.ways[sim.host(network)].date_off = off

    return part


def clock(off: float, *, is_synchronised: bool = False) -> Part:
    """The machine's clock is so far ahead."""

    def part(sim: Simulation) -> None:
        sim.machine.wall_off = off
        sim.machine.is_synchronised = is_synchronised

    return part


def step(at: float, off: float, *, is_synchronised: bool = True) -> Part:
    """The machine's clock is set, and is then so far ahead."""
    change = clock(off, is_synchronised=is_synchronised)
    return lambda sim: sim.at(at, partial(change, sim))


def suspend(at: float, seconds: float) -> Part:
    """The machine sleeps."""
    return lambda sim: sim.at(at, partial(sim.machine.suspend, seconds))


def power_cut(seconds: float, *, clock_off: float = 0.0) -> Part:
    """The machine had no power for so long, and its clock begins where that leaves it."""
    return lambda sim: sim.machine.reboot(seconds, wall_off=clock_off)


THRICE = (
    Run(400, killed=True),
    Run(300, killed=True, off=120),
    Run(500),
)

X = [
    Scenario("x is well", (x_posts(),), undisturbed=True),
    Scenario("x is well, and all is new", (x_posts(since=0),), undisturbed=True),
    Scenario("x has no posts", (x_posts(per_minute=0.01),), undisturbed=True),
    Scenario("x has a hundred posts a minute", (x_posts(per_minute=100),), seeds=2),
    Scenario("x is well and the gauge is killed", (x_posts(),), runs=THRICE, undisturbed=True),
    Scenario(
        "x is well and the gauge is stopped now and then",
        (x_posts(),),
        runs=(Run(200), Run(300, off=400), Run(30), Run(600)),
        undisturbed=True,
    ),
    Scenario("x is down for three minutes", (x_posts(), fails("x", 400, 180, "refused"))),
    Scenario("x hangs for three minutes", (x_posts(), fails("x", 400, 180, "hangs"))),
    Scenario("x breaks its answers off", (x_posts(), fails("x", 400, 180, "broken"))),
    Scenario("x is out of order at the start", (x_posts(), fails("x", 0, 180, "500"))),
    Scenario("x refuses for a while", (x_posts(), fails("x", 400, 100, "429"))),
    Scenario("x storms", (x_posts(), storm("x"))),
    Scenario("x storms and the gauge is killed", (x_posts(), storm("x")), runs=THRICE),
    Scenario("x is slow", (x_posts(), slow("x", 2, 8)), undisturbed=True),
    Scenario("x gives no dates", (x_posts(), dates("x", None))),
]

SCENARIOS = [*X]

# Those that are played each time.
USUAL = (
    "x is well",
    "x is well and the gauge is killed",
    "x storms",
)
