"""What there really is: every post with its moments, and what a reading may say of it."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from tweetdock.core.coverage import Grade
from tweetdock.core.post import Span

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Iterator, Mapping

    from tweetdock.core.reading import Reading

# So near to the window's ends nobody can tell: a Date is cut to the second, and clocks that agree
# may be 2.5 s apart.
BLUR_MS = 4_000
LOOK_MS = 2_000
# What was that late within an hour is to be known of; the gauge has it by minutes.
HOUR_MS = 59 * 60_000
MARGIN = 1.25


class Late(NamedTuple):
    """So late posts may be in a feed, always and in the first hour.

    notice_ms: so soon one that is later is to be noticed.
    """

    least_ms: int
    assumed_ms: int
    notice_ms: int


def moments(dice: random.Random, since: float, until: float, per_minute: float) -> Iterator[float]:
    """When somebody writes, from one moment to another (Unix seconds): at random, so often."""
    at = since + dice.expovariate(per_minute / 60)
    while at < until:
        yield at
        at += dice.expovariate(per_minute / 60)


class Shown(NamedTuple):
    """A post as a server shows it with the tag, from a moment on and up to another.

    key: the same for all copies of one post. shows_ms: when the first way shows it; due_ms: when
    that does by which a gauge is certain. forgotten_ms: when one is to have noticed that it shows
    no more.
    """

    key: str
    author: str
    created_ms: int
    feed: str
    shows_ms: float
    due_ms: float
    gone_ms: float = math.inf
    forgotten_ms: float = math.inf


class Truth:
    """All posts.

    begun_ms: since when there was somebody to see how late they show.
    """

    def __init__(self, begun_ms: int) -> None:
        self._begun_ms = begun_ms
        self._all: list[Shown] = []
        self._sorted: list[tuple[Shown, float]] = []  # and when it is to have been noticed
        self._moments: list[int] = []
        self.late: dict[str, Late] = {}  # in feeds where posts come late at all

    def add(self, shown: Shown) -> None:
        """There is one more."""
        self._all.append(shown)

    def replace(self, shown: Shown, by: Shown) -> None:
        """What was known of one is another."""
        self._all[self._all.index(shown)] = by
        self._sorted = []

    def __iter__(self) -> Iterator[Shown]:
        return iter(self._all)

    def posts(
        self, feeds: Collection[str], now_ms: int, window: Span, certain_ms: int
    ) -> tuple[set[str], dict[str, str]]:
        """The keys of those on some feeds that are to be counted at `now_ms`, and all that may be.

        The latter with their authors. window: by the gauge's clock. certain_ms: up to when all are
        said to be counted.
        """
        if len(self._sorted) != len(self._all):
            self._sorted = sorted(self._dues(), key=lambda of: (of[0].created_ms, of[0].key))
            self._moments = [shown.created_ms for shown, _ in self._sorted]
        low = bisect_right(self._moments, window.since_ms)
        high = bisect_right(self._moments, window.until_ms)
        due: set[str] = set()
        possible: dict[str, str] = {}
        first_ms, last_ms = window.since_ms + BLUR_MS, certain_ms - BLUR_MS
        for shown, due_ms in self._sorted[low:high]:
            key, author, created_ms, feed, shows_ms, _, gone_ms, forgotten_ms = shown
            if shows_ms <= now_ms < forgotten_ms and feed in feeds:
                possible[key] = author
                if first_ms < created_ms <= last_ms and due_ms <= now_ms < gone_ms:
                    due.add(key)
        return due, possible

    def _dues(self) -> Iterator[tuple[Shown, float]]:
        """All, and when a gauge that calls its moment certain is to count each.

        That is at once, but for those that are later than it could know of.
        """
        late = {
            feed: [
                shown
                for shown in self._all
                if shown.feed == feed and shown.due_ms - shown.created_ms > usual.least_ms
            ]
            for feed, usual in self.late.items()
        }
        for shown in self._all:
            usual = self.late.get(shown.feed)
            if usual is None or not self._is_surprise(shown, usual, late[shown.feed]):
                yield shown, shown.due_ms
            else:
                yield shown, shown.due_ms + usual.notice_ms

    def _is_surprise(self, shown: Shown, usual: Late, others: list[Shown]) -> bool:
        """Whether a post is later than those that were noticed in the hour before it shows."""
        known_ms = [
            (other.due_ms - other.created_ms) * MARGIN
            for other in others
            if max(self._begun_ms, shown.due_ms - HOUR_MS) < other.due_ms
            and other.due_ms + usual.notice_ms <= shown.due_ms
        ]
        if shown.due_ms < self._begun_ms + HOUR_MS:
            known_ms.append(usual.assumed_ms)
        return shown.due_ms - shown.created_ms > max(usual.least_ms, *known_ms, 0)


@dataclass(frozen=True, slots=True)
class FalseExact:
    """A reading, or the part of it that is of one source, which is said to be exact and is not.

    posts, authors: how many it says. missing: posts that it lacks. strange: how many of its posts,
    and of its authors, are none that may be counted.
    """

    second: float
    source: str
    posts: int
    authors: int
    missing: tuple[str, ...]
    strange: tuple[int, int]
    off_seconds: float
    certain_ago: float

    def __str__(self) -> str:
        return (
            f"at {self.second:.0f} s {self.source or 'the whole'} is exact with {self.posts} "
            f"posts of {self.authors}: missing are {self.missing}, {self.strange} "
            f"are too many; certain up to {self.certain_ago:.0f} s ago, its clock is "
            f"{self.off_seconds:+.1f} s ahead"
        )


class Oracle:
    """Holds readings against the truth, post by post.

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
        self.last_exact_ms = -math.inf
        self.certain_ago: dict[str, float] = {}  # the longest of settled exact readings, in s
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
        counts: Callable[[str, str], bool],
    ) -> None:
        """Look at one; feeds: what each source asks.

        counts: whether a source, or the whole if that is empty, counts a post by its key.
        """
        self.readings += 1
        is_exact = reading.grade is Grade.EXACT
        self.exact += is_exact
        if is_exact:
            self.last_exact_ms = now_ms
        if now_ms - self._started_ms >= self._settle_ms:
            self.settled += 1
            self.settled_exact += is_exact
            if not is_exact:
                why = "; ".join(f"{n}: {s.grade} {s.detail}" for n, s in reading.sources.items())
                self.details[why] = self.details.get(why, 0) + 1
        for name, source in reading.sources.items():
            if source.grade is Grade.EXACT:
                self._note_certain(name, source.certain_ms, now_ms)
                self._hold(reading, name, now_ms, feeds[name], partial(counts, name))
        if is_exact:
            every = {feed for of in feeds.values() for feed in of}
            self._hold(reading, "", now_ms, every, partial(counts, ""))

    def _note_certain(self, name: str, certain_ms: int, now_ms: int) -> None:
        if now_ms - self._started_ms >= self._settle_ms:
            ago = (now_ms - certain_ms) / 1000
            self.certain_ago[name] = max(ago, self.certain_ago.get(name, 0.0))

    def _hold(
        self,
        reading: Reading,
        name: str,
        now_ms: int,
        feeds: Collection[str],
        counts: Callable[[str], bool],
    ) -> None:
        said = reading.sources[name] if name else reading
        # What is said again and again is looked at now and then.
        same = (said.posts, said.authors)
        known, looked_ms = self._looked.get(name, (None, 0))
        if known == same and now_ms - looked_ms < LOOK_MS:
            return
        self._looked[name] = same, now_ms
        off_ms = reading.at_ms - now_ms
        window = Span(reading.at_ms - round(reading.window_seconds * 1000), reading.at_ms)
        certain_ms = min(said.certain_ms, now_ms)
        due, possible = self._truth.posts(feeds, now_ms, window, certain_ms)
        counted = {key: author for key, author in possible.items() if counts(key)}
        missing = tuple(sorted(due - counted.keys()))
        strange = said.posts - len(counted), said.authors - len(set(counted.values()))
        if abs(off_ms) <= BLUR_MS and not missing and strange == (0, 0):
            return
        self.falses.append(
            FalseExact(
                (now_ms - self._begun_ms) / 1000,
                name,
                said.posts,
                said.authors,
                missing,
                strange,
                off_ms / 1000,
                (now_ms - certain_ms) / 1000,
            )
        )
