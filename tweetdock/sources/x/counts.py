"""X's counts: how many posts there were, when there is no money left to read them."""

import json
from collections.abc import Sequence
from typing import Any, Protocol

from tweetdock.core.errors import SourceError
from tweetdock.core.post import Span, Tally
from tweetdock.core.times import parse_ms
from tweetdock.sources.x.budget import COUNTING_MS, Budget
from tweetdock.sources.x.pace import DAY_MS

INDEX_LAG_MS = 30_000  # the default end of what is counted, too: younger posts are not all known
MINUTE_MS = 60_000
LARGEST_COUNT = 10**12  # more posts than anybody will write in a week
_NO_COUNTS = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


class Client(Protocol):
    """Who can ask X for counts."""

    def count(self, query: str, span: Span) -> int:
        """How many posts there were; SourceError or RefusedError when there is no answer."""
        ...


class Counting:
    """Keeps the number of posts known from what is left of a day's money.

    It goes round for the rest of the day, so it becomes slower when there is less. Where it would
    be slower than the window it is of no use, and nothing is asked.

    queries: whose posts are added up; it cannot be told which posts are found by two of them.
    Without any there is no counting.
    """

    def __init__(
        self, client: Client, budget: Budget, queries: Sequence[str], window_seconds: float
    ) -> None:
        self._client = client
        self._budget = budget
        self._queries = tuple(queries)
        self._window_ms = round(window_seconds * 1000)
        self._asked_ms: int | None = None

    def due_seconds(self, now_ms: int) -> float | None:
        """In how many seconds to ask; None if that has no use today, as things are."""
        rounds = self._budget.counts_left(now_ms) // max(1, len(self._queries))
        if not self._queries or not rounds or self._window_ms < MINUTE_MS:
            return None
        every_ms = max(COUNTING_MS, (DAY_MS - now_ms % DAY_MS) / rounds)
        if every_ms > self._window_ms:
            return None
        if self._asked_ms is None or self._asked_ms > now_ms:
            return 0.0
        return max(0.0, (self._asked_ms + every_ms - now_ms) / 1000)

    def ask(self, now_ms: int) -> Tally:
        """The posts of the window that ended with the last whole minute of X's index.

        Not the same as a search finds: posts that were taken down since are counted, too.
        https://docs.x.com/x-api/posts/counts/introduction
        """
        self._asked_ms = now_ms
        until_ms = (now_ms - INDEX_LAG_MS) // MINUTE_MS * MINUTE_MS
        window = Span(until_ms - self._window_ms, until_ms)
        return Tally(sum(self._client.count(query, window) for query in self._queries), until_ms)


def posts_in(body: bytes, window: Span) -> int:
    """What an answer for counts says of a stretch of time; SourceError if it is none.

    Of what overlaps it in part (since, until] gets its share. Both vocabularies of 2026 are
    understood.
    """
    try:
        return round(sum(_share(bucket, window) for bucket in _buckets(json.loads(body))))
    except _NO_COUNTS as error:
        sentence = "X's address answers, but not with counts of posts"
        raise SourceError(sentence, first=60.0, cap=900.0) from error


def _buckets(answer: Any) -> list[Any]:
    if not isinstance(answer["meta"], dict):
        raise TypeError("no meta")
    buckets = answer.get("data") or []
    if not isinstance(buckets, list):
        raise TypeError("no data")
    return buckets


def _share(bucket: Any, window: Span) -> float:
    since_ms, until_ms = parse_ms(bucket["start"]), parse_ms(bucket["end"])
    number = bucket["post_count"] if "post_count" in bucket else bucket["tweet_count"]
    is_number = isinstance(number, int) and not isinstance(number, bool)
    if not is_number or not 0 <= number <= LARGEST_COUNT or until_ms <= since_ms:
        raise ValueError(f"no count: {number!r:.40}")
    shared_ms = min(until_ms, window.until_ms) - max(since_ms, window.since_ms)
    return float(number * max(0, shared_ms) / (until_ms - since_ms))
