"""Plays a scenario: the gauge's own loop on a virtual machine, from one start to the next."""

from __future__ import annotations

import random
import shutil
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from zlib import crc32

import requests.sessions

import tweetdock.sources.bluesky.source
import tweetdock.sources.http
import tweetdock.sources.mastodon.timeline
import tweetdock.sources.x.search
import tweetdock.sources.x.stream
from simulated.fediverse import Fediverse, Instance, feed_of
from simulated.jetstream import FEED as BLUESKY_FEED
from simulated.jetstream import Host, Sky, Socket
from simulated.machine import Machine
from simulated.network import KINDS, Kind, Network, Trouble
from simulated.truth import FalseExact, Oracle, Truth
from simulated.x import FEED as X_FEED
from simulated.x import X
from tweetdock.core.clock import Clock
from tweetdock.core.fingerprints import fingerprint
from tweetdock.counting import Counting
from tweetdock.settings.gauge import Settings
from tweetdock.settings.networks import host_of
from tweetdock.show.board import Board, Health, Past

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from standins.mastodon_index import Ids

    from tweetdock.core.reading import Reading

START = 1_790_000_000.0
TOKEN = "a-bearer-token"
# As docs/networks.md has it; Mastodon's half an hour is half of a window that is shorter.
CERTAIN_AGO = {"x": 185, "x-stream": 240, "bluesky": 15, "mastodon": 450 + 240}
END_MS = 65_000  # with the moment after the end


@dataclass(frozen=True, slots=True)
class Run:
    """The gauge from a start to its end. Times in seconds.

    lasts: for how long it runs. env: its settings beside those of the scenario. killed: it ends by
    a kill. off: for how long it is off after that. before: what is done before the start.
    """

    lasts: float
    env: Mapping[str, str] = field(default_factory=dict)
    killed: bool = False
    off: float = 5.0
    before: Callable[[Simulation], object] | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens, to whom, and whether readings should mostly be exact.

    world: each makes something of what there is, or says what will happen when. asleep: for how
    long the machine sleeps or has no power in all. ends_exact: whether a reading of the last minute
    is to be exact: not where it storms to the end. certain_ago: so many seconds ago at most what an
    undisturbed exact reading is certain of has ended, by source.
    settle: seconds after a start from which on undisturbed readings are to be exact.
    """

    name: str
    world: tuple[Callable[[Simulation], object], ...]
    sources: str = "x"
    runs: tuple[Run, ...] = (Run(1200),)
    env: Mapping[str, str] = field(default_factory=dict)
    asleep: float = 0.0
    undisturbed: bool = False
    ends_exact: bool = True
    certain_ago: Mapping[str, float] = field(default_factory=lambda: CERTAIN_AGO)
    settle: float = 180.0
    seeds: int = 4


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a scenario with a seed."""

    scenario: str
    seed: int
    readings: int
    exact: int
    settled_share: float
    ends_exact: bool
    certain_ago: Mapping[str, float]
    falses: tuple[FalseExact, ...]
    details: Mapping[str, int]
    cpu_seconds: float
    fingerprint: int

    def __str__(self) -> str:
        return (
            f"{self.scenario}, seed {self.seed}: {self.readings} readings, {self.exact} exact, "
            f"{len(self.falses)} false exact, {self.settled_share:.0%} exact once settled, "
            f"{self.cpu_seconds:.1f} s"
        )


