"""The sliding window: how many unique posts and authors there were in the last hour."""

from array import array
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from tweetdock.core.fingerprints import Fingerprints, fingerprint, salted
from tweetdock.core.post import Post
from tweetdock.core.timeline import Timeline

NOBODY = 0  # the author of a removed post
_STEPS = 4096  # a window's, fine enough to sort and few enough to keep, whatever its length
_FEW_ROWS = 1024  # not worth the work of giving back
_FOREVER = 1 << 62


class Mark(NamedTuple):
    """A post as a window knows it: the fingerprints of key and author, and when it was made.

    The author of one that was removed is NOBODY, its time that of the removal.
    """

    key: int
    author: int
    at_ms: int


class SlidingWindow:
    """Counts the unique posts of the window (now - window, now], and their unique authors.

    Exact to the millisecond, in whatever order posts, repetitions and removals arrive. The first
    word on a post wins: the same key again is ignored, whatever its time or author says. What is
    older than the window is ignored too; what is newer than now counts from its moment on.

    Pure: `now_ms`, Unix milliseconds, is told by the constructor and by `advance()`. Not safe to
    be shared between threads.

    Some 60 bytes a post at a million posts, each by another author. For that price a name is
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

    def add(self, post: Post) -> Mark | None:
        """Count a post; its mark if it was new: not known, not removed and not too old."""
        if post.created_ms <= self._now_ms - self._window_ms:
            return None
        key = fingerprint(post.key, self._salted)
        row = self._keys.add(key)
        if row < 0:
            return None
        mark = Mark(key, fingerprint(post.author, self._salted), post.created_ms)
        self._fill(row, mark.author, mark.at_ms)
        return mark

    def remove(self, key: str, at_ms: int) -> Mark | None:
        """Count a post no more, as it was deleted at `at_ms`; the removal's mark if it was news.

        The deletion is remembered, whether the post came before it or will come after it, until
        both `at_ms` and the post's time as far as known have left the window. No copy of it can
        count after that: even its last edit was made before it was deleted.
        """
        return self.put(Mark(fingerprint(key, self._salted), NOBODY, at_ms))

    def put(self, mark: Mark) -> Mark | None:
        """Add or remove by the mark of a window with the same salt; the mark if it was news."""
        key, author, at_ms = mark
        is_old = at_ms <= self._now_ms - self._window_ms
        if author == NOBODY:
            return self._put_removal(mark, is_old=is_old)
        if is_old or (row := self._keys.add(key)) < 0:
            return None
        self._fill(row, author, at_ms)
        return mark

    def knows(self, key: str) -> bool:
        """Whether a post of that key was counted, or removed, in this window."""
        return self._keys.find(fingerprint(key, self._salted)) != 0

    def marks(self) -> Iterator[Mark]:
        """All that the window knows, in no order: put into another it makes that the same."""
        for row in self._keys.rows():
            yield Mark(self._keys[row], self._authors_of[row], self._times[row])

    def advance(self, now_ms: int) -> None:
        """Move the window so that it ends at `now_ms`, forward or, with a clock set back, back.

        What it leaves behind is forgotten for good: if it comes again in a window that has gone
        back, it is new. What it goes back from is kept and counts again in its time.
        """
        if now_ms < self._now_ms:
            self._coming.close()
            for row in self._leaving.take_after(now_ms):
                self._uncount(self._authors_of[row])
                self._coming.put(row, self._times[row])
        self._now_ms = now_ms
        for row in self._coming.take_until(now_ms):
            self._count(self._authors_of[row])
            self._leaving.put(row, self._times[row])
        for row in self._leaving.take_until(now_ms - self._window_ms):
            self._uncount(self._authors_of[row])
            self._keys.remove(row)
        if _FEW_ROWS < len(self._times) > 4 * len(self._keys):
            self._give_back()

    def _put_removal(self, mark: Mark, *, is_old: bool) -> Mark | None:
        row = self._keys.find(mark.key)
        if not row:
            if is_old:
                return None
            self._fill(self._keys.add(mark.key), NOBODY, mark.at_ms)
            return mark
        known = self._authors_of[row], self._times[row]
        if self._times[row] <= self._now_ms:
            self._uncount(self._authors_of[row])
        self._authors_of[row] = NOBODY
        self._times[row] = max(self._times[row], mark.at_ms)
        removal = (NOBODY, self._times[row])
        return None if removal == known else Mark(mark.key, *removal)

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
        # One row a post that is counted, kept for later, or remembered as removed.
        self._keys = Fingerprints(room)
        self._times = array("q", (0,))
        self._authors_of = array("Q", (NOBODY,))
        self._chain = array("I", (0,))
        step_bits = (self._window_ms // _STEPS).bit_length()
        self._leaving = Timeline(self._times, self._chain, step_bits)
        self._coming = Timeline(self._times, self._chain, step_bits)
        # One row an author of a counted post.
        self._authors = Fingerprints()
        self._posts_by = array("I", (0,))

    def _give_back(self) -> None:
        """Move to smaller tables after a burst, as rows once taken are else never given back."""
        keys, times, authors_of = self._keys, self._times, self._authors_of
        rows = chain(self._leaving.take_until(_FOREVER), self._coming.take_until(_FOREVER))
        self._clear(room=len(keys))
        for row in rows:
            self._fill(self._keys.add(keys[row]), authors_of[row], times[row])
