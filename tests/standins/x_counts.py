"""X's recent counts without their network, and what X bills for in a day."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from standins.x_posts import milliseconds, snowflake
from standins.x_query import RefusedError
from standins.x_search import INDEX_LAG_SECONDS, RECENT_SECONDS, Search, Vocabulary

PATH = "/2/tweets/counts/recent"
PARAMETERS = frozenset(
    {
        "query",
        "granularity",
        "start_time",
        "end_time",
        "since_id",
        "until_id",
        "next_token",
        "pagination_token",
        "search_count.fields",
    }
)
BOUNDS = ("query", "start_time", "end_time", "since_id", "until_id")
GRANULARITIES = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
ALL = 1 << 40  # more posts than there are


@dataclass(frozen=True, slots=True)
class Counts:
    """A checked request for counts in buckets of `step_ms`, in [start_ms, end_ms)."""

    search: Search
    start_ms: int
    end_ms: int
    step_ms: int
    vocabulary: Vocabulary

    @classmethod
    def parse(cls, params: Mapping[str, str], now: float, vocabulary: Vocabulary) -> "Counts":
        """Check the parameters as X does at `now`, in Unix seconds of X's clock."""
        for name in params:
            if name not in PARAMETERS:
                allowed = ",".join(sorted(PARAMETERS))
                message = f"The query parameter [{name}] is not one of [{allowed}]"
                raise RefusedError(name, params[name], message)
        granularity = params.get("granularity", "hour")
        if granularity not in GRANULARITIES:
            message = (
                f"The `granularity` query parameter value [{granularity}]"
                f" is not one of [{','.join(GRANULARITIES)}]"
            )
            raise RefusedError("granularity", granularity, message)
        bounds = {name: params[name] for name in BOUNDS if name in params}
        search = replace(Search.parse(bounds, now, "legacy"), max_results=ALL)
        default_ms = int((now - INDEX_LAG_SECONDS) * 1000)
        start_ms = milliseconds(search.first)
        if not params.keys() & {"start_time", "since_id"}:
            start_ms = int((now - RECENT_SECONDS) * 1000)
        has_end = bool(params.keys() & {"end_time", "until_id"})
        end_ms = milliseconds(search.before) if has_end else default_ms
        return cls(
            search=replace(search, before=min(search.before, snowflake(end_ms))),
            start_ms=start_ms,
            end_ms=end_ms,
            step_ms=GRANULARITIES[granularity],
            vocabulary=vocabulary,
        )

    def answer(self, found: Iterable[int]) -> dict[str, Any]:
        """X's JSON for posts of these Unix ms; the outermost buckets end where was asked for."""
        numbers: defaultdict[int, int] = defaultdict(int)
        for at_ms in found:
            numbers[at_ms // self.step_ms] += 1
        noun = "post" if self.vocabulary == "post" else "tweet"
        data = [
            {
                "end": _written(until_ms),
                "start": _written(since_ms),
                f"{noun}_count": numbers[since_ms // self.step_ms],
            }
            for since_ms, until_ms in self._buckets()
        ]
        return {"data": data, "meta": {f"total_{noun}_count": sum(numbers.values())}}

    def _buckets(self) -> Iterator[tuple[int, int]]:
        since_ms = self.start_ms
        while since_ms < self.end_ms:
            until_ms = min(self.end_ms, (since_ms // self.step_ms + 1) * self.step_ms)
            yield since_ms, until_ms
            since_ms = until_ms


class Bill(NamedTuple):
    """What a UTC day is charged for: posts, each once, and answered requests for counts."""

    posts: int
    counts: int

    @property
    def usd(self) -> float:
        """The sum, by the prices of 2026."""
        return (self.posts + self.counts) * 0.005


@dataclass(slots=True)
class Ledger:
    """X's own books; times are X's."""

    _posts: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def book_posts(self, ids: Iterable[str], now: float) -> None:
        """Charge for posts that are sent, unless they were charged today."""
        self._posts[utc_day(now)].update(ids)

    def book_counts(self, now: float) -> None:
        """Charge for a request for counts."""
        self._counts[utc_day(now)] += 1

    def bill(self, day: str) -> Bill:
        """The bill for a day such as 2026-11-21."""
        return Bill(len(self._posts[day]), self._counts[day])


def utc_day(now: float) -> str:
    """The day of a time in Unix seconds."""
    return f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"


def _written(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
