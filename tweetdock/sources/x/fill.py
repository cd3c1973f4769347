"""X's recent search as the other channel of its stream: it reads what the stream did not bring."""

from collections.abc import Iterator
from dataclasses import replace

from tweetdock.core.coverage import Spans
from tweetdock.core.errors import RefusedError, SourceError
from tweetdock.core.post import Batch, Feed, Span
from tweetdock.core.times import duration
from tweetdock.sources.polling import Pause
from tweetdock.sources.x.budget import Budget
from tweetdock.sources.x.client import XClient, XStreamClient, explain
from tweetdock.sources.x.plan import Search
from tweetdock.sources.x.rules import parse_rules
from tweetdock.sources.x.stream_state import StreamState

IDLE_SECONDS = 1.0
LONG_SECONDS = 10.0


class XFill:
    """Asks X's search for each gap that `state` knows of, and what was read too young once more.

    client: tells `state` of a corrected clock, and books in the budget what it reads.
    stream_client: is asked now and then which rules there are, while the stream is open.
    """

    channel = "search"

    def __init__(
        self,
        feed: Feed,
        state: StreamState,
        client: XClient,
        stream_client: XStreamClient,
        budget: Budget,
    ) -> None:
        self.feed = feed
        self._state = state
        self._client = client
        self._stream_client = stream_client
        self._budget = budget
        self._read = Spans()  # by searches, not by the stream
        self._is_in_trouble = False

    def poll(self) -> Iterator[Batch]:
        """One search, a Batch a page, if there is a gap; SourceError when X does not deliver."""
        trouble = self._check_rules()
        found = self._state.due_search()
        if found is None:
            if trouble:
                self._is_in_trouble = True
                raise trouble
            if self._is_in_trouble:  # what could not be read has become old: no trouble any more
                self._is_in_trouble = False
                yield replace(self._batch(), billed=0)
            return
        self._is_in_trouble = True
        query, due = found
        search, token, first_ms = Search(due.request), None, 0
        while True:
            try:
                page, served_ms, was_moved, billed = self._client.search(query, due.request, token)
            except RefusedError as refusal:
                raise explain(refusal, self._state.clock.now_ms()) from refusal
            self._is_in_trouble = False
            span = search.add_page(page, served_ms)
            token = page.next_token
            first_ms = first_ms or served_ms
            known = self._state.read(query, due, span, first_ms)
            self._settle(known, served_ms)
            has_more = token is not None and not was_moved
            for piece in known[:-1]:
                yield replace(self._batch(), covers=piece, has_more=True, billed=0)
            yield replace(
                self._batch(),
                posts=page.posts,
                covers=known[-1] if known else None,
                unreadable=tuple(entry.at_ms for entry in page.unreadable),
                raw=page.raw,
                has_more=has_more,
                billed=billed + self._state.owed(),
            )
            if not has_more:
                return
            self._check_rules()

    def pause(self) -> Pause:
        """A moment, or as long as the rate limit wants it while there is more to ask."""
        limit = self._client.limit
        if limit is None or self._state.due_search() is None:
            return Pause(IDLE_SECONDS)
        seconds = limit.pause_seconds(self._state.clock.now_ms(), 0.0)
        if seconds < LONG_SECONDS:
            return Pause(seconds)
        return Pause(seconds, f"X's rate limit leaves one search every {duration(seconds)}")

    def server_ms(self) -> int | None:
        """X's time, once it has said so."""
        return self._client.server_ms() or self._state.server_ms()

    def cut(self) -> None:
        """End the request under way."""
        self._client.cut()
        self._stream_client.cut_rules_beside_stream()

    def _check_rules(self) -> SourceError | None:
        """Check if the stream's rules are still there, if it is time; here, as it must not wait."""
        asked_ms = self._state.clock.now_ms()
        if not self._state.check_is_due(asked_ms):
            return None
        try:
            there = parse_rules(self._stream_client.rules_beside_stream())
        except RefusedError as refusal:
            # Not with the wait that X wants: gaps are to be filled meanwhile.
            trouble = explain(refusal, asked_ms, "stream")
            return SourceError(trouble.what, trouble.cure)
        except SourceError as error:
            return error
        self._state.rules_are((rule.id for rule in there), asked_ms)
        return None

    def _settle(self, known: list[Span], served_ms: int) -> None:
        self._read.forget_before(served_ms - self._state.window_ms)
        for span in known:
            self._read.add(span)
        self._client.settle(self._read)

    def _batch(self) -> Batch:
        return Batch(
            source=self.feed.source,
            channel=self.channel,
            server_ms=self.server_ms(),
            cursor=self._state.cursor(),
            remark=self._budget.remark(self._state.clock.now_ms()),
        )