class Simulation:
    """One scenario by one seed."""

    def __init__(self, scenario: Scenario, seed: int, folder: Path) -> None:
        self.scenario, self._seed = scenario, seed
        self.dice = random.Random(f"{scenario.name} {seed}")
        random.seed(f"{scenario.name} {seed}")
        self.machine = Machine(START + self.dice.uniform(0, 86_400))
        self.begun = self.machine.true
        self.network = Network(self.machine, self.dice)
        self.truth = Truth(self.machine.true_ms)
        self.folder = folder / "state"
        self._folders = folder
        self.total = sum(run.lasts + run.off for run in scenario.runs) + scenario.asleep
        self._oracle = Oracle(self.truth, self.machine.true_ms, scenario.settle)
        self._stack = ExitStack()
        self._x: X | None = None
        self._sky: Sky | None = None
        self.hosts: dict[str, Host] = {}  # Jetstreams
        self.fediverse = Fediverse(self.machine, self.truth, self.dice)
        self._stack.callback(self.fediverse.close)
        self._plans: list[tuple[float, Callable[[], object]]] = []
        self._print = 0
        self._tokens = ""

    # For a scenario's world.

    @property
    def x(self) -> X:
        """X."""
        if self._x is None:
            self._x = X(self.machine, self.truth, self.dice)
            self._stack.callback(self._x.close)
            self.network.add(self._x)
        return self._x

    @property
    def sky(self) -> Sky:
        """Bluesky, with a first Jetstream."""
        if self._sky is None:
            self._sky = Sky(self.machine, self.truth, self.dice)
            self.add_host()
        return self._sky

    def add_host(self) -> Host:
        """One more Jetstream."""
        host = Host(f"jetstream{len(self.hosts) + 1}", self.sky)
        self.hosts[host.host] = host
        self.network.add_way(host.host)
        return host

    def add_instance(self, ids: Ids = "snowflakes") -> Instance:
        """One more Mastodon server."""
        instance = self.fediverse.add(ids)
        self.network.add(instance)
        return instance

    def has_tokens(self) -> None:
        """Let the gauge have tokens for all Mastodon servers."""
        pairs = (f"{i.host}={i.server.token}" for i in self.fediverse.instances)
        self._tokens = " ".join(pairs)

    def at(self, second: float, work: Callable[[], object]) -> None:
        """Let something happen so many seconds after the beginning."""
        self._plans.append((self.begun + second, work))

    def _plan(self, at: float, work: Callable[[], object]) -> None:
        plan = at, work

        def do() -> None:
            self._plans.remove(plan)
            work()

        self._plans.append(plan)
        if at > self.machine.true:
            self.machine.at(at - self.machine.true, do)
        else:
            do()

    def host(self, network: str) -> str:
        """Where `x`, `jetstream1`, or `mastodon1` is."""
        if network == "x":
            return self.x.host
        if network.startswith("jetstream"):
            return f"{network}.example"
        return self.fediverse.instances[int(network.removeprefix("mastodon")) - 1].host

    def fails(self, host: str, since: float, seconds: float, kind: Kind) -> None:
        """Let the way to a server fail for a while."""
        since += self.begun
        self.network.ways[host].troubles.append(Trouble(since, since + seconds, kind))

    def storm(self, host: str, since: float, until: float) -> None:
        """Let the way to a server fail again and again."""
        at = since
        while at < until:
            at += self.dice.expovariate(1 / 90)
            seconds = self.dice.choice([3, 15, 40, 120])
            self.fails(host, at, seconds, self.dice.choice(KINDS))
            at += seconds

    # The play.

    def play(self) -> Report:
        """Play it to its end."""
        cpu = time.process_time()
        with self._stack, _virtual(self.machine, self.network, self.hosts):
            for part in self.scenario.world:
                part(self)
            for number, run in enumerate(self.scenario.runs):
                self._run(run, number)
        oracle = self._oracle
        return Report(
            self.scenario.name,
            self._seed,
            oracle.readings,
            oracle.exact,
            oracle.settled_exact / max(1, oracle.settled),
            self.machine.true_ms - oracle.last_exact_ms <= END_MS,
            oracle.certain_ago,
            tuple(oracle.falses),
            oracle.details,
            time.process_time() - cpu,
            self._print,
        )

    def _run(self, run: Run, number: int) -> None:
        if run.before:
            run.before(self)
        machine = self.machine
        plans, self._plans = self._plans, []
        for at, work in sorted(plans, key=itemgetter(0)):
            self._plan(at, work)
        settings = self._settings(run)
        feeds = self._feeds(settings)
        end = machine.awake + run.lasts
        self._oracle.starts(machine.true_ms)
        counting = self._counting(settings)
        killed: Path | None = None
        try:
            while True:
                for reading in counting.readings():
                    self._take(reading, feeds, counting)
                    if machine.awake >= end:
                        break
                if not counting.has_stepped or machine.awake >= end:
                    break
                counting = counting.reopened()
            if run.killed:
                killed = self._folders / f"state-{number}"
                shutil.copytree(self.folder, killed)
                machine.kill()
            counting.close()
        finally:
            machine.kill()
        if killed:
            shutil.rmtree(self.folder)
            killed.rename(self.folder)
        machine.awake += run.off

    def _take(self, reading: Reading, feeds: dict[str, list[str]], counting: Counting) -> None:
        gauge = counting._gauge

        def counts(source: str, key: str) -> bool:
            window = gauge._windows[source] if source else gauge._whole
            return window.counts(fingerprint(key, window._salted))

        self._oracle.check(reading, self.machine.true_ms, feeds, counts)
        said = (reading.posts, reading.authors, str(reading.grade), self.machine.true_ms)
        self._print = crc32(repr(said).encode(), self._print)

    def _settings(self, run: Run) -> Settings:
        env = {
            "TWEETDOCK_HASHTAGS": "dockercon",
            "TWEETDOCK_SOURCES": self.scenario.sources,
            "TWEETDOCK_WINDOW_SECONDS": "900",
            "TWEETDOCK_STATE_DIR": str(self.folder),
            "X_BEARER_TOKEN": TOKEN,
            **({"X_API_URL": self._x.api.url} if self._x else {}),
            "TWEETDOCK_JETSTREAM": " ".join(host.url for host in self.hosts.values()),
            "TWEETDOCK_MASTODON_TOKENS": self._tokens,
            "TWEETDOCK_MASTODON": " ".join(i.server.url for i in self.fediverse.instances),
        }
        env = {name: value for name, value in env.items() if value}
        return Settings.from_env({**env, **self.scenario.env, **run.env})

    def _feeds(self, settings: Settings) -> dict[str, list[str]]:
        """Which feeds of the truth each source asks."""
        feeds: dict[str, list[str]] = {}
        for source in settings.sources:
            if source in ("x", "x-stream"):
                feeds[source] = [X_FEED]
            elif source == "bluesky":
                feeds[source] = [BLUESKY_FEED]
            else:
                feeds[source] = [feed_of(host_of(url)) for url in settings.networks.mastodon]
        return feeds

    def _counting(self, settings: Settings) -> Counting:
        machine = self.machine
        health = Health(dict, dict, str, lambda: None)
        return Counting(
            settings,
            Clock(machine.wall, machine.boottime, 1.0, lambda: machine.is_synchronised),
            Board(Past(), health, machine.monotonic),
            angles=tuple,
            stopping=machine.threading.Event(),
            reopening=machine.threading.Event(),
        )


