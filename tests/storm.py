"""X's stream, Bluesky and Mastodon at once while everything breaks; the needle is asked all along.

The real daemon against three stand-ins that know the truth, in real time. By hand, for minutes:

    python tests/storm.py --seconds 240 --seed 7
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from standins import x_faults
from standins.jetstream import Jetstream, Network
from standins.jetstream_events import delete_post
from standins.jetstream_events import make_post as make_bluesky_post
from standins.mastodon import Fault, Mastodon, refusal
from standins.mastodon_index import Note
from standins.x_api import XApi
from standins.x_posts import make_post as make_x_post
from standins.x_posts import milliseconds

from tweetdock.core.coverage import Grade
from tweetdock.daemon import Daemon
from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board
from tweetdock.threads import Crash, WatchedThread

if TYPE_CHECKING:
    from tweetdock.core.reading import Reading

TAG = "dockercon"
WINDOW_SECONDS = 900
POSTS_BEFORE = 150  # of each network
TURN_SECONDS = 0.25
CALM_SECONDS = 150.0  # within which all is to be known again
LAGS_MS = {"x-stream": 110_000, "bluesky": 15_000, "mastodon": 76_000}
NETWORK_OF = {"x-stream": "x", "bluesky": "bluesky", "mastodon": "mastodon"}


class Known(NamedTuple):
    """A post of the truth: known from a moment on, by somebody, perhaps not for long."""

    created_ms: int
    key: str
    author: str


class Truth:
    """What there is on each network, by brute force."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._posts: dict[str, list[Known]] = {source: [] for source in NETWORK_OF}
        self._removed: set[str] = set()

    def add(self, source: str, created_ms: int, key: str, author: str) -> None:
        """A post is there from now on."""
        with self._lock:
            insort(self._posts[source], Known(created_ms, key, author))

    def remove(self, key: str) -> None:
        """It is there no more, or soon."""
        with self._lock:
            self._removed.add(key)

    def count(
        self, source: str, since_ms: int, until_ms: int, *, with_removed: bool
    ) -> tuple[int, int]:
        """Unique posts and authors in (since, until]."""
        with self._lock:
            posts = self._posts[source]
            first = bisect_right(posts, (since_ms, "\uffff"))
            found = posts[first : bisect_left(posts, (until_ms + 1,))]
            there = [post for post in found if with_removed or post.key not in self._removed]
            return len(there), len({post.author for post in there})


