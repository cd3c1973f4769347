"""Hours of TweetDock against the stand-in X API in seconds: in memory, by a time that is told."""

import threading
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from listening import Cursors, Listening
from standins import in_memory
from standins.x_api import OAuth1Keys, XApi
from standins.x_posts import milliseconds

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Grade
from tweetdock.core.post import Batch, Trouble
from tweetdock.settings.gauge import Settings
from tweetdock.settings.networks import XSettings
from tweetdock.settings.x_query import build_query
from tweetdock.sources.polling import Poller, Source
from tweetdock.sources.x.budget import Budget
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


def x_settings(url: str, keys: OAuth1Keys | None = None, **env: str) -> XSettings:
    """X's settings of who asks the API at `url`: an app by its token, or a user by four keys."""
    said = {"TWEETDOCK_HASHTAGS": "dockercon", "X_API_URL": url}
    if keys:
        said |= {f"X_{name.upper()}": key for name, key in asdict(keys).items()}
    else:
        said |= {"TWEETDOCK_SOURCES": "x,x-stream", "X_BEARER_TOKEN": TOKEN}
    return Settings.from_env(said | env).x


class Simulation(Listening):
    """One X source, polled, and the gauge that it fills.

    by_wire: every exchange takes a socket, not only those in which that is what goes wrong.
    """

    def __init__(
        self,
        api: XApi,
        time: Time,
        *,
        machine_is_off_by: float = 0.0,
        answer_seconds: float = 0.0,
        keys: OAuth1Keys | None = None,
        by_wire: bool = False,
        budget: Budget | None = None,
        **env: str,
    ) -> None:
        self.api, self.time, self.budget = api, time, budget or Budget()

        def takes() -> None:
            time.seconds += answer_seconds / 2

        api.takes = takes
        settings = Settings.from_env(
            {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": TOKEN, **env}
        )
        self.window_ms = round(settings.window_seconds * 1000)
        self._truth = Truth(api)
        self._stopping = threading.Event()
        self.waits: list[float] = []
        self.saves: Callable[[], bool] = lambda: False  # asked after each message

        def make(clock: Clock, cursor: Cursors) -> list[Source]:
            query = build_query(settings.hashtags)
            source = XSearch(
                lambda: (query,),
                x_settings(api.url, keys),
                clock=clock,
                window_seconds=settings.window_seconds,
                poll_seconds=settings.poll_seconds,
                keeps_raw=True,
                cursor=cursor("x"),
                budget=self.budget,
            )
            if not by_wire:
                in_memory.mount(source._client._session, api.url, api.answer)
            return [source]

        super().__init__(
            settings.gauge, time, make, off_by=machine_is_off_by, stepped=self._stop_polling
        )

    @property
    def source(self) -> XSearch:
        """The source that is polled."""
        (source,) = self.sources
        assert isinstance(source, XSearch)
        return source

    def run(self, until: float, after_poll: Callable[[], Any] = lambda: None) -> None:
        """Poll until the time is `until`; `after_poll` is called after each."""

        def wait(seconds: float) -> None:
            after_poll()
            self.waits.append(seconds)
            # A poll takes some time, too: none would let a retry without pause go unseen.
            self.time.seconds += max(seconds, 0.01)
            if self.time.seconds >= until:
                self._stop_polling()

        while True:
            self._stopping = threading.Event()
            Poller(self.source, self, self._stopping, wait, self.time).run()
            if self.time.seconds >= until:
                return

    def poll(self) -> None:
        """Poll once."""
        self.run(self.time.seconds)

    def deliver(self, message: Batch | Trouble) -> None:
        """Count a message, and save now and then."""
        super().deliver(message)
        if isinstance(message, Batch) and self.saves():
            self.save()

    def assert_honest(self) -> None:
        """No count is above the truth, and an exact one is the truth as far as it is certain.

        And nothing is archived twice.
        """
        assert len(self.archived) == len(set(self.archived))
        reading = self.read()
        since = reading.at_ms - self.window_ms  # by a clock as near as a Date header lets it
        most = self._truth.count(since, self.time.ms)
        assert reading.posts <= most[0]
        assert reading.authors <= most[1]
        if reading.grade is Grade.EXACT:
            least = self._truth.count(since, min(reading.certain_ms, self.time.ms))
            assert reading.posts >= least[0]
            assert reading.authors >= least[1]
        else:
            assert reading.sources["x"].detail

    def assert_true(self, but_for: str = "") -> None:
        """The counts are the truth of this moment, and said to be; `but_for` excuses the latter."""
        truth = self._truth.count(self.clock.now_ms() - self.window_ms, self.time.ms)
        self.assert_exact(truth, but_for)

    def _stop_polling(self) -> None:
        self._stopping.set()


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
