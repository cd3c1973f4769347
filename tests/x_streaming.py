"""Hours of X's stream and its search against the stand-in in seconds, by a time that is told.

The stream takes a socket; what else is asked is asked in memory, unless the wire is what fails.
"""

from collections.abc import Callable, Sequence
from typing import Self

from simulation import TOKEN, Time
from standins import in_memory
from standins.x_api import XApi
from standins.x_posts import milliseconds
from standins.x_query import parse_query

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import SourceError
from tweetdock.core.gauge import Bookmark
from tweetdock.core.post import Batch, Post, Span
from tweetdock.retry import backoff
from tweetdock.settings.parse import accounts
from tweetdock.settings.x_query import build_queries
from tweetdock.sources.http import WHOLE_SECONDS
from tweetdock.sources.x.budget import Budget
from tweetdock.sources.x.client import Credentials
from tweetdock.sources.x.stream import make_x_stream

BEAT_SECONDS = 8.0
_FIRST = Bookmark()


class Streaming:
    """Stream and search of `x-stream` in turns, and what a gauge makes of them, kept simply.

    troubles: their sentences, each with its channel.
    """

    def __init__(
        self,
        api: XApi,
        time: Time,
        *,
        hashtags: Sequence[str] = ("dockercon",),
        follow: Sequence[str] = (),
        query: str = "",
        window_seconds: float = 3600.0,
        look_back_seconds: float = 120.0,
        silence_seconds: float = 10.0,
        whole_seconds: float = WHOLE_SECONDS,
        machine_is_off_by: float = 0.0,
        keeps_raw: bool = True,
        token: str = TOKEN,
        budget: Budget | None = None,
    ) -> None:
        self.api, self.time = api, time
        self._machine_is_off_by = machine_is_off_by
        self.window_ms = round(window_seconds * 1000)
        followed = accounts(" ".join(follow))
        names = [account.name for account in followed if not account.is_list]
        self._options = {
            "window_seconds": window_seconds,
            "look_back_seconds": look_back_seconds,
            "silence_seconds": silence_seconds,
            "whole_seconds": whole_seconds,
            "keeps_raw": keeps_raw,
            "follow": followed,
            "query": query,
            "budget": budget,
        }
        self._hashtags, self._token = hashtags, token
        self.wanted = build_queries(hashtags, names, query).searches
        self._true: list[tuple[int, str]] = []
        self._true_of: tuple[int, tuple[str, ...]] | None = None
        self.batches: list[Batch] = []
        self.troubles: list[tuple[str, str]] = []
        self.errors: list[SourceError] = []
        self.posts: dict[str, Post] = {}
        self.seen = Spans()
        self.unreadable: list[int] = []
        self.cursor = ""
        self.restart(_FIRST)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the stream as at the end of the program."""
        self.stream.cut()
        self.fill.cut()
        try:
            while True:  # what lies ready is read to its end
                list(self.stream.poll())
        except SourceError:
            assert not self.stream._connection.is_open

    def restart(self, bookmark: Bookmark | None = None) -> None:
        """End as by a kill, and begin with what was there last."""
        time = self.time
        if bookmark is not _FIRST:
            self.close()
        self.stream, self.fill = make_x_stream(
            self._hashtags,
            Credentials(bearer_token=self._token),
            clock=Clock(wall=lambda: time() + self._machine_is_off_by, monotonic=time),
            api_url=self.api.url,
            bookmark=Bookmark(self.cursor, tuple(self.seen)) if bookmark is None else bookmark,
            monotonic=time,
            **self._options,  # type: ignore[arg-type]  # by name, above
        )
        for session in (
            self.fill._client._session,
            self.fill._stream_client._session,
            self.fill._stream_client._beside_session,
        ):
            in_memory.mount(session, self.api.url, self.api.answer)
        self._count_lines()
        self._stream_due = self._fill_due = time.seconds
        self._fill_waits = backoff(1.0, 30.0)

    def _count_lines(self) -> None:
        connection, self._lines = self.stream._connection, 0
        read = connection.read

        def counted() -> list[bytes | None]:
            lines = read()
            self._lines += len(lines)
            return lines

        connection.read = counted  # type: ignore[method-assign]  # it is watched, not replaced

    def run(
        self, seconds: float, happen: Callable[[], object] = lambda: None, every: float = 5.0
    ) -> None:
        """Let so much time pass; `happen` is called now and then."""
        until, due = self.time.seconds + seconds, self.time.seconds
        while True:
            self.api.stream.tick()
            if self.time.seconds >= due:
                happen()
                due = self.time.seconds + every
            if self.time.seconds >= self._stream_due:
                self._listen()
            if self.time.seconds >= self._fill_due:
                self._search()
            if self.time.seconds >= until:
                return
            # A poll takes some time, too: none would let a retry without pause go unseen.
            next_due = min(due, self._stream_due, self._fill_due, until)
            self.time.seconds = max(self.time.seconds + 0.01, next_due)

    def _listen(self) -> None:
        if self.stream._connection.is_open:
            self.api.stream.beat()
            if self.api.stream.is_silent:  # why wait for what will not come?
                for wire in self.stream._connection._client._stream_session._connections._open:
                    wire.settimeout(0.05)
        self._stream_due = self.time.seconds + BEAT_SECONDS
        while True:
            if not self.stream._connection.is_open:
                self._lines = 0
            try:
                for batch in self.stream.poll():
                    self._take(batch)
            except SourceError as error:
                self._note("stream", error)
                if "said nothing" in str(error):
                    self.time.seconds += 21
                self._stream_due = self.time.seconds + (error.retry_after or 0.0)
                return
            assert self.stream.pause().seconds == 0
            if self._lines >= self.api.stream.lines:
                return

    def _search(self) -> None:
        try:
            for batch in self.fill.poll():
                self._take(batch)
        except SourceError as error:
            self._note("search", error)
            wait = next(self._fill_waits) if error.retry_after is None else error.retry_after
        else:
            self._fill_waits = backoff(1.0, 30.0)
            wait = self.fill.pause().seconds
        self._fill_due = self.time.seconds + wait

    def _note(self, channel: str, error: SourceError) -> None:
        assert TOKEN not in f"{error} {error.__cause__} {error!r}"
        self.troubles.append((channel, str(error)))
        self.errors.append(error)
        # The stream goes by X's own rules, not by a backoff.
        assert channel == "search" or error.retry_after is not None

    def _take(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.cursor = batch.cursor
        self.unreadable += batch.unreadable
        for post in batch.posts:
            self.posts.setdefault(post.key, post)
        for gone in batch.removals:
            self.posts.pop(gone.key, None)
        if batch.covers:
            assert batch.covers.until_ms <= self.time.ms
            self.seen.add(batch.covers)

    @property
    def missing(self) -> list[Span]:
        """What of the window is a gap now."""
        now_ms = self.time.ms
        return self.seen.gaps(Span(now_ms - self.window_ms, now_ms - self.stream.feed.lag_ms))

    def count(self, since_ms: int, until_ms: int) -> tuple[int, int]:
        """Posts and authors in (since, until], as they were told."""
        there = [post for post in self.posts.values() if since_ms < post.created_ms <= until_ms]
        return len(there), len({post.author for post in there})

    def truth(self, since_ms: int, until_ms: int) -> tuple[int, int]:
        """The same, as it is."""
        known = self.api.changes, tuple(self.wanted)
        if known != self._true_of:
            queries = [parse_query(text) for text in self.wanted]
            posts = [p for p in self.api.posts if any(query.matches(p) for query in queries)]
            firsts = {p["edit_history_tweet_ids"][0]: p["author_id"] for p in posts}
            self._true_of = known
            self._true = [(milliseconds(key), author) for key, author in firsts.items()]
        found = [author for at_ms, author in self._true if since_ms < at_ms <= until_ms]
        return len(found), len(set(found))

    def assert_honest(self) -> None:
        """Nothing is counted that is not there, and without a gap nothing is left out."""
        since_ms = self.time.ms - self.window_ms
        most = self.truth(since_ms, self.time.ms)
        posts, authors = self.count(since_ms, self.time.ms)
        assert posts <= most[0]
        assert authors <= most[1]
        if not self.missing:
            until_ms = self.time.ms - self.stream.feed.lag_ms
            assert self.count(since_ms, until_ms) == self.truth(since_ms, until_ms)

    def assert_true(self) -> None:
        """There is no gap, and all counts are the truth of this moment."""
        assert not self.missing
        since_ms = self.time.ms - self.window_ms
        assert self.count(since_ms, self.time.ms) == self.truth(since_ms, self.time.ms)
