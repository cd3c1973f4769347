"""Hours of TweetDock against stand-in Mastodon servers in seconds, in a time that is told."""

import math
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from listening import Cursors, Listening
from simulation import Time

from standins.mastodon import Fediverse, Mastodon
from standins.mastodon_index import Note, normal
from standins.mastodon_memory import memory_session
from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Grade, Known
from tweetdock.core.errors import SourceError
from tweetdock.core.post import Trouble
from tweetdock.settings.gauge import Settings
from tweetdock.sources.http import HttpSession
from tweetdock.sources.mastodon.stream import TagStream
from tweetdock.sources.mastodon.timeline import make_mastodon
from tweetdock.sources.polling import Source, Waits

HEARTBEAT_SECONDS = 15.0
SILENCE_SECONDS = 60.0  # of real time: a stream is only read here when something was sent


@dataclass
class _Turn:
    """A source, when it is to be asked next, and its waits after failures in a row."""

    source: Source
    at: float
    waits: Waits = field(default_factory=Waits)
    is_listening: bool = False


class MastodonSimulation(Listening):
    """The sources for some servers, asked in turn by one thread, and the gauge that they fill.

    make_session: makes the way to the servers, which is else one without sockets.
    """

    def __init__(
        self,
        time: Time,
        *servers: Mastodon,
        tags: str = "dockercon",
        tokens: bool = False,
        machine_is_off_by: float = 0.0,
        make_session: Callable[[], HttpSession] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.time, self.servers = time, servers
        self.fediverse = Fediverse(servers)
        pairs = " ".join(f"{server.host}={server.token}" for server in servers if tokens)
        settings = Settings.from_env(
            {
                "TWEETDOCK_HASHTAGS": tags,
                "TWEETDOCK_SOURCES": "mastodon",
                "TWEETDOCK_MASTODON": " ".join(server.url for server in servers),
                "TWEETDOCK_MASTODON_TOKENS": pairs,
                **(env or {}),
            }
        )
        self._tags = set(map(normal, settings.hashtags))
        self.window_ms = round(settings.window_seconds * 1000)
        self._beat_at = -math.inf
        self._turns: list[_Turn] = []

        def make(clock: Clock, _: Cursors) -> list[Source]:
            self.close()
            sources = make_mastodon(
                settings.hashtags,
                servers=settings.networks.mastodon,
                tokens=settings.networks.mastodon_tokens,
                clock=clock,
                window_seconds=settings.window_seconds,
                poll_seconds=settings.poll_seconds,
                keeps_raw=True,
                make_session=make_session or partial(memory_session, servers),
                silence_seconds=SILENCE_SECONDS,
            )
            self._turns = [_Turn(source, time.seconds) for source in sources]
            return sources

        super().__init__(settings.gauge, time, make, off_by=machine_is_off_by)

    def restart(self) -> None:
        """End as by a kill, and begin with what was known last."""
        if self._turns:
            self.save()
        super().restart()

    def close(self) -> None:
        """End the connections."""
        for turn in self._turns:
            end(turn.source)

    def run(self, seconds: float, after_turn: Callable[[], object] = lambda: None) -> None:
        """Let so much time pass; `after_turn` is called after each question."""
        until = self.time.seconds + seconds
        while True:
            turn = min((t for t in self._turns if not t.is_listening), key=lambda t: t.at)
            moment = min(turn.at, max(self._beat_at, self.time.seconds))
            if moment > until:
                break
            self.time.seconds = max(self.time.seconds, moment)
            if self._beat_at <= self.time.seconds:
                self.tick()
                self._beat_at = self.time.seconds + HEARTBEAT_SECONDS
            else:
                self._ask(turn)
            after_turn()
        self.time.seconds = until

    def tick(self) -> None:
        """Let the servers send to their streams, and read what they sent."""
        for server in self.servers:
            server.tick()
        for turn in self._turns:
            if turn.is_listening:
                self._ask(turn)

    def delete(self, dice: random.Random, *servers: Mastodon) -> None:
        """Let one of the posts that show be deleted on these servers."""
        notes = self.servers[0].truth(self.time.ms - self.window_ms, self.time.ms)
        if notes:
            uri = dice.choice(sorted(note.uri for note in notes))
            for server in servers:
                if server.has(uri):
                    server.delete(uri)

    def detail(self) -> str:
        """What is said of the whole."""
        return self.read().sources["mastodon"].detail

    def truth(self) -> tuple[int, int]:
        """The posts and authors of the window that the servers show, by brute force."""
        floor = self.clock.now_ms() - self.window_ms
        notes = {
            (note.uri, note.author)
            for server in self.servers
            for note in server.truth(floor, self.time.ms)
            if self._is_asked_for(note)
        }
        return len(notes), len({author for _, author in notes})

    def assert_true(self) -> None:
        """The counts are the truth of this moment, and said to be."""
        self.assert_exact(self.truth())

    def assert_honest(self) -> None:
        """An exact count lacks nothing of the time of which it is certain.

        Nothing is archived twice, and what is not exact has a reason.
        """
        assert len(self.archived) == len(set(self.archived))
        reading = self.read()
        if reading.grade is not Grade.EXACT:
            assert reading.sources["mastodon"].detail
            return
        # What showed later than any post of the last hour is looked for more seldom.
        late_ms = min(self.seen(source.feed.name).late_ms for source in self.sources)
        floor = reading.at_ms - self.window_ms
        shown = {
            note.uri
            for server in self.servers
            for note in server.truth(floor, reading.certain_ms)
            if server.late_ms(note) < late_ms and self._is_asked_for(note)
        }
        assert reading.posts >= len(shown)

    def _is_asked_for(self, note: Note) -> bool:
        return not self._tags.isdisjoint(map(normal, note.tags))

    def _ask(self, turn: _Turn) -> None:
        feed = turn.source.feed
        trouble = partial(
            Trouble, source=feed.source, server=feed.server, channel=turn.source.channel
        )
        try:
            for batch in turn.source.poll(self.seen(feed.name)):
                self.deliver(batch)
                if turn not in self._turns:
                    return
        except SourceError as error:
            wait = turn.waits.after(error, self.time())
            turn.is_listening = False
            self.deliver(
                trouble(detail=str(error), needs_owner=error.needs_owner, server_ms=error.server_ms)
            )
        else:
            pause = turn.source.pause(self.seen(feed.name))
            wait = pause.seconds
            if wait:
                turn.waits.worked()
            turn.is_listening = isinstance(turn.source, TagStream)
            if pause.reason:
                self.deliver(trouble(detail=pause.reason))
        turn.at = self.time.seconds + max(wait, 0.01)


def end(source: Source) -> None:
    """Cut a source off and let it notice."""
    source.cut()
    with suppress(SourceError):
        while isinstance(source, TagStream):
            list(source.poll(Known()))


def fill(simulation: MastodonSimulation, number: int, *, seed: int = 1, minutes: int = 70) -> None:
    """So many posts on all servers, each from one of them, over the minutes past."""
    dice = random.Random(seed)
    servers = range(len(simulation.servers))
    for ago_ms in sorted(dice.sample(range(minutes * 60_000), number), reverse=True):
        home = dice.choice(servers)
        simulation.fediverse.post(
            dice.randrange(number // 3 + 1),
            "dockercon",
            home=home,
            ago_ms=ago_ms,
            delays_ms={other: dice.randrange(8_000) for other in servers if other != home},
            boost=dice.random() < 0.1,
        )