class Storm:
    """The three networks, what goes wrong with them, and who looks at the dials meanwhile."""

    def __init__(self, house: ExitStack, folder: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.truth = Truth()
        self.api = house.enter_context(XApi(now=time.time))
        began = time.time() - WINDOW_SECONDS * 1.2
        self.network = Network(lambda: began, rate=5.0)
        self.jetstreams = [house.enter_context(Jetstream(self.network)) for _ in range(2)]
        self.servers = [house.enter_context(Mastodon(heartbeat_seconds=5)) for _ in range(2)]
        self.readings = 0
        self.exact: Counter[str] = Counter()
        self.lies: list[str] = []
        self.crashes: list[Crash] = []
        self.spoilt_ms: list[float] = []
        self._number = 0
        self._bluesky: list[tuple[int, int]] = []
        self._notes: list[Note] = []
        self._last: Reading | None = None
        self._read = threading.Condition()
        self._settings = Settings.from_env(
            {
                "TWEETDOCK_HASHTAGS": TAG,
                "TWEETDOCK_SOURCES": "x-stream,bluesky,mastodon",
                "TWEETDOCK_WINDOW_SECONDS": str(WINDOW_SECONDS),
                "TWEETDOCK_POLL_SECONDS": "2",
                "TWEETDOCK_STATE_DIR": str(folder / "state"),
                "TWEETDOCK_WEB": "off",
                "TWEETDOCK_SERVO_BACKEND": "mock",
                "TWEETDOCK_JETSTREAM": " ".join(host.url for host in self.jetstreams),
                "TWEETDOCK_MASTODON": " ".join(server.url for server in self.servers),
                "TWEETDOCK_MASTODON_TOKENS": f"{self.servers[0].host}={self.servers[0].token}",
                "X_BEARER_TOKEN": self.api.bearer,
                "X_API_URL": self.api.url,
            }
        )
        now_ms = round(time.time() * 1000)
        for ago_ms in sorted(self.dice.sample(range(WINDOW_SECONDS * 1100), POSTS_BEFORE))[::-1]:
            self._at(now_ms - ago_ms)
            for write in (self._write_x, self._write_bluesky, self._write_mastodon):
                write(now_ms - ago_ms)
        # What went on beside has done so for the whole window.
        self.network.now = time.time

    def _at(self, ms: int) -> None:
        self.network.now = lambda: ms / 1000
        self.network.tick()

    def run(self, seconds: float, *, waits: bool) -> None:
        """Let it blow for so long, then wait until all is known again, or nearly for ever."""
        stopping = threading.Event()

        def work() -> None:
            with Daemon(self._settings, stopping, threading.Event()) as daemon:
                daemon.run(self._look)

        gauge = WatchedThread("gauge", work, self.crashes.append)
        try:
            self._blow(seconds)
            if waits:
                self._calm()
                self._wait_for_the_truth()
        finally:
            stopping.set()
            assert gauge.join(15), "the daemon does not end"
            for crash in self.crashes:
                raise crash.error

    def _blow(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        pace = min(1.0, seconds / 20)
        next_fault = time.monotonic() + 5 * pace
        waiting = threading.Event()
        while time.monotonic() < until and not self.crashes:
            self._write()
            if time.monotonic() >= next_fault:
                self.dice.choice(self._faults())()
                next_fault = time.monotonic() + pace * self.dice.uniform(1, 6)
            waiting.wait(TURN_SECONDS)

    def _write(self) -> None:
        now_ms = round(time.time() * 1000)
        for write in (self._write_x, self._write_bluesky, self._write_mastodon):
            if self.dice.random() < 0.4:
                write(now_ms)
        if self._bluesky and self.dice.random() < 0.05:
            number, author = self.dice.choice(self._bluesky)
            self.truth.remove(f"did:plc:{author}/3k{number}")
            self.network.add(delete_post(number, author=author))
        self.network.tick()
        for server in self.servers:
            server.tick()
        self.api.stream.tick()

    def _write_x(self, at_ms: int) -> None:
        self._number += 1
        author = self.dice.randrange(1, 60)
        post = make_x_post(at_ms, author, sequence=self._number % 4096)
        if self.dice.random() < 0.2:
            post["_streamed_ms"] = at_ms + self.dice.randrange(6_000)
        self.truth.add("x-stream", at_ms, post["id"], str(author))
        self.api.add(post)

    def _write_bluesky(self, at_ms: int) -> None:
        self._number += 1
        author = self.dice.randrange(1, 60)
        self.truth.add("bluesky", at_ms, f"did:plc:{author}/3k{self._number}", str(author))
        event = make_bluesky_post(self._number, self.dice.choice(["DockerCon", TAG]), author=author)
        self.network.add(event, at_ms * 1000)
        self._bluesky.append((self._number, author))

    def _write_mastodon(self, at_ms: int) -> None:
        self._number += 1
        author, home = self.dice.randrange(1, 60), self.dice.choice(self.servers)
        address = f"https://home.example/@{author}"
        note = Note(f"https://home.example/{self._number}", address, at_ms, (TAG,))
        # A post that both servers know is one post.
        for server in self.servers:
            if server is home or self.dice.random() < 0.5:
                server.add(note, is_own=server is home)
        self.truth.add("mastodon", at_ms, note.uri, address)

    def _faults(self) -> list[Callable[[], object]]:
        api, dice = self.api, self.dice
        host, server = dice.choice(self.jetstreams), dice.choice(self.servers)
        spoilt = Fault(change=lambda _: {"unexpected": True})
        return [
            api.stream.end,
            lambda: api.stream.end(by_reset=True),
            lambda: api.stream.cut(dice.randrange(300)),
            lambda: api.stream.fail(x_faults.service_unavailable()),
            self._spoil(lambda: api.stream.say(b'{"data":{"id":"12')),
            self._spoil(lambda: api.fail(x_faults.service_unavailable(), x_faults.cut(900))),
            self._spoil(lambda: api.fail(x_faults.html_200(), x_faults.reset())),
            lambda: host.close_all(1011, "ConsumerTooSlow"),
            lambda: self._for_a_while(host.down, host.up),
            lambda: host.faults.cuts.append(dice.randrange(20_000)),
            lambda: setattr(host.faults, "repeats", True),
            lambda: setattr(host.faults, "fragments", True),
            server.end_streams,
            lambda: self._for_a_while(server.down, server.up),
            lambda: server.fail(refusal(503), Fault(cut=dice.randrange(900)), spoilt),
            lambda: server.send(b"event: update\ndata: {\n\n"),
        ]

    def _spoil(self, do: Callable[[], object]) -> Callable[[], object]:
        """What makes X's search read something once more."""

        def spoil() -> None:
            self.spoilt_ms.append(time.time() * 1000)
            do()

        return spoil

    def _for_a_while(self, begin: Callable[[], object], end: Callable[[], object]) -> None:
        begin()
        timer = threading.Timer(self.dice.uniform(0.5, 5), end)
        timer.daemon = True
        timer.start()

    def _calm(self) -> None:
        threading.Event().wait(6)  # what is down for a while comes up
        self.api.heal()
        self.api.stream.heal()
        for host in self.jetstreams:
            host.heal()
        for server in self.servers:
            server.heal()

    def _look(self, board: Board) -> None:
        """Each reading of the gauge, in its own thread: none may be a lie."""
        reading = board.reading
        assert reading
        since_ms = reading.at_ms - WINDOW_SECONDS * 1000
        for name, source in reading.sources.items():
            most = self.truth.count(name, since_ms, reading.at_ms, with_removed=True)
            if source.posts > most[0] or source.authors > most[1]:
                self.lies.append(f"{name}: more than there are: {source} {most}")
            if source.grade is not Grade.EXACT:
                continue
            self.exact[name] += 1
            until_ms = reading.at_ms - LAGS_MS[name]
            least = self.truth.count(name, since_ms, until_ms, with_removed=False)
            if source.posts < least[0] or source.authors < least[1]:
                self.lies.append(f"{name}: not exact: {source} {least}")
        with self._read:
            self.readings += 1
            self._last = reading
            self._read.notify_all()

    def _wait_for_the_truth(self) -> None:
        until = time.monotonic() + CALM_SECONDS
        waiting = threading.Event()
        while not self.is_true() and not self.crashes:
            assert time.monotonic() < until, f"{self._last} is not {self.sums()}"
            # The firehose goes on; it is the hashtag that is quiet.
            self.network.tick()
            self.api.stream.tick()
            self.api.stream.beat()
            for server in self.servers:
                server.tick()
            waiting.wait(TURN_SECONDS)

    def is_true(self) -> bool:
        """Whether the last reading is the truth, and says so."""
        with self._read:
            last = self._last
        if last is None or last.grade is not Grade.EXACT:
            return False
        since_ms = last.at_ms - WINDOW_SECONDS * 1000
        for name, source in last.sources.items():
            true = self.truth.count(name, since_ms, last.at_ms, with_removed=False)
            if (source.posts, source.authors) != true:
                return False
        return last.posts == sum(source.posts for source in last.sources.values())

    def sums(self) -> dict[str, tuple[int, int]]:
        """The truth now."""
        now_ms = round(time.time() * 1000)
        since_ms = now_ms - WINDOW_SECONDS * 1000
        return {n: self.truth.count(n, since_ms, now_ms, with_removed=False) for n in NETWORK_OF}

    def unexplained(self) -> list[str]:
        """Posts that X's search returned more often than gaps and the look-back explain."""
        times = Counter(i for request in self.api.requests for i in request.ids_returned)
        reasons = sorted(
            [connect.time * 1000 for connect in self.api.stream.connects] + self.spoilt_ms
        )
        found = []
        for post_id, number in times.items():
            # A gap begins 60 s before the last line, and what was read of it soon after it was
            # written is read once more when it is older; so is an answer that was lost.
            at_ms = milliseconds(post_id)
            near = bisect_right(reasons, at_ms + 240_000) - bisect_left(reasons, at_ms - 2_000)
            if number > 2 + near:
                found.append(f"{post_id} was read {number} times, for {near} reasons")
        return found


def storm(folder: Path, *, seconds: float, seed: int, waits: bool = True) -> Storm:
    """Run one; what it found out is in it. waits: until all is known again."""
    with ExitStack() as house:
        one = Storm(house, folder, seed)
        one.run(seconds, waits=waits)
    return one


def main() -> int:
    """Run one by hand and tell of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        one = storm(Path(folder), seconds=arguments.seconds, seed=arguments.seed)
    connects = len(one.api.stream.connects)
    sys.stdout.write(
        f"{one.readings} readings, exact: {dict(one.exact)}; {connects} connects to X's stream; "
        f"truth {one.sums()}; lies: {one.lies[:5]}; unexplained: {one.unexplained()[:5]}\n"
    )
    return 1 if one.lies or one.unexplained() else 0


if __name__ == "__main__":
    sys.exit(main())
