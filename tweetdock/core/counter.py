"""The sliding window: how many unique posts and authors there were in the last hour."""

from array import array
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import chain
from typing import NamedTuple

from tweetdock.core.fingerprints import Fingerprints, fingerprint, salted
from tweetdock.core.post import Post

NOBODY = 0  # the author of a removed post
_ROW_BITS = 32
_ROW = (1 << _ROW_BITS) - 1
_STEPS = 4096  # a window's, fine enough to sort and few enough to keep, whatever its length
_FEW_ROWS = 1024  # not worth the work of giving back
_FOREVER = 1 << 62


class RowQueue:
    """A queue of rows by time, exact to the millisecond, for four bytes a row.

    Time is cut into steps. The rows of one step hang together in a chain, in no order; only the
    step that the present cuts through is opened and sorted. So what is done now and then costs
    what it moves, however far that is: no step without rows is ever looked at.

    `times` and `chain` are columns of the owner's, by row, starting at row 1: a row's time, and a
    place for the row's link, which belongs to the one queue that the row is in. A row's time
    may be raised while it waits: it is then put off. It may not be lowered.
    """

    __slots__ = ("_chain", "_first", "_sorted", "_step_bits", "_steps", "_times")

    def __init__(self, times: "array[int]", chain: "array[int]", step_bits: int) -> None:
        self._times = times
        self._chain = chain
        self._step_bits = step_bits  # a step has 2**step_bits milliseconds
        self._first: dict[int, int] = {}  # a step's first row
        self._steps: list[int] = []  # a heap of the keys of _first
        # The rows of the step cut through, each with its time in the bits above; the soonest last.
        self._sorted: list[int] = []

    def put(self, row: int, at_ms: int) -> None:
        """Let `row` wait for its time, which is `at_ms`."""
        step = at_ms >> self._step_bits
        first = self._first
        try:
            self._chain[row] = first[step]
        except KeyError:
            self._chain[row] = 0
            heappush(self._steps, step)
        first[step] = row

    def take_until(self, now_ms: int) -> "Iterator[int]":
        """Take out, soonest first, the rows whose time is not after `now_ms`."""
        last_due = now_ms << _ROW_BITS | _ROW
        step = now_ms >> self._step_bits
        while True:
            while self._sorted and self._sorted[-1] <= last_due:
                row = self._sorted.pop() & _ROW
                at_ms = self._times[row]
                if at_ms > now_ms:
                    self.put(row, at_ms)
                else:
                    yield row
            if not self._steps or self._steps[0] > step:
                return
            self._open(heappop(self._steps))

    def _open(self, step: int) -> None:
        times, chain = self._times, self._chain
        row = self._first.pop(step)
        while row:
            self._sorted.append(times[row] << _ROW_BITS | row)
            row = chain[row]
        # Few come late to a step already opened, and what is nearly sorted is soon sorted.
        self._sorted.sort(reverse=True)


class Mark(NamedTuple):
    """A post as a window remembers it: fingerprints of its key and its author, and its time.

    A removal is a mark of its own: its author is NOBODY, its time that of the removal. One more of
    the post after it says that it is there again.
    """

    key: int
    author: int
    at_ms: int


