"""The fediverse in virtual time: Mastodon servers, what is posted, and how it spreads."""

from __future__ import annotations

import math
import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from standins.mastodon import Answer, Mastodon, Stream
from standins.mastodon_index import Ids, Note

from simulated.network import Whole
from simulated.truth import Late, Shown, Truth, moments

if TYPE_CHECKING:
    import random
    from threading import Event

    from standins.in_memory import Question

    from simulated import network
    from simulated.machine import Machine

LATE = Late(least_ms=59_000, assumed_ms=449_000, notice_ms=150_000)
BEAT_SECONDS = 15.0
TICK_SECONDS = 1.0
Delay = Callable[[], float]


def feed_of(host: str) -> str:
    """The truth's name for what a server shows."""
    return f"mastodon {host}"


@dataclass(slots=True)
class Toot:
    """A post, and what the truth has of it, by server."""

    note: Note
    key: str
    shown: dict[str, Shown]


class Instance:
    """A Mastodon server, asked in memory."""

    def __init__(self, machine: Machine, ids: Ids) -> None:
        self._machine = machine
        self.server = Mastodon(now=machine.true_seconds, ids=ids)
        self.host = self.server.host

    def ask(self, question: Question) -> network.Answer:
        """What it answers now."""
        self.server.tick()  # what came while nobody listened is not repeated
        found: Answer | Stream | Event = self.server.ask(
            question.target, question.headers.get("authorization", "")
        )
        if isinstance(found, Answer):
            return found
        assert isinstance(found, Stream)
        return Whole(200, _Body(self._machine, self.server, found), found.headers)


class _Body:
    """A stream as a body."""

    def __init__(self, machine: Machine, server: Mastodon, stream: Stream) -> None:
        self._machine = machine
        self._server = server
        self._stream = stream
        self._said = machine.true

    def take(self) -> bytes | None:
        """What lies ready."""
        now = self._machine.true
        found = b""
        while True:
            try:
                raw = self._stream.outgoing.get_nowait()
            except queue.Empty:
                break
            if raw is None:
                return found
            found += raw
        if not found and now - self._said >= BEAT_SECONDS:
            found = b":thump\n"
        if found:
            self._said = now
        return found or None

    def due_seconds(self) -> float:
        """Until it is worth looking again."""
        return TICK_SECONDS

    def left(self) -> None:
        """Nobody listens any more."""
        self._server.left(self._stream)


class Fediverse:
    """All servers. delay: how much later than its home others show a post."""

    def __init__(self, machine: Machine, truth: Truth, dice: random.Random) -> None:
        self._machine = machine
        self._truth = truth
        self._dice = dice
        self.instances: list[Instance] = []
        self.delay: Delay = lambda: dice.uniform(0.5, 20.0)
        self.tags = {"dockercon"}  # those that are counted
        self._number = 0

    def add(self, ids: Ids = "snowflakes") -> Instance:
        """One more server."""
        self.instances.append(Instance(self._machine, ids))
        self._truth.late[feed_of(self.instances[-1].host)] = LATE
        return self.instances[-1]

    def post(
        self,
        at: float,
        author: int | None = None,
        *,
        home: int | None = None,
        tags: tuple[str, ...] = ("dockercon",),
        uri: str = "",
        key: str = "",
    ) -> Toot:
        """Let a post be written at a moment (true Unix seconds).

        home: the server of its author; -1: one that nobody asks. uri, key: if it has others.
        """
        author = self._dice.randrange(200) if author is None else author
        home = self._dice.randrange(-1, len(self.instances)) if home is None else home
        place = "https://home.example" if home < 0 else self.instances[home].server.url
        self._number += 1
        person = f"{place}/@person{author}"
        uri = uri or f"{place}/users/person{author}/statuses/{self._number}"
        note = Note(uri, person, round(at * 1000), tags)
        toot = Toot(note, key or f"mastodon:{uri}", {})
        for number, instance in enumerate(self.instances):
            delay = self._dice.uniform(0, 1) if number == home else self.delay()
            if not math.isinf(delay):
                self._spread(toot, instance, delay, is_own=number == home)
        return toot

    def _spread(self, toot: Toot, instance: Instance, delay: float, *, is_own: bool) -> None:
        note = toot.note
        shows_ms = note.created_ms + round(delay * 1000)
        instance.server._index.add(note, shows_ms, is_own=is_own)
        if self.tags & set(note.tags):
            shown = Shown(
                toot.key,
                note.author if toot.key.startswith("mastodon") else toot.key.rpartition("/")[0],
                note.created_ms,
                feed_of(instance.host),
                shows_ms,
                shows_ms,
            )
            self._truth.add(shown)
            toot.shown[instance.host] = shown

    def busy(self, since: float, until: float, per_minute: float) -> list[Toot]:
        """Let there be posts from one moment to another."""
        return [self.post(at) for at in moments(self._dice, since, until, per_minute)]

    def delete(self, toot: Toot, *hosts: str) -> None:
        """Take a post down now, everywhere or at some servers."""
        for instance in self.instances:
            if instance.host in toot.shown and (not hosts or instance.host in hosts):
                self._hide(toot, instance.host)
                instance.server.delete(toot.note.uri)

    def untag(self, toot: Toot) -> None:
        """Take the tag off a post now."""
        for instance in self.instances:
            if instance.host in toot.shown:
                self._hide(toot, instance.host)
                instance.server.edit(toot.note.uri, "", "other")

    def _hide(self, toot: Toot, host: str) -> None:
        shown = toot.shown.pop(host)
        now_ms = self._machine.true_ms
        self._truth.replace(
            shown, shown._replace(gone_ms=now_ms, forgotten_ms=now_ms + LATE.notice_ms)
        )

    def close(self) -> None:
        """End all."""
        for instance in self.instances:
            instance.server.close()
