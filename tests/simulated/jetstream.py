"""Bluesky in virtual time: its events, and the Jetstream hosts that replay and bring them."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

from standins.jetstream_events import POST, Event, as_sent, make_like, tid
from standins.jetstream_events import make_post as make_event

from simulated.truth import Shown, Truth, moments
from tweetdock.core.errors import Kind, SourceError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from simulated.machine import Machine
    from simulated.network import Network

FEED = "bluesky"
NOTICE_MS = 30_000
MOST = 1000  # messages of one read
READ_SECONDS = 0.05  # that takes in a replay
TICK_SECONDS = 0.5  # messages come in clumps
OPEN_SECONDS = 10.0


class Skeet(NamedTuple):
    """A post."""

    number: int
    author: int
    rkey: str
    created_us: int
    key: str
    writer: str


class Sky:
    """All that happens on Bluesky. lag: how many seconds later a host has an event."""

    def __init__(self, machine: Machine, truth: Truth, dice: random.Random) -> None:
        self._machine = machine
        self._truth = truth
        self._dice = dice
        self._events: dict[int, bytes] = {}
        self._order: list[int] = []
        self._number = 0
        self._shown: dict[str, Shown] = {}
        self.lag = 1.0

    @property
    def moments(self) -> list[int]:
        """When events were, in order."""
        if len(self._order) != len(self._events):
            self._order = sorted(self._events)
        return self._order

    def frame(self, moment_us: int) -> bytes:
        """The event of a moment."""
        return self._events[moment_us]

    def put(self, at: float, event: Event, *, dated: float | None = None) -> int:
        """Let an event happen at a moment (true Unix seconds); dated: by another one."""
        moment_us = round(at * 1e6)
        while moment_us in self._events:
            moment_us += 1
        dated_us = moment_us if dated is None else round(dated * 1e6)
        self._events[moment_us] = as_sent(event, dated_us)
        return moment_us

    def post(
        self,
        at: float,
        author: int | None = None,
        *,
        tag: str = "dockercon",
        original: str = "",
        key: str = "",
        writer: str = "",
    ) -> Skeet:
        """Let a post be written.

        original: the address that a bridge has it from; key, writer: of the post there.
        """
        author = self._dice.randrange(200) if author is None else author
        self._number += 1
        event = make_event(self._number, tag, author=author)
        rkey = tid(at * 1000, self._number % 1024)
        event["commit"]["rkey"] = rkey
        if original:
            event["commit"]["record"]["bridgyOriginalUrl"] = original
        moment_us = self.put(at, event)
        did = f"bluesky:did:plc:{author}"
        skeet = Skeet(self._number, author, rkey, moment_us, key or f"{did}/{rkey}", writer or did)
        if tag == "dockercon":
            self._show(skeet, at)
        return skeet

    def edit(self, at: float, skeet: Skeet, tag: str) -> None:
        """Let a post have another tag from a moment on."""
        event = make_event(skeet.number, tag, author=skeet.author, operation="update")
        event["commit"]["rkey"] = skeet.rkey
        event["commit"]["cid"] = f"bafy{skeet.number}at{round(at)}"
        self.put(at, event)
        self._hide(skeet, at)
        if tag == "dockercon":
            self._show(skeet, at)

    def delete(self, at: float, skeet: Skeet) -> None:
        """Let a post be deleted."""
        commit = {"rev": f"3r{skeet.number}", "operation": "delete", "collection": POST}
        commit["rkey"] = skeet.rkey
        self.put(at, {"did": f"did:plc:{skeet.author}", "kind": "commit", "commit": commit})
        self._hide(skeet, at)

    def busy(self, since: float, until: float, per_minute: float) -> list[Skeet]:
        """Let there be posts from one moment to another."""
        return [self.post(at) for at in moments(self._dice, since, until, per_minute)]

    def hum(self, since: float, until: float, per_second: float) -> None:
        """Let there be all the others' events, too."""
        at, number = since, 0
        frames = [make_event(n, "other", author=n) for n in range(50)]
        frames += [make_like(n) for n in range(50)]
        while at < until:
            at += self._dice.expovariate(per_second)
            number += 1
            self.put(at, frames[number % len(frames)])

    def _show(self, skeet: Skeet, at: float) -> None:
        shows_ms = (at + self.lag) * 1000
        self._shown[skeet.key] = Shown(
            skeet.key, skeet.writer, skeet.created_us // 1000, FEED, shows_ms, shows_ms + 3_000
        )
        self._truth.add(self._shown[skeet.key])

    def _hide(self, skeet: Skeet, at: float) -> None:
        shown = self._shown.pop(skeet.key, None)
        if shown is not None:
            gone_ms = at * 1000
            hidden = shown._replace(gone_ms=gone_ms, forgotten_ms=gone_ms + NOTICE_MS)
            self._truth.replace(shown, hidden)


