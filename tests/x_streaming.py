"""Hours of X's stream and its search against the stand-in in seconds, by a time that is told.

The stream takes a socket; what else is asked is asked in memory, unless the wire is what fails.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Self

import requests
from listening import Cursors, Listening
from requests.adapters import BaseAdapter
from simulation import TOKEN, Time, x_settings
from standins import in_memory
from standins.x_api import XApi
from standins.x_posts import milliseconds
from standins.x_query import parse_query

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Known
from tweetdock.core.errors import SourceError
from tweetdock.core.post import Batch, Post, Span, Trouble
from tweetdock.settings.gauge import Settings
from tweetdock.settings.x_query import build_queries
from tweetdock.sources.polling import Source, Waits
from tweetdock.sources.x.budget import Budget
from tweetdock.sources.x.stream import XStream

BEAT_SECONDS = 8.0


class Wire(BaseAdapter):
    """Sends as another adapter does, and knows how many lines of the last answer were read."""

    def __init__(self, wire: BaseAdapter) -> None:
        super().__init__()
        self._wire = wire
        self.lines = 0

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """Send it."""
        self.lines = 0
        response = self._wire.send(request, *args, **kwargs)
        self._raw, response.raw = response.raw, self
        return response

    def read1(self, amount: int, *, decode_content: bool) -> bytes:
        """Wait for the next piece."""
        piece: bytes = self._raw.read1(amount, decode_content=decode_content)
        self.lines += piece.count(b"\n")
        return piece

    def close(self) -> None:
        """Leave the answer."""
        self._raw.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


class Streaming(Listening):
    """Stream and search of `x-stream` in turns, and what a gauge makes of them.

    told: the sentences of their troubles, each with its channel.
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
        machine_is_off_by: float = 0.0,
        keeps_raw: bool = True,
        token: str = TOKEN,
        budget: Budget | None = None,
    ) -> None:
        self.api, self.time = api, time
        self.window_ms = round(window_seconds * 1000)
        x = x_settings(
            api.url,
            X_BEARER_TOKEN=token,
            TWEETDOCK_FOLLOW=" ".join(follow),
            TWEETDOCK_X_QUERY=query,
        )
        names = [account.name for account in x.follow if not account.is_list]
        self._hashtags = hashtags
        self.wanted = build_queries(hashtags, names, query).searches
        self._true: list[tuple[int, str]] = []
        self._true_of: tuple[int, tuple[str, ...]] | None = None
        self.told: list[tuple[str, str]] = []
        self.errors: list[SourceError] = []

        def make(clock: Clock, cursor: Cursors) -> list[Source]:
            self.stream = XStream(
                hashtags,
                x,
                clock=clock,
                window_seconds=window_seconds,
                keeps_raw=keeps_raw,
                budget=budget or Budget(),
                cursor=cursor("x-stream"),
            )
            self.search = self.stream.search
            self._begin()
            return [self.stream, self.search]

        settings = Settings.from_env(
            {
                "TWEETDOCK_HASHTAGS": "dockercon",
                "X_BEARER_TOKEN": TOKEN,
                "TWEETDOCK_WINDOW_SECONDS": str(round(window_seconds)),
            }
        )
        super().__init__(settings.gauge, time, make, off_by=machine_is_off_by)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the stream as at the end of the program."""
        self.search.cut()
        self._end(self.stream)

    def _end(self, stream: XStream) -> None:
        stream.cut()
        with suppress(SourceError):
            while stream._stream:  # what lies ready is read to its end
                list(stream.poll(Known()))

    def restart(self) -> None:
        """End as by a kill, and begin with what was saved last, which is all that there was."""
        if hasattr(self, "stream"):
            self.save()
            self.close()
        super().restart()

    def _begin(self) -> None:
        for session in (self.search._client._session, self.stream._client._session):
            in_memory.mount(session, self.api.url, self.api.answer)
        session = self.stream._client._stream_session
        self._wire = Wire(session.get_adapter(self.api.url))
        session.mount(self.api.url, self._wire)
        self._stream_due = self._search_due = self.time.seconds
        self._waits = {channel: Waits() for channel in ("search", "stream")}

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
            if self.time.seconds >= self._search_due:
                self._search()
            if self.time.seconds >= until:
                return
            # A poll takes some time, too: none would let a retry without pause go unseen.
            next_due = min(due, self._stream_due, self._search_due, until)
            self.time.seconds = max(self.time.seconds + 0.01, next_due)

    def _listen(self) -> None:
        if self.stream._stream:
            self.api.stream.beat()
            if self.api.stream.is_silent:  # why wait for what will not come?
                for wire in self.stream._client._stream_session._connections._open:
                    wire.settimeout(0.05)
        self._stream_due = self.time.seconds + BEAT_SECONDS
        stream = self.stream
        try:
            while self._listen_once(stream):
                pass
        except SourceError as error:
            wait = self._note("stream", error)
            if "said nothing" in str(error):
                self.time.seconds += 21
            self._stream_due = self.time.seconds + wait

    def _listen_once(self, stream: XStream) -> bool:
        """Read a piece; whether there is more that was sent."""
        for batch in stream.poll(self.seen("x-stream")):
            self.deliver(batch)
            if self.stream is not stream:  # the clock has stepped
                self._end(stream)
                return False
        assert stream.pause(Known()).seconds == 0
        return self._wire.lines < self.api.stream.lines

    def _search(self) -> None:
        try:
            search = self.search
            for batch in search.poll(self.seen("x-stream")):
                self.deliver(batch)
                if self.search is not search:
                    search.cut()
                    return
        except SourceError as error:
            wait = self._note("search", error)
        else:
            wait = self.search.pause(self.seen("x-stream")).seconds
            self._waits["search"].worked()
        self._search_due = self.time.seconds + wait

    def _note(self, channel: str, error: SourceError) -> float:
        """Note a trouble; how many seconds to wait."""
        assert TOKEN not in f"{error} {error.__cause__} {error!r}"
        self.told.append((channel, str(error)))
        self.errors.append(error)
        return self._waits[channel].after(error, self.time())

    def deliver(self, message: Batch | Trouble) -> None:
        """Count a message."""
        if isinstance(message, Batch) and message.covers:
            assert message.covers.until_ms <= self.time.ms + 1000  # a Date is cut to the second
        super().deliver(message)

    @property
    def missing(self) -> list[Span]:
        """What of the window is a gap now."""
        now_ms, seen = self.clock.now_ms(), self.seen("x-stream")
        lag_ms = self.stream.feed.lag_ms + seen.late_ms
        return seen.gaps(Span(now_ms - self.window_ms, now_ms - lag_ms))

    @property
    def cursor(self) -> str:
        """Where both left off."""
        return self.cursors["x-stream"]

    @property
    def unreadable(self) -> list[int]:
        """When posts were written that could not be read."""
        return [moment for batch in self.batches for moment in batch.unreadable]

    @property
    def posts(self) -> dict[str, Post]:
        """The posts that were delivered and not removed, by their keys."""
        found: dict[str, Post] = {}
        for batch in self.batches:
            for post in batch.posts:
                found.setdefault(post.key, post)
            for gone in batch.removals:
                found.pop(gone.key, None)
        return found

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
        """Nothing is counted that is not there, and of what is certain nothing is left out."""
        since_ms = self.time.ms - self.window_ms
        most = self.truth(since_ms, self.time.ms)
        posts, authors = self.count(since_ms, self.time.ms)
        assert posts <= most[0]
        assert authors <= most[1]
        for since, until in self.seen("x-stream"):
            span = max(since, since_ms), until
            assert self.count(*span) == self.truth(*span)

    def assert_true(self) -> None:
        """There is no gap, and all counts are the truth of this moment."""
        assert not self.missing
        since_ms = self.time.ms - self.window_ms
        assert self.count(since_ms, self.time.ms) == self.truth(since_ms, self.time.ms)
