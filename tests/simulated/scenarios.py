"""What is played: all scenarios."""

from __future__ import annotations

import math
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

from standins.jetstream_events import as_sent, make_like
from standins.x_faults import Changed, Fault
from standins.x_posts import milliseconds

from simulated.play import Run, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from standins.mastodon_index import Ids

    from simulated.fediverse import Toot
    from simulated.network import Kind
    from simulated.play import Simulation

    Part = Callable[[Simulation], object]


# What a world is made of. Times in seconds from its beginning.


def x_posts(
    per_minute: float = 6, since: float = -3600, until: float | None = None, *, untagged: float = 0
) -> Part:
    """X has posts, of which a share loses the tag by an edit."""

    def part(sim: Simulation) -> None:
        end = sim.total if until is None else until
        for post in sim.x.busy(sim.begun + since, sim.begun + end, per_minute):
            written = milliseconds(post["id"]) / 1000
            if sim.dice.random() < untagged and written > sim.begun:
                sim.x.untag(written + sim.dice.uniform(40, 600), post)

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


def bluesky(
    per_minute: float = 6, *, hum: float = 3.0, since: float = -1800, hosts: int = 1
) -> Part:
    """Bluesky has posts, and so many other events a second."""

    def part(sim: Simulation) -> None:
        begin, end = sim.begun + since, sim.begun + sim.total
        sim.sky.hum(begin, end, hum)
        sim.sky.busy(begin, end, per_minute)
        while len(sim.hosts) < hosts:
            sim.add_host()

    return part


def mastodon(
    per_minute: float = 4, *, servers: int = 2, since: float = -3600, ids: Ids = "snowflakes"
) -> Part:
    """Some Mastodon servers have posts."""

    def part(sim: Simulation) -> None:
        for _ in range(servers):
            sim.add_instance(ids)
        sim.fediverse.busy(sim.begun + since, sim.begun + sim.total, per_minute)

    return part


def federation(least: float, most: float, *, never: float = 0.0) -> Part:
    """Posts come late to other servers than their own, or never."""

    def part(sim: Simulation) -> None:
        def delay() -> float:
            return math.inf if sim.dice.random() < never else sim.dice.uniform(least, most)

        sim.fediverse.delay = delay

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