class SlidingWindow:
    """Counts the unique posts of the window (now - window, now], and their unique authors.

    Exact to the millisecond, in whatever order posts, repetitions and removals arrive. The first
    copy of a post wins: the same key again is ignored, whatever its time or author says, unless
    the post was removed before the moment as of which the copy was there. What is older than the
    window is ignored too; what is newer than now counts from its moment on.

    Pure: `now_ms`, Unix milliseconds, is given to the constructor and to `advance()`. Not safe to
    be shared between threads.

    Some 60 bytes a post at a million posts, each by another author, and 170 more for one that is
    known to have been removed, or to be there later than it was written. For that price a name is
    known by 64 bits of it (see `fingerprint()`): the odds that a full window of a million posts
    is off by one are 3e-8 for the posts and as much for the authors. The empty `salt` makes a
    window reproducible; give one that counts the public's posts up to 16 random bytes.
    """

    __slots__ = (
        "_authors",
        "_authors_of",
        "_chain",
        "_coming",
        "_keys",
        "_last_word",
        "_leaving",
        "_now_ms",
        "_posts",
        "_posts_by",
        "_salted",
        "_times",
        "_window_ms",
    )

    def __init__(self, window_ms: int, now_ms: int, salt: bytes = b"") -> None:
        self._window_ms = window_ms
        self._now_ms = now_ms
        self._salted = salted(salt)
        self._clear()

    @property
    def now_ms(self) -> int:
        """The end of the window."""
        return self._now_ms

    @property
    def posts(self) -> int:
        """How many posts there are in the window."""
        return self._posts

    @property
    def authors(self) -> int:
        """How many authors wrote them."""
        return len(self._authors)

    def __len__(self) -> int:
        """How many posts it remembers, whether they count or not."""
        return len(self._keys)

    def add(self, post: Post) -> Mark | None:
        """Count a post; its mark if that is news: it is not too old, and not known or removed."""
        key, author = (fingerprint(name, self._salted) for name in (post.key, post.author))
        return self._put_post(Mark(key, author, post.created_ms), post.as_of_ms)

    def remove(self, key: str, at_ms: int, created_ms: int | None = None) -> Mark | None:
        """Count a post no more, as it was removed at `at_ms`; the removal's mark if that is news.

        The removal is remembered, whether the post came before it or will come after it, until the
        post's own time has left the window; where neither a copy nor `created_ms` tells that, until
        `at_ms` has, and no copy counts any more.
        """
        mark = Mark(fingerprint(key, self._salted), NOBODY, at_ms)
        return self._put_removal(mark, at_ms if created_ms is None else created_ms)

    def put(self, mark: Mark) -> Mark | None:
        """Add or remove by the mark of a window with the same salt; the mark if it was new."""
        if mark.author == NOBODY:
            return self._put_removal(mark, mark.at_ms)
        return self._put_post(mark)

    def knows(self, key: str) -> bool:
        """Whether a post of that key was counted, or removed, in this window."""
        return self._keys.find(fingerprint(key, self._salted)) != 0

    def counts(self, key: int) -> bool:
        """Whether a post is in this window, by its key's fingerprint, and was not removed."""
        return self._authors_of[self._keys.find(key)] != NOBODY

    def marks(self) -> Iterator[Mark]:
        """All that the window knows, in no order: put into another it makes that the same."""
        for row in self._keys.rows():
            key, author, at_ms = self._keys[row], self._authors_of[row], self._times[row]
            last_ms, author_before = self._word(row)
            if author_before != NOBODY:
                yield Mark(key, author_before, at_ms)
            yield Mark(key, author, at_ms if author else last_ms)

    def advance(self, now_ms: int) -> None:
        """Move the window so that it ends at `now_ms`; ValueError if that were back.

        After a clock that is set back another window begins.
        """
        if now_ms < self._now_ms:
            raise ValueError(f"the window ends at {self._now_ms}, later than {now_ms}")
        self._now_ms = now_ms
        for row in self._coming.take_until(now_ms):
            self._count(self._authors_of[row])
            self._leaving.put(row, self._times[row])
        for row in self._leaving.take_until(now_ms - self._window_ms):
            self._uncount(self._authors_of[row])
            self._keys.remove(row)
            self._last_word.pop(row, None)
        if _FEW_ROWS < len(self._times) > 4 * len(self._keys):
            self._shrink()

    def _word(self, row: int) -> tuple[int, int]:
        """When a post was removed, or else known to be there, and whose it was before that."""
        return self._last_word.get(row, (0 if self._authors_of[row] else self._times[row], NOBODY))

    def _put_post(self, mark: Mark, as_of_ms: int | None = None) -> Mark | None:
        """as_of_ms: None: of marks it is the order that tells."""
        if mark.at_ms <= self._now_ms - self._window_ms:
            return None
        row = self._keys.add(mark.key)
        if row > 0:
            self._fill(row, mark.author, mark.at_ms)
            if as_of_ms is not None and as_of_ms > mark.at_ms:
                self._last_word[row] = as_of_ms, NOBODY
            return mark
        row = -row
        is_removed, own_ms = self._authors_of[row] == NOBODY, self._times[row]
        last_ms, author = self._word(row)
        if as_of_ms is None:
            as_of_ms = max(last_ms, own_ms) + is_removed
        is_unseen = is_removed and author == NOBODY
        # The time of what never was seen may be that of its removal, and none is lowered.
        if as_of_ms <= max(last_ms, own_ms) or (is_unseen and mark.at_ms < own_ms):
            return None
        self._last_word[row] = as_of_ms, NOBODY
        if not is_removed:
            return None
        self._authors_of[row] = author = author or mark.author
        if own_ms <= self._now_ms:
            self._count(author)
        return Mark(mark.key, author, own_ms)

    def _put_removal(self, mark: Mark, own_ms: int) -> Mark | None:
        row = self._keys.find(mark.key)
        if not row:
            if own_ms <= self._now_ms - self._window_ms:
                return None
            row = self._keys.add(mark.key)
            self._fill(row, NOBODY, own_ms)
            if mark.at_ms != own_ms:
                self._last_word[row] = mark.at_ms, NOBODY
            return mark
        last_ms, author = self._word(row)
        if mark.at_ms <= last_ms:
            return None
        if self._times[row] <= self._now_ms:
            self._uncount(self._authors_of[row])
        self._last_word[row] = mark.at_ms, self._authors_of[row] or author
        self._authors_of[row] = NOBODY
        return mark

    def _fill(self, row: int, author: int, at_ms: int) -> None:
        if row == len(self._times):
            self._times.append(at_ms)
            self._authors_of.append(author)
            self._chain.append(0)
        else:
            self._times[row] = at_ms
            self._authors_of[row] = author
        if at_ms > self._now_ms:
            self._coming.put(row, at_ms)
        else:
            self._leaving.put(row, at_ms)
            self._count(author)

    def _count(self, author: int) -> None:
        if author == NOBODY:
            return
        self._posts += 1
        row = self._authors.add(author)
        if row < 0:
            self._posts_by[-row] += 1
        elif row == len(self._posts_by):
            self._posts_by.append(1)
        else:
            self._posts_by[row] = 1

    def _uncount(self, author: int) -> None:
        if author == NOBODY:
            return
        self._posts -= 1
        row = self._authors.find(author)
        self._posts_by[row] -= 1
        if not self._posts_by[row]:
            self._authors.remove(row)

    def _clear(self, room: int = 0) -> None:
        self._posts = 0
        # By row, if that is not its own time: when it was removed or last known to be there, and
        # who wrote what is removed.
        self._last_word: dict[int, tuple[int, int]] = {}
        # One row a post that is counted, kept for later, or remembered as removed.
        self._keys = Fingerprints(room)
        self._times = array("q", (0,))
        self._authors_of = array("Q", (NOBODY,))
        self._chain = array("I", (0,))
        step_bits = (self._window_ms // _STEPS).bit_length()
        self._leaving = RowQueue(self._times, self._chain, step_bits)
        self._coming = RowQueue(self._times, self._chain, step_bits)
        # One row an author of a counted post.
        self._authors = Fingerprints()
        self._posts_by = array("I", (0,))

    def _shrink(self) -> None:
        """Move to smaller tables after a burst, as rows once taken are else never given back."""
        keys, times, authors_of = self._keys, self._times, self._authors_of
        last_word = self._last_word
        rows = chain(self._leaving.take_until(_FOREVER), self._coming.take_until(_FOREVER))
        self._clear(room=len(keys))
        for row in rows:
            moved = self._keys.add(keys[row])
            self._fill(moved, authors_of[row], times[row])
            if row in last_word:
                self._last_word[moved] = last_word[row]
