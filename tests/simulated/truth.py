"""What there really is: every post with its moments, and what a reading may say of it."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tweetdock.core.coverage import Grade

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from tweetdock.core.reading import Reading

# So near to the window's ends nobody can tell: a Date is cut to the second, and clocks that agree
# may be 2.5 s apart.
BLUR_MS = 4_000
LOOK_MS = 2_000


class Shown(NamedTuple):
    """A post as a server shows it with the tag, from a moment on and up to another.

    key: the same for all copies of one post. due_ms: when a gauge is to have noticed it, if its
    own moment is certain. forgotten_ms: when one is to have noticed that it shows no more.
    """

    key: str
    author: str
    created_ms: int
    feed: str
    shows_ms: float
    due_ms: float
    gone_ms: float = math.inf
    forgotten_ms: float = math.inf


class Bounds(NamedTuple):
    """How many there are at least and at most."""

    least: int
    most: int

    def has(self, count: int) -> bool:
        """Whether a count may be right."""
        return self.least <= count <= self.most


class Truth:
    """All posts."""

    def __init__(self) -> None:
        self._all: list[Shown] = []
        self._sorted: list[Shown] = []
        self._moments: list[int] = []

    def add(self, shown: Shown) -> None:
        """There is one more."""
        self._all.append(shown)

    def replace(self, shown: Shown, by: Shown) -> None:
        """What was known of one is another."""
        self._all[self._all.index(shown)] = by
        self._sorted = []

    def __iter__(self) -> Iterator[Shown]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def count(
        self, feeds: Collection[str], now_ms: int, since_ms: int, certain_ms: int
    ) -> tuple[Bounds, Bounds]:
        """How many posts and authors there may be at `now_ms` on some feeds.

        since_ms: where the window begins. certain_ms: up to when all are said to be counted.
        """
        if len(self._sorted) != len(self._all):
            self._sorted = sorted(self._all, key=lambda shown: (shown.created_ms, shown.key))
            self._moments = [shown.created_ms for shown in self._sorted]
        low = bisect_right(self._moments, since_ms - BLUR_MS)
        high = bisect_left(self._moments, now_ms + BLUR_MS)
        least: dict[str, str] = {}
        most: dict[str, str] = {}
        first_ms, last_ms = since_ms + BLUR_MS, certain_ms - BLUR_MS
        for shown in self._sorted[low:high]:
            key, author, created_ms, feed, shows_ms, due_ms, gone_ms, forgotten_ms = shown
            if shows_ms <= now_ms < forgotten_ms and feed in feeds:
                most[key] = author
                if first_ms < created_ms <= last_ms and due_ms <= now_ms < gone_ms:
                    least[key] = author
        return (
            Bounds(len(least), len(most)),
            Bounds(len(set(least.values())), len(set(most.values()))),
        )


@dataclass(frozen=True, slots=True)
class FalseExact:
    """A reading, or the part of it that is of one source, which is said to be exact and is not."""

    second: float
    source: str
    posts: int
    authors: int
    true_posts: Bounds
    true_authors: Bounds
    off_seconds: float
    certain_ago: float

    def __str__(self) -> str:
        return (
            f"at {self.second:.0f} s {self.source or 'the whole'} is exact with {self.posts} posts "
            f"of {self.authors}, true are {self.true_posts.least}..{self.true_posts.most} of "
            f"{self.true_authors.least}..{self.true_authors.most}, certain up to "
            f"{self.certain_ago:.0f} s ago, its clock is {self.off_seconds:+.1f} s ahead"
        )


class Oracle:
    """Holds readings against the truth.

    begun: when the simulation began, in true Unix seconds. after: from how many seconds after a
    start of the gauge on readings are to be exact.
    """

    def __init__(self, truth: Truth, begun_ms: int, settle_seconds: float) -> None:
        self._truth = truth
        self._begun_ms = begun_ms
        self._settle_ms = settle_seconds * 1000
        self._started_ms = begun_ms
        self.readings = 0
        self.exact = 0
        self.settled = 0
        self.settled_exact = 0
        self.falses: list[FalseExact] = []
        self.details: dict[str, int] = {}
        self._looked: dict[str, tuple[tuple[int, int] | None, int]] = {}

    def starts(self, now_ms: int) -> None:
        """The gauge starts."""
        self._started_ms = now_ms

    def check(
        self,
        reading: Reading,
        now_ms: int,
        feeds: Mapping[str, Collection[str]],
        lag_ms: Mapping[str, int],
    ) -> None:
        """Look at one; feeds: what each source asks. lag_ms: of each source."""
        self.readings += 1
        is_exact = reading.grade is Grade.EXACT
        self.exact += is_exact
        if now_ms - self._started_ms >= self._settle_ms:
            self.settled += 1
            self.settled_exact += is_exact
            if not is_exact:
                why = "; ".join(f"{n}: {s.grade} {s.detail}" for n, s in reading.sources.items())
                self.details[why] = self.details.get(why, 0) + 1
        for name, source in reading.sources.items():
            if source.grade is Grade.EXACT:
                certain_ms = _certain_ms(source, reading.at_ms - lag_ms[name])
                self._hold(reading, name, now_ms, feeds[name], certain_ms)
        if is_exact and len(reading.sources) > 1:
            every = {feed for of in feeds.values() for feed in of}
            certain_ms = _certain_ms(reading, reading.at_ms - max(lag_ms.values()))
            self._hold(reading, "", now_ms, every, certain_ms)

    def _hold(
        self,
        reading: Reading,
        name: str,
        now_ms: int,
        feeds: Collection[str],
        certain_ms: int,
    ) -> None:
        said = reading.sources[name] if name else reading
        # What is said again and again is looked at now and then.
        same = (said.posts, said.authors)
        known, looked_ms = self._looked.get(name, (None, 0))
        if known == same and now_ms - looked_ms < LOOK_MS:
            return
        self._looked[name] = same, now_ms
        off_ms = reading.at_ms - now_ms
        since_ms = now_ms - round(reading.window_seconds * 1000)
        posts, authors = self._truth.count(feeds, now_ms, since_ms, min(certain_ms, now_ms))
        if abs(off_ms) <= BLUR_MS and posts.has(said.posts) and authors.has(said.authors):
            return
        self.falses.append(
            FalseExact(
                (now_ms - self._begun_ms) / 1000,
                name,
                said.posts,
                said.authors,
                posts,
                authors,
                off_ms / 1000,
                (now_ms - certain_ms) / 1000,
            )
        )


def _certain_ms(said: Any, assumed_ms: int) -> int:
    found = getattr(said, "certain_ms", None)
    return assumed_ms if found is None else found