def x_spoils(share: float, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Part:
    """A share of X's answers is another one."""

    def part(sim: Simulation) -> None:
        def spoils(_: Mapping[str, str]) -> Fault | None:
            return Changed(change) if sim.dice.random() < share else None

        sim.x.spoils = spoils

    return part


def only_errors(_: dict[str, Any]) -> dict[str, Any]:
    """An answer with nothing but errors."""
    error = {"title": "Service Unavailable", "detail": "Timeout", "type": "about:blank"}
    return {"errors": [error]}


def pages_turn_back(share: float) -> Part:
    """A second page of X's is now and then the first one again, and said to be the last."""

    def part(sim: Simulation) -> None:
        def spoils(params: Mapping[str, str]) -> Fault | None:
            if "next_token" not in params or sim.dice.random() > share:
                return None
            newest = [one for one in sim.x.api.posts if one["_indexed_ms"] <= sim.machine.true_ms]

            def change(payload: dict[str, Any]) -> dict[str, Any]:
                shown = payload.get("data", [])
                names = shown[0].keys() if shown else ()
                data = [{n: v for n, v in one.items() if n in names} for one in newest[:-40:-1]]
                return {"data": data, "meta": {"result_count": len(data)}}

            return Changed(change)

        sim.x.spoils = spoils

    return part


def x_limit(requests: int) -> Part:
    """X allows so many searches in 15 minutes."""

    def part(sim: Simulation) -> None:
        sim.x.api.rate.limit = requests

    return part


def stream_cuts(every: float) -> Part:
    """X's stream ends again and again."""

    def part(sim: Simulation) -> None:
        def cut() -> None:
            if sim.x.body:
                sim.x.body.is_over = True

        for number in range(1, int(sim.total / every)):
            sim.at(number * every + sim.dice.uniform(-5, 5), cut)

    return part


def stream_falls_silent(at: float) -> Part:
    """X's stream says nothing more, without an end."""

    def part(sim: Simulation) -> None:
        def silence() -> None:
            if sim.x.body:
                sim.x.body.is_silent = True

        sim.at(at, silence)

    return part


def rules_go(at: float) -> Part:
    """Somebody deletes the stream's rules."""
    return lambda sim: sim.at(at, sim.x.api.rules.kept.clear)


def seams(most: float) -> Part:
    """Where a replay ends and goes on live, a Jetstream leaves events out."""

    def part(sim: Simulation) -> None:
        for host in sim.hosts.values():
            host.seam = most

    return part


def lacks(number: int, since: float, until: float) -> Part:
    """A Jetstream does not have what was in a stretch."""

    def part(sim: Simulation) -> None:
        host = list(sim.hosts.values())[number - 1]
        host.lacks.append((sim.begun + since, sim.begun + until))

    return part


def late_host(number: int, least: float, most: float) -> Part:
    """A Jetstream is late."""

    def part(sim: Simulation) -> None:
        host = list(sim.hosts.values())[number - 1]
        lag = sim.dice.uniform(least, most)
        host.lag = lambda _: lag

    return part


def of_2090(at: float, number: int = 8, *, every: float = 0.2) -> Part:
    """A Jetstream has events of another century."""

    def part(sim: Simulation) -> None:
        host = next(iter(sim.hosts.values()))
        moment_us = 3_786_912_000_000_000
        host.odd += [
            (sim.begun + at + n * every, as_sent(make_like(n), moment_us + n))
            for n in range(number)
        ]

    return part


def bluesky_changes(*, edits: int = 30, deletes: int = 20) -> Part:
    """Posts lose their tag and get it back, old ones get one, and some are deleted."""

    def part(sim: Simulation) -> None:
        sky, dice, end = sim.sky, sim.dice, sim.begun + sim.total
        for _ in range(edits):
            at = dice.uniform(sim.begun - 600, end - 200)
            skeet = sky.post(at)
            at += dice.uniform(5, 100)
            sky.edit(at, skeet, "other")
            if dice.random() < 0.7:
                sky.edit(at + dice.uniform(5, 90), skeet, "dockercon")
        for _ in range(edits // 3):
            skeet = sky.post(dice.uniform(sim.begun - 86_400, sim.begun), tag="other")
            sky.edit(dice.uniform(sim.begun, end), skeet, "dockercon")
        for _ in range(deletes):
            at = dice.uniform(sim.begun - 300, end - 100)
            sky.delete(at + dice.uniform(5, 300), sky.post(at))

    return part


def mastodon_changes(*, edits: int = 10, deletes: int = 10, moderated: int = 10) -> Part:
    """Posts lose their tag, are deleted, or are taken down by one of the servers."""

    def part(sim: Simulation) -> None:
        fediverse, dice = sim.fediverse, sim.dice

        def some(change: Callable[[Toot], object], number: int) -> None:
            for _ in range(number):
                at = dice.uniform(0, sim.total - 200)
                toot = fediverse.post(sim.begun + at)
                sim.at(at + dice.uniform(30, 400), partial(change, toot))

        some(fediverse.untag, edits)
        some(fediverse.delete, deletes)
        host = fediverse.instances[-1].host
        some(lambda toot: fediverse.delete(toot, host), moderated)

    return part


def second_tag(per_minute: float) -> Part:
    """Mastodon servers have posts with another tag, which is counted, too."""

    def part(sim: Simulation) -> None:
        fediverse = sim.fediverse
        fediverse.tags.add("kubecon")
        for _ in range(round(per_minute * (sim.total + 900) / 60)):
            fediverse.post(sim.begun + sim.dice.uniform(-900, sim.total), tags=("kubecon",))

    return part


def tokens() -> Part:
    """A user's tokens for all servers are set."""
    return lambda sim: sim.has_tokens()


def bridged(number: int = 40) -> Part:
    """Bridges carry posts from Bluesky to the fediverse, and back."""

    def part(sim: Simulation) -> None:
        for _ in range(number):
            at = sim.begun + sim.dice.uniform(-900, sim.total)
            later = at + sim.dice.uniform(1, 4)
            if sim.dice.random() < 0.5:
                skeet = sim.sky.post(at)
                did = f"did:plc:{skeet.author}"
                uri = f"https://bsky.brid.gy/convert/ap/at://{did}/app.bsky.feed.post/{skeet.rkey}"
                sim.fediverse.post(later, home=-1, uri=uri, key=skeet.key)
            else:
                toot = sim.fediverse.post(at, sim.dice.randrange(200), home=-1)
                note = toot.note
                sim.sky.post(later, original=note.uri, key=toot.key, writer=note.author)

    return part


def keep_state(sim: Simulation) -> None:
    """Copy the state away."""
    shutil.copytree(sim.folder, sim.folder.with_name("copy"))


def old_state(sim: Simulation) -> None:
    """Put the copy of the state back."""
    shutil.rmtree(sim.folder)
    shutil.copytree(sim.folder.with_name("copy"), sim.folder)


def no_state(sim: Simulation) -> None:
    """Lose the state."""
    shutil.rmtree(sim.folder)


def damaged(*suffixes: str, share: float = 0.002) -> Part:
    """Let some bytes of the state's files be others."""

    def part(sim: Simulation) -> None:
        for path in sorted(sim.folder.iterdir()):
            if not path.name.endswith(suffixes):
                continue
            raw = bytearray(path.read_bytes())
            for _ in range(max(1, round(len(raw) * share)) if raw else 0):
                raw[sim.dice.randrange(len(raw))] = sim.dice.randrange(256)
            path.write_bytes(raw)

    return part


def rotten_marks(number: int) -> Part:
    """Let some bits of the closed state flip where its marks are, which SQLite does not see."""

    def part(sim: Simulation) -> None:
        path = sim.folder / "state.db"
        raw = bytearray(path.read_bytes())
        for _ in range(number):
            raw[sim.dice.randrange(len(raw) // 4, len(raw))] ^= 1 << sim.dice.randrange(8)
        path.write_bytes(raw)

    return part


def env(**settings: str) -> dict[str, str]:
    """Settings by the ends of their names."""
    return {f"TWEETDOCK_{name.upper()}": value for name, value in settings.items()}


SYNCHRONISED = clock(0.2, is_synchronised=True)
HOUR = env(window_seconds="3600")
TEN = env(window_seconds="600")
THRICE = (
    Run(400, killed=True),
    Run(300, killed=True, off=120),
    Run(500),
)
LONG = (Run(3000),)
ONCE_MORE = (Run(500), Run(700))


def after(*parts: Part, killed: bool = False) -> tuple[Run, ...]:
    """Two runs, and what happens between them."""

    def before(sim: Simulation) -> None:
        for part in parts:
            part(sim)

    return Run(500, killed=killed), Run(700, before=before)


X = [
    Scenario("x is well", (x_posts(),), undisturbed=True),
    Scenario("x is well, and all is new", (x_posts(since=0),), undisturbed=True),
    Scenario("x has no posts", (x_posts(0.01),), undisturbed=True),
    Scenario("x has a hundred posts a minute", (x_posts(100),), env=TEN, undisturbed=True, seeds=1),
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
    Scenario("x storms", (x_posts(), storm("x")), ends_exact=False),
    Scenario(
        "x storms and the gauge is killed", (x_posts(), storm("x")), runs=THRICE, ends_exact=False
    ),
    Scenario("x is slow", (x_posts(), slow("x", 2, 8)), undisturbed=True),
    Scenario("x allows a search a minute", (x_posts(), x_limit(16))),
    Scenario("x gives no dates", (x_posts(), dates("x", None), SYNCHRONISED), undisturbed=True),
    Scenario(
        "x gives no dates and nobody knows the time",
        (x_posts(), dates("x", None)),
        ends_exact=False,
    ),
    # What a server says of its posts' times is not better than what it says of its own.
    Scenario(
        "x is two minutes ahead by its dates",
        (x_posts(), dates("x", 120), SYNCHRONISED),
        ends_exact=False,
    ),
    Scenario("x is 60 years ahead by its dates", (x_posts(), dates("x", 1.9e9)), ends_exact=False),
    Scenario(
        "x's index is a minute or two late",
        (x_index(60, 119), x_posts()),
        undisturbed=True,
        certain_ago={"x": 300},
    ),
    Scenario(
        "x's index stands for ten minutes",
        (x_index_stands(500, 600), x_posts()),
        env=HOUR,
        runs=(Run(2400),),
    ),
    Scenario(
        "x's index stands for five minutes and the gauge is killed",
        (x_index_stands(300, 300), x_posts()),
        runs=THRICE,
    ),
    Scenario("x's index is at times three minutes late", (x_index(1, 200), x_posts()), env=HOUR),
    Scenario("x answers with errors only", (x_posts(), x_spoils(0.3, only_errors))),
    Scenario("x turns pages back", (x_posts(20), pages_turn_back(0.5)), runs=THRICE),
    Scenario(
        "x's posts lose the tag",
        (x_posts(untagged=0.2),),
        env=HOUR,
        runs=(Run(4200),),
        seeds=2,
    ),
    Scenario(
        "x is asked each 15 minutes",
        (x_posts(),),
        env=HOUR | env(poll_seconds="900", stale_seconds="2000"),
        runs=LONG,
    ),
    Scenario("x is asked each minute", (x_posts(),), env=env(poll_seconds="60"), undisturbed=True),
    # Posts may be two minutes late.
    Scenario("x within a minute", (x_posts(30),), env=env(window_seconds="60"), ends_exact=False),
    Scenario(
        "x with another window in between",
        (x_posts(),),
        env=HOUR,
        runs=(Run(300), Run(200, env=env(window_seconds="60")), Run(500)),
    ),
    Scenario(
        "x's posts cost more than the day allows",
        (x_posts(20),),
        env=env(x_daily_budget_usd="1.6"),
        ends_exact=False,
    ),
    Scenario("the clock is 50 minutes ahead", (x_posts(), clock(3000)), undisturbed=True),
    Scenario("the clock is 50 minutes behind", (x_posts(), clock(-3000)), undisturbed=True),
    Scenario("the clock begins in 1970", (x_posts(), clock(-1.79e9)), undisturbed=True),
    Scenario(
        "the clock is 50 minutes ahead and then set",
        (x_posts(), clock(3000), step(300, 0.1)),
        undisturbed=True,
    ),
    Scenario(
        "the clock is set to a wrong time and back",
        (x_posts(), step(300, 3600), step(600, 0.1)),
    ),
    Scenario(
        "the clock is ahead for one run",
        (x_posts(), clock(2400)),
        runs=after(clock(0.1), killed=True),
    ),
    Scenario("the machine sleeps for 20 minutes", (x_posts(), suspend(400, 1200)), asleep=1200),
    Scenario(
        "the machine sleeps for two hours",
        (x_posts(), suspend(400, 7200)),
        env=HOUR,
        asleep=7200,
    ),
    Scenario(
        "the machine sleeps and the network is slow to come back",
        (x_posts(), suspend(400, 1200), fails("x", 1500, 300, "hangs")),
        asleep=1200,
    ),
    Scenario(
        "the state is three hours old, the clock behind it, and x unreachable",
        (x_posts(), fails("x", 11_300, 90, "hangs")),
        runs=(Run(500), Run(700, before=power_cut(10_800, clock_off=-10_900))),
        asleep=10_800,
    ),
    Scenario(
        "the state is three hours old and x is unreachable",
        (x_posts(), fails("x", 11_300, 90, "refused")),
        runs=(Run(500), Run(700, before=power_cut(10_800))),
        asleep=10_800,
    ),
    Scenario("the state is lost", (x_posts(),), runs=after(no_state)),
    Scenario(
        "the state is one of before",
        (x_posts(),),
        runs=(Run(300), Run(400, before=keep_state), Run(500, before=old_state)),
    ),
    Scenario(
        "the state is one of before and x is unreachable",
        (x_posts(), fails("x", 700, 60, "hangs")),
        runs=(Run(300), Run(400, before=keep_state), Run(500, before=old_state)),
    ),
    Scenario("the state's log is damaged", (x_posts(),), runs=after(damaged("-wal"), killed=True)),
    Scenario("the state is damaged", (x_posts(),), runs=after(damaged(".db"))),
    Scenario("the state has rotten bits", (x_posts(),), runs=after(rotten_marks(40)), seeds=10),
    Scenario("the state has a rotten bit", (x_posts(),), runs=after(rotten_marks(3)), seeds=10),
]

X_STREAM = [
    Scenario("x's stream is well", (x_posts(),), "x-stream", undisturbed=True),
    Scenario(
        "x's stream is well and the gauge is killed",
        (x_posts(),),
        "x-stream",
        runs=THRICE,
        undisturbed=True,
    ),
    Scenario("x's stream storms", (x_posts(), storm("x")), "x-stream", ends_exact=False),
    Scenario("x's stream is cut each minute", (x_posts(), stream_cuts(60)), "x-stream"),
    Scenario("x's stream falls silent", (x_posts(), stream_falls_silent(400)), "x-stream"),
    Scenario("x's stream loses most posts", (x_stream(1, 7, lost=0.7), x_posts()), "x-stream"),
    Scenario("x's stream loses some posts", (x_stream(1, 7, lost=0.05), x_posts()), "x-stream"),
    Scenario("x's stream loses all posts", (x_stream(1, 7, lost=1), x_posts()), "x-stream"),
    Scenario("x's stream is ten minutes late", (x_stream(600, 610), x_posts()), "x-stream"),
    Scenario("x's stream is a minute late", (x_stream(40, 80), x_posts()), "x-stream"),
    Scenario("x's stream loses its rules", (x_posts(), rules_go(400)), "x-stream"),
    Scenario(
        "x's stream and an index that is late",
        (x_index(60, 119), x_posts(), stream_cuts(200)),
        "x-stream",
    ),
    Scenario(
        "x's stream and an index that stands",
        (x_index_stands(300, 600), x_posts(), stream_cuts(200)),
        "x-stream",
    ),
    Scenario(
        "x's stream while the machine sleeps",
        (x_posts(), suspend(400, 900)),
        "x-stream",
        asleep=900,
    ),
    Scenario("x's stream with a clock ahead", (x_posts(), clock(3000)), "x-stream"),
]

BLUESKY = [
    Scenario("bluesky is well", (bluesky(),), "bluesky", undisturbed=True),
    Scenario(
        "bluesky is well and the gauge is killed",
        (bluesky(),),
        "bluesky",
        runs=THRICE,
        undisturbed=True,
    ),
    Scenario(
        "bluesky storms", (bluesky(hosts=2), storm("jetstream1")), "bluesky", ends_exact=False
    ),
    Scenario(
        "both jetstreams storm",
        (bluesky(hosts=2), storm("jetstream1"), storm("jetstream2")),
        "bluesky",
        runs=THRICE,
        ends_exact=False,
    ),
    Scenario("bluesky hangs", (bluesky(), fails("jetstream1", 400, 100, "hangs")), "bluesky"),
    Scenario("bluesky is cut off", (bluesky(), fails("jetstream1", 400, 100, "broken")), "bluesky"),
    # A silence is taken for a hole.
    Scenario("bluesky is quiet", (bluesky(2, hum=0.2),), "bluesky", ends_exact=False),
    Scenario("bluesky is busy", (bluesky(40, hum=20, since=-900),), "bluesky", seeds=2),
    Scenario(
        "bluesky's replay and its live events have a hole between",
        (bluesky(30), seams(1.9)),
        "bluesky",
        runs=THRICE,
        undisturbed=True,
        seeds=8,
    ),
    Scenario(
        "bluesky's seams have holes and connections break",
        (bluesky(30, hosts=2), seams(1.9), storm("jetstream1"), storm("jetstream2")),
        "bluesky",
        seeds=8,
        ends_exact=False,
    ),
    Scenario("a jetstream lacks minutes", (bluesky(hosts=2), lacks(1, -300, 120)), "bluesky"),
    Scenario("all jetstreams lack minutes", (bluesky(), lacks(1, -300, 120)), "bluesky"),
    Scenario("a jetstream loses a minute", (bluesky(hosts=2), lacks(1, 400, 460)), "bluesky"),
    Scenario(
        "a jetstream loses seconds",
        (bluesky(30, hum=10), lacks(1, 400, 404)),
        "bluesky",
        runs=(Run(1400),),
    ),
    Scenario("a jetstream is late", (bluesky(hosts=2), late_host(1, 30, 90)), "bluesky"),
    # It could be the clock that is ahead.
    Scenario(
        "the only jetstream is late",
        (bluesky(), late_host(1, 30, 90)),
        "bluesky",
        ends_exact=False,
    ),
    Scenario(
        "bluesky gives no dates and the clock is ahead",
        (bluesky(), dates("jetstream1", None), clock(3000)),
        "bluesky",
        ends_exact=False,
    ),
    Scenario(
        "bluesky gives no dates and the clock is right",
        (bluesky(), dates("jetstream1", None), SYNCHRONISED),
        "bluesky",
        undisturbed=True,
    ),
    Scenario(
        "bluesky gives no dates and the clock is behind",
        (bluesky(), dates("jetstream1", None), clock(-3000)),
        "bluesky",
        undisturbed=True,
    ),
    Scenario("bluesky with a clock behind", (bluesky(), clock(-3000)), "bluesky"),
    Scenario("bluesky with a clock ahead", (bluesky(), clock(3000)), "bluesky"),
    Scenario("bluesky has events of 2090", (bluesky(), of_2090(300)), "bluesky"),
    Scenario(
        "bluesky has many events of 2090",
        (bluesky(), of_2090(300, 400, every=0.5), SYNCHRONISED),
        "bluesky",
        runs=THRICE,
    ),
    Scenario(
        "bluesky while the machine sleeps", (bluesky(), suspend(400, 900)), "bluesky", asleep=900
    ),
    Scenario("bluesky's posts change", (bluesky(), bluesky_changes()), "bluesky", runs=THRICE),
    Scenario(
        "bluesky's posts change while it storms",
        (bluesky(), bluesky_changes(), storm("jetstream1")),
        "bluesky",
        ends_exact=False,
    ),
    Scenario("bluesky's state is lost", (bluesky(),), "bluesky", runs=after(no_state)),
]

MASTODON = [
    Scenario("mastodon is well", (mastodon(),), "mastodon", undisturbed=True),
    Scenario(
        "mastodon is well and the gauge is killed",
        (mastodon(),),
        "mastodon",
        runs=THRICE,
        undisturbed=True,
    ),
    Scenario("one mastodon server", (mastodon(servers=1),), "mastodon", undisturbed=True),
    Scenario(
        "mastodon storms",
        (mastodon(), storm("mastodon1"), storm("mastodon2")),
        "mastodon",
        ends_exact=False,
    ),
    Scenario(
        "a mastodon server is down for long",
        (mastodon(), fails("mastodon2", 300, 700, "refused")),
        "mastodon",
        runs=(Run(1500),),
    ),
    Scenario("mastodon hangs", (mastodon(), fails("mastodon1", 300, 200, "hangs")), "mastodon"),
    Scenario(
        "mastodon's posts come within minutes",
        (federation(20, 200), mastodon()),
        "mastodon",
        env=HOUR,
        runs=(Run(5400),),
        seeds=2,
    ),
    Scenario(
        "mastodon's posts come within 25 minutes",
        (federation(100, 1500), mastodon()),
        "mastodon",
        env=HOUR,
        runs=(Run(5400),),
        seeds=2,
    ),
    Scenario(
        "some of mastodon's posts never come",
        (federation(1, 40, never=0.3), mastodon()),
        "mastodon",
    ),
    Scenario(
        "mastodon's posts change",
        (mastodon(3), mastodon_changes()),
        "mastodon",
        runs=(Run(700, killed=True), Run(700)),
    ),
    Scenario(
        "mastodon's posts change while it storms",
        (mastodon(3), mastodon_changes(), storm("mastodon1")),
        "mastodon",
        ends_exact=False,
    ),
    Scenario(
        "two tags on mastodon",
        (mastodon(3), second_tag(3)),
        "mastodon",
        env=env(hashtags="dockercon,kubecon"),
        undisturbed=True,
    ),
    Scenario(
        "mastodon's ids are letters", (mastodon(ids="letters"),), "mastodon", undisturbed=True
    ),
    Scenario(
        "mastodon's ids are small numbers",
        (mastodon(ids="small numbers"),),
        "mastodon",
        undisturbed=True,
    ),
    Scenario(
        "a mastodon server is 60 years ahead",
        (mastodon(), dates("mastodon1", 1.9e9)),
        "mastodon",
        ends_exact=False,
    ),
    Scenario("mastodon with a clock ahead", (mastodon(), clock(3000)), "mastodon"),
    Scenario(
        "mastodon while the machine sleeps",
        (mastodon(), suspend(400, 900)),
        "mastodon",
        asleep=900,
    ),
    Scenario(
        "mastodon by streams",
        (mastodon(), tokens()),
        "mastodon",
        undisturbed=True,
    ),
    Scenario(
        "mastodon's posts change and streams tell",
        (mastodon(3), tokens(), mastodon_changes()),
        "mastodon",
    ),
    Scenario(
        "mastodon is asked each five minutes",
        (mastodon(),),
        "mastodon",
        runs=LONG,
        env=HOUR | env(poll_seconds="300", stale_seconds="700"),
    ),
]

ALL = [
    Scenario(
        "all networks are well",
        (x_posts(), bluesky(), mastodon()),
        "x,bluesky,mastodon",
        undisturbed=True,
        seeds=2,
    ),
    Scenario(
        "all networks storm",
        (
            x_posts(),
            bluesky(hosts=2),
            mastodon(),
            storm("x"),
            storm("jetstream1"),
            storm("jetstream2"),
            storm("mastodon1"),
            storm("mastodon2"),
        ),
        "x,bluesky,mastodon",
        runs=THRICE,
        seeds=8,
        ends_exact=False,
    ),
    Scenario(
        "all networks have come back after a power cut",
        (x_posts(), bluesky(since=-900), mastodon()),
        "x,bluesky,mastodon",
        runs=(Run(500), Run(700, before=power_cut(1800, clock_off=-1800))),
        asleep=1800,
        seeds=2,
    ),
    Scenario(
        "bridges carry posts",
        (bluesky(), mastodon(), bridged()),
        "bluesky,mastodon",
        runs=THRICE,
        undisturbed=True,
    ),
    Scenario(
        "a jetstream without dates, a clock ahead, and x a second later",
        (x_posts(), bluesky(), dates("jetstream1", None), clock(3000), slow("x", 1, 2)),
        "bluesky,x",
        runs=after(clock(0.1), killed=True),
    ),
    Scenario(
        "a mastodon server ahead, and x a second later",
        (x_posts(), mastodon(servers=1), dates("mastodon1", 1200), slow("x", 1, 2)),
        "mastodon,x",
        ends_exact=False,
    ),
    Scenario(
        "bluesky is left out with a short window in between",
        (x_posts(), bluesky(since=-3700)),
        "x,bluesky",
        env=HOUR,
        runs=(
            Run(400),
            Run(100, env=env(window_seconds="60", sources="x")),
            Run(100, env=env(sources="x")),
            Run(500),
        ),
    ),
    Scenario(
        "mastodon is left out for a while",
        (x_posts(), mastodon()),
        "x,mastodon",
        runs=(Run(400), Run(200, env=env(sources="x")), Run(500)),
    ),
    Scenario(
        "x and bluesky with a clock that is set late",
        (x_posts(), bluesky(), clock(-2400), step(400, 0.1)),
        "x,bluesky",
    ),
    Scenario(
        "all of x",
        (x_posts(), stream_cuts(150)),
        "x,x-stream",
    ),
]

SCENARIOS = [*X, *X_STREAM, *BLUESKY, *MASTODON, *ALL]

# Those that are played each time.
USUAL = (
    "x storms",
    "x's index is at times three minutes late",
    "x turns pages back",
    "the clock is 50 minutes ahead",
    "x's stream loses most posts",
    "x's stream is ten minutes late",
    "bluesky's seams have holes and connections break",
    "bluesky's posts change",
    "one mastodon server",
    "bluesky is left out with a short window in between",
)
