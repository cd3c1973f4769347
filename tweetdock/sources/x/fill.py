"""X's recent search as the other channel of its stream: it reads what the stream did not bring."""

from collections.abc import Iterator
from typing import Any

from tweetdock.core.coverage import Spans
from tweetdock.core.errors import RefusedError, SourceError
from tweetdock.core.post import Batch, Feed
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
    """Asks X's search for each gap, and for what was read too young once more.

    client: books in the budget what it reads.
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
        self._is_in_trouble = False

    def poll(self, seen: Spans) -> Iterator[Batch]:
        """One search, a Batch a page, if there is a gap; SourceError when X does not deliver."""
        self._client.settle(seen)
        trouble = self._check_rules()
        due = self._state.due_search(seen)
        if due is None:
            if trouble:
                self._is_in_trouble = True
                raise trouble
            if self._is_in_trouble:  # what could not be read has become old: no trouble any more
                self._is_in_trouble = False
                yield self._batch(billed=0)
            return
        self._is_in_trouble = True
        search, token = Search(due.request), None
        while True:
            try:
                found = self._client.search(due.text, due.request, token)
            except RefusedError as refusal:
                raise explain(refusal, self._state.clock.now_ms()) from refusal
            self._is_in_trouble = False
            token = found.page.next_token
            span = search.add_page(found.page, found.served_ms)
            yield self._batch(
                posts=found.page.posts,
                covers=self._state.read(due, span, found.served_ms),
                unreadable=tuple(entry.at_ms for entry in found.page.unreadable),
                raw=found.page.raw,
                has_more=token is not None,
                server_ms=found.server_ms,
                billed=found.billed + self._state.owed(),
            )
            if token is None:
                return
            self._check_rules()

    def pause(self, seen: Spans) -> Pause:
        """A moment, or as long as the rate limit wants it while there is more to ask."""
        limit = self._client.limit
        if limit is None or self._state.due_search(seen) is None:
            return Pause(IDLE_SECONDS)
        seconds = limit.pause_seconds(self._state.clock.now_ms(), 0.0)
        if seconds < LONG_SECONDS:
            return Pause(seconds)
        return Pause(seconds, f"X's rate limit leaves one search every {duration(seconds)}")

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

    def _batch(self, **fields: Any) -> Batch:
        return Batch(
            source=self.feed.source,
            channel=self.channel,
            cursor=self._state.cursor(),
            remark=self._budget.remark(self._state.clock.now_ms()),
            **fields,
        )
