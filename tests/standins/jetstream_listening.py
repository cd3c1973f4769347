"""A Bluesky source that listens to stand-in hosts, in a time that is told."""

import threading
import time as real_time
from collections.abc import Callable
from functools import partial

from listening import Cursors, Listening
from simulation import Time

from standins.jetstream import Jetstream, Network
from standins.jetstream_events import delete_post, make_post
from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Grade
from tweetdock.core.post import Batch, Trouble
from tweetdock.settings.gauge import Settings
from tweetdock.sources.bluesky.source import Bluesky
from tweetdock.sources.polling import Poller, Source

LIMIT_SECONDS = 60.0
WINDOW_SECONDS = 600
TAG = "DockerCon"


class JetstreamListening(Listening):
    """A Bluesky source, the one beside it and the gauge that they fill, saved after each batch.

    off_by: so many seconds is its machine's clock wrong. asleep: so many it did not count.
    """

    def __init__(
        self, network: Network, time: Time, *, off_by: float = 0.0, silence_seconds: float = 20.0
    ) -> None:
        self.network, self.time = network, time
        self.asleep = 0.0
        self.waits: list[float] = []
        self.reached_ms = 0
        self._stopping = threading.Event()
        env = {"TWEETDOCK_HASHTAGS": "dockercon", "TWEETDOCK_SOURCES": "bluesky"}
        settings = Settings.from_env({**env, "TWEETDOCK_WINDOW_SECONDS": str(WINDOW_SECONDS)})

        def make(clock: Clock, cursor: Cursors) -> list[Source]:
            listen = partial(
                Bluesky,
                settings.hashtags,
                clock=clock,
                hosts=[host.url for host in network.hosts],
                window_seconds=WINDOW_SECONDS,
                silence_seconds=silence_seconds,
                keeps_raw=True,
                cursor=cursor("bluesky"),
            )
            first = listen()
            return [first, listen(beside=first)]

        super().__init__(
            settings.gauge,
            time,
            make,
            off_by=off_by,
            monotonic=lambda: time() - self.asleep,
            stepped=self._stopping.set,
        )

    @property
    def source(self) -> Bluesky:
        """The source that listens to what is new."""
        source = self.sources[0]
        assert isinstance(source, Bluesky)
        return source

    def restart(self) -> None:
        """End as by a kill, and begin with what was saved last."""
        self.leave()
        super().restart()
        self.reached_ms = 0

    def leave(self) -> None:
        """End the source."""
        for source in getattr(self, "sources", ()):
            source.cut()

    def run(self, until: Callable[[], bool], *, most_errors: int = 100) -> bool:
        """Poll until it is so; whether it was before too many errors."""
        limit, errors = real_time.monotonic() + LIMIT_SECONDS, 0

        def wait(seconds: float) -> None:
            nonlocal errors
            self.waits.append(seconds)
            assert real_time.monotonic() < limit, self.troubles
            is_error = bool(self.messages) and isinstance(self.messages[-1], Trouble)
            errors += is_error
            self._fill_gaps()
            if until() or errors > most_errors:
                self._stopping.set()
            elif is_error:
                self.time.seconds += seconds
                self.network.tick()

        while not until() and errors <= most_errors:
            self._stopping.clear()
            Poller(self.source, self, self._stopping, wait, self.time).run()
        return until()

    def _fill_gaps(self) -> None:
        """Let the other source bring what it can bring now."""
        gaps, stopping = self.sources[1], threading.Event()

        def wait(seconds: float) -> None:
            if seconds or gaps is not self.sources[1]:
                stopping.set()

        Poller(gaps, self, stopping, wait, self.time).run()

    def has_caught_up(self) -> bool:
        """Whether the newest events have come."""
        progress = self.source._progress
        return progress is not None and progress.position_ms >= self.time.ms - 4_000

    def follow(self, seconds: float = 5.0, *, most_errors: int = 100) -> bool:
        """Let some time pass, and poll until the source has caught up."""
        self.time.seconds += seconds
        self.network.tick()
        return self.run(self.has_caught_up, most_errors=most_errors)

    def assert_honest(self) -> None:
        """An exact count lacks nothing of what is certain."""
        reading = self.read()
        since = self.time.ms - WINDOW_SECONDS * 1000
        if reading.grade is Grade.EXACT:
            until_ms = min(reading.certain_ms, self.time.ms)
            posts, authors = self.network.truth.count(since, until_ms)
            assert reading.posts >= posts
            assert reading.authors >= authors
        else:
            assert reading.sources["bluesky"].detail

    def assert_true(self) -> None:
        """The counts are the truth of this moment, and said to be."""
        since = self.time.ms - WINDOW_SECONDS * 1000
        self.assert_exact(self.network.truth.count(since, self.time.ms))

    def deliver(self, message: Batch | Trouble) -> None:
        """Count a message, and save."""
        before = self.source
        super().deliver(message)
        if before is not self.source:
            before.cut()
            self.reached_ms = 0
        if isinstance(message, Batch):
            if message.covers:
                self.reached_ms = max(self.reached_ms, message.covers.until_ms)
            self.save()


class Fate:
    """What may happen to a listener, its hosts and the network, by name."""

    def __init__(self, listening: JetstreamListening) -> None:
        self._listening, self._network = listening, listening.network
        self._posted = 0

    def act(self, name: str, number: int = 0) -> None:
        """Let it happen; the number says with what."""
        getattr(self, name)(number)

    def post(self, _: int = 0) -> None:
        """Somebody posts."""
        self._network.add(make_post(self._posted, TAG, author=self._posted % 5))
        self._posted += 1

    def delete(self, number: int) -> None:
        """A post is deleted."""
        number %= self._posted
        self._network.add(delete_post(number, author=number % 5))

    def change(self, number: int) -> None:
        """A post loses its hashtag."""
        number %= self._posted
        self._network.add(make_post(number, author=number % 5, operation="update"))

    def wait(self, number: int) -> None:
        """Some seconds pass."""
        self._listening.follow(number, most_errors=4)

    def restart(self, _: int) -> None:
        """The listener is killed and comes back."""
        self._listening.restart()

    def down(self, number: int) -> None:
        """A host goes down."""
        self._host(number).down()

    def up(self, number: int) -> None:
        """A host comes back."""
        self._host(number).up()

    def mute(self, number: int) -> None:
        """A host falls silent."""
        self._host(number).faults.mute = True

    def repeat(self, number: int) -> None:
        """A host sends everything twice."""
        self._host(number).faults.repeats = True

    def refuse(self, number: int) -> None:
        """A host refuses."""
        self._host(number).faults.refuses = 503

    def heal(self, number: int) -> None:
        """A host does nothing wrong any more."""
        self._host(number).heal()

    def lose(self, _: int) -> None:
        """The second host loses some time of before."""
        now_us = self._network.now_us
        self._host(1).lose(now_us - 200_000_000, now_us - 90_000_000)

    def cut(self, number: int) -> None:
        """The next connection to each host is cut after so many bytes."""
        for host in self._network.hosts:
            host.faults.cuts.append(number)

    def end(self) -> None:
        """All faults end."""
        for host in self._network.hosts:
            host.heal()
            host.up()

    def _host(self, number: int) -> Jetstream:
        return self._network.hosts[number % len(self._network.hosts)]