@dataclass(slots=True)
class Host:
    """A Jetstream. Times in true Unix seconds.

    lag: how much later than others it has events. lacks: from when to when it has none. seam: up
    to how many seconds of events are lost on a connection when a replay has caught up. odd: events
    of its own, by the moment when they come.
    """

    name: str
    sky: Sky
    lag: Callable[[float], float] = field(default=lambda _: 0.0)
    lacks: list[tuple[float, float]] = field(default_factory=list)
    seam: float = 0.0
    odd: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def host(self) -> str:
        """Its name."""
        return f"{self.name}.example"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"wss://{self.host}/subscribe"

    def has_at(self, moment_us: int) -> float:
        """From when on it has an event (true Unix seconds); never: infinity."""
        at = moment_us / 1e6
        if any(since <= at < until for since, until in self.lacks):
            return math.inf
        return at + self.sky.lag + self.lag(at)


class Socket:
    """Stands for the WebSocket of a source."""

    def __init__(self, network: Network, hosts: dict[str, Host]) -> None:
        self._network, self._machine = network, network.machine
        self._hosts = hosts
        self._is_cut = False
        self._attempt = 0  # changes with each connection
        self._is_open = False

    def cut(self) -> None:
        """End it for good."""
        self._is_cut = True
        self.close()

    def close(self) -> None:
        """Leave the connection."""
        self._attempt += 1
        self._is_open = False

    def open(self, url: str) -> dict[str, str]:
        """Connect."""
        self.close()
        attempt = self._attempt
        if self._is_cut:
            raise SourceError("ended")
        self._host = host = self._hosts[urlsplit(url).netloc]
        self._way = way = self._network.ways[host.host]
        trouble = way.trouble(self._machine.true)
        seconds = OPEN_SECONDS if trouble == "hangs" else 2 * self._network.seconds(way)
        self._wait(attempt, seconds)
        if trouble in ("refused", "broken", "hangs"):
            raise SourceError(f"{host.host} cannot be reached")
        if trouble in ("500", "429"):
            raise SourceError(f"{host.host} is out of order", kind=Kind.SERVER)
        headers = self._network.dated(way, {})
        cursor = parse_qs(urlsplit(url).query).get("cursor")
        now = self._machine.true
        moments = host.sky.moments
        newest_us = round((now - host.sky.lag) * 1e6)
        start_us = min(int(cursor[0]), newest_us) if cursor else newest_us
        self._place = bisect_left(moments, start_us)
        self._odd = bisect_left([at for at, _ in host.odd], now)
        self._is_live = cursor is None
        self._lost_until_us = 0
        self._is_open = True
        return headers

    def read(self, silence_seconds: float) -> list[bytes]:
        """Wait for messages."""
        attempt, until = self._attempt, self._machine.awake + silence_seconds
        if not self._is_open:
            raise SourceError("ended")
        while True:
            trouble = self._way.trouble(self._machine.true)
            if trouble in ("refused", "broken"):
                self._is_open = False
                raise SourceError(f"{self._host.host} has closed the connection")
            found = [] if trouble == "hangs" else self._take()
            if found:
                self._wait(attempt, READ_SECONDS)
                return found
            left = until - self._machine.awake
            if left <= 0:
                raise SourceError(f"{self._host.host} has said nothing for {silence_seconds:.0f} s")
            self._wait(attempt, min(left, TICK_SECONDS))

    def _take(self) -> list[bytes]:
        """What has come by now."""
        host, now = self._host, self._machine.true
        moments = host.sky.moments
        found: list[bytes] = []
        while self._odd < len(host.odd) and host.odd[self._odd][0] <= now:
            found.append(host.odd[self._odd][1])
            self._odd += 1
        while self._place < len(moments) and len(found) < MOST:
            moment_us = moments[self._place]
            has_at = host.has_at(moment_us)
            if has_at > now and has_at < math.inf:
                break
            if moment_us / 1e6 > now:
                break
            if has_at < math.inf and moment_us >= self._lost_until_us:
                found.append(host.sky.frame(moment_us))
            self._place += 1
        if not self._is_live and len(found) < MOST:
            self._is_live = True
            if host.seam:
                lost = self._network.dice.uniform(0.5, host.seam)
                last_us = moments[self._place - 1] if self._place else 0
                self._lost_until_us = round(last_us + lost * 1e6)
        return found

    def _wait(self, attempt: int, seconds: float) -> None:
        if self._machine.wait(lambda: self._attempt != attempt, seconds):
            raise SourceError("ended")
