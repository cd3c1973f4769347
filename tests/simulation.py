"""Hours of TweetDock against the stand-in X API in seconds: in memory, by a time that is told."""

import threading
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from standins import in_memory
from standins.x_api import XApi
from standins.x_posts import milliseconds

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Grade
from tweetdock.core.gauge import Bookmark, Gauge, Saved
from tweetdock.core.post import Batch, Trouble
from tweetdock.core.reading import Reading
from tweetdock.settings.gauge import Settings
from tweetdock.settings.x_query import build_query
from tweetdock.sources.http import WHOLE_SECONDS
from tweetdock.sources.polling import Poller
from tweetdock.sources.x.client import Credentials
from tweetdock.sources.x.search import XSearch

START = 1_790_000_000.0
TOKEN = "a-bearer-token"


@dataclass
class Time:
    """Seconds since the epoch, moved by hand."""

    seconds: float = START

    def __call__(self) -> float:
        return self.seconds

    @property
    def ms(self) -> int:
        return round(self.seconds * 1000)


class Simulation:
    """One X source, polled, and the gauge that it fills.

    by_wire: every exchange takes a socket, not only those in which that is what goes wrong.
    """

    def __init__(
        self,
        api: XApi,
        time: Time,
        *,
        machine_is_off_by: float = 0.0,
        whole_seconds: float = WHOLE_SECONDS,
        answer_seconds: float = 0.0,
        credentials: Credentials | None = None,
        by_wire: bool = False,
        **env: str,
    ) -> None:
        self.api, self.time = api, time

        def takes() -> None:
            time.seconds += answer_seconds / 2

        api.takes = takes
        self._settings = Settings.from_env(
            {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": TOKEN, **env}
        )
        self._by_wire = by_wire
        self._machine_is_off_by = machine_is_off_by
        self._whole_seconds = whole_seconds
        self._credentials = credentials or Credentials(bearer_token=TOKEN)
        self.window_ms = round(self._settings.window_seconds * 1000)
        self._truth = Truth(api)
        self.words: list[Batch | Trouble] = []
        self.waits: list[float] = []
        self.archived: list[str] = []  # versions of posts, as they would stand in an archive
        self.saves: Callable[[], bool] = lambda: False  # asked after each word
        self._saved = Saved(salt=b""), Bookmark()
        self.restart()

    def restart(self) -> None:
        """End as by a kill, and begin with what was saved last."""
        saved, bookmark = self._saved
        self.source = self._make_source(bookmark)
        if not self._by_wire:
            in_memory.mount(self.source._client._session, self.api.url, self.api.answer)
        self.gauge = Gauge(self._settings.gauge, [self.source.feed], self.time.ms, saved)
        self.gauge.recall_archived("x", self.archived, self.time.ms)

    def _make_source(self, bookmark: Bookmark) -> XSearch:
        time, settings = self.time, self._settings
        return XSearch(
            build_query(settings.hashtags),
            self._credentials,
            clock=Clock(wall=lambda: time() + self._machine_is_off_by, monotonic=time),
            api_url=self.api.url,
            window_seconds=settings.window_seconds,
            poll_seconds=settings.poll_seconds,
            look_back_seconds=settings.x.look_back_seconds,
            whole_seconds=self._whole_seconds,
            keeps_raw=True,
            bookmark=bookmark,
        )

    def _save(self, cursor: str) -> None:
        seen = self.gauge.seen
        saved = Saved(salt=b"", marks=list(self.gauge.marks()), seen=seen)
        self._saved = saved, Bookmark(cursor, seen["x"].spans)

    def run(self, until: float, after_poll: Callable[[], Any] = lambda: None) -> None:
        """Poll until the time is `until`; `after_poll` is called after each."""
        stopping = threading.Event()

        def wait(seconds: float) -> None:
            after_poll()
            self.waits.append(seconds)
            # A poll takes some time, too: none would let a retry without pause go unseen.
            self.time.seconds += max(seconds, 0.01)
            if self.time.seconds >= until:
                stopping.set()

        Poller(self.source, self._deliver, stopping, wait).run()

    def poll(self) -> None:
        """Poll once."""
        self.run(self.time.seconds)

    def read(self) -> Reading:
        """The reading now."""
        return self.gauge.read(self.time.ms)

    @property
    def troubles(self) -> list[str]:
        """What the source said of its troubles."""
        return [word.detail for word in self.words if isinstance(word, Trouble)]

    def assert_honest(self) -> None:
        """No count is above the truth, and an exact one is the truth up to the usual lag.

        And nothing is archived twice.
        """
        assert len(self.archived) == len(set(self.archived))
        reading = self.read()
        since = self.time.ms - self.window_ms
        most = self._truth.count(since, self.time.ms)
        assert reading.posts <= most[0]
        assert reading.authors <= most[1]
        if reading.grade is Grade.EXACT:
            least = self._truth.count(since, self.time.ms - self.source.feed.lag_ms)
            assert reading.posts >= least[0]
            assert reading.authors >= least[1]
        else:
            assert reading.sources["x"].detail

    def assert_true(self, but_for: str = "") -> None:
        """The counts are the truth of this moment, and said to be; `but_for` excuses the latter."""
        reading = self.read()
        if but_for and but_for in reading.sources["x"].detail:
            reading = replace(reading, grade=Grade.EXACT)
        truth = self._truth.count(self.time.ms - self.window_ms, self.time.ms)
        assert (reading.posts, reading.authors, reading.grade) == (*truth, Grade.EXACT)

    def _deliver(self, word: Batch | Trouble) -> None:
        self.words.append(word)
        fresh = self.gauge.deliver(word, self.time.ms)
        self.archived += [raw.version for raw in fresh.raw]
        if isinstance(word, Batch) and self.saves():
            self._save(word.cursor)


class Truth:
    """What X's posts really amount to, by brute force; retweets do not count."""

    def __init__(self, api: XApi) -> None:
        self._api = api
        self._known = 0
        self._posts: list[tuple[int, str, str]] = []

    def count(self, since_ms: int, until_ms: int) -> tuple[int, int]:
        """Unique posts and authors in (since, until]."""
        changes = self._api.changes
        if self._known != changes:
            there = self._api.posts  # once: others may be adding to it
            posts = [post for post in there if "referenced_tweets" not in post]
            self._known = changes
            firsts = [(post["edit_history_tweet_ids"][0], post["author_id"]) for post in posts]
            self._posts = sorted((milliseconds(key), key, author) for key, author in firsts)
        span = self._posts[
            bisect_left(self._posts, (since_ms + 1,)) : bisect_left(self._posts, (until_ms + 1,))
        ]
        return len({key for _, key, _ in span}), len({author for _, _, author in span})