@contextmanager
def _virtual(machine: Machine, network: Network, hosts: dict[str, Host]) -> Iterator[None]:
    """Let all of TweetDock run on a machine, and reach these servers alone."""
    with ExitStack() as stack:

        def replace(owner: Any, name: str, by: Any) -> None:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, by)

        instead = {time: machine.time, threading: machine.threading, SimpleQueue: machine.queue}
        for name, module in sorted(sys.modules.items()):
            if name.startswith("tweetdock."):
                for each, known in list(vars(module).items()):
                    found = _instead_of(known, instead)
                    if found is not None:
                        replace(module, each, found)
        counting, factory = sys.modules["tweetdock.counting"], sys.modules["tweetdock.factory"]
        delivery = counting._Delivery

        def deliver(message: Any, arrived: float) -> Any:
            return delivery(message, arrived, machine.threading.Event())

        replace(counting, "_Delivery", deliver)
        replace(counting, "Poller", partial(counting.Poller, monotonic=machine.monotonic))
        replace(factory, "Keeper", partial(factory.Keeper, monotonic=machine.monotonic))
        replace(factory, "Archive", partial(factory.Archive, monotonic=machine.monotonic))
        source = sys.modules["tweetdock.sources.bluesky.source"]
        replace(source, "WebSocket", partial(Socket, network, hosts))
        # To look through the environment takes longer than all else that a request takes here.
        replace(requests.sessions, "get_environ_proxies", lambda *_, **__: {})
        replace(tweetdock.sources.http, "CuttableAdapter", network.adapter)
        yield


def _instead_of(known: Any, instead: Mapping[Any, Any]) -> Any:
    return next((new for old, new in instead.items() if known is old), None)


def play(scenario: Scenario, seed: int, folder: Path) -> Report:
    """Play a scenario by a seed, with its state in a folder of its own."""
    return Simulation(scenario, seed, folder).play()
