"""The posts of a recording in the order of time, in little memory."""

from array import array
from itertools import pairwise
from typing import TYPE_CHECKING

from tweetdock.core.fingerprints import Fingerprints, fingerprint, salted
from tweetdock.core.post import Post

if TYPE_CHECKING:
    from collections.abc import Sequence


class Tape:
    """The posts of a file in the order of time, each key once, at the first moment it is given.

    times: when each was made, in Unix milliseconds; in order once the tape is closed.
    Some 50 bytes a post of X and 70 an author at a million posts; while it is being filled, 40
    more a post.
    """

    def __init__(self) -> None:
        self._keys = bytearray()
        self._ends = array("Q", (0,))  # of the keys, by row
        self.times = array("q")  # by row
        self._authors = array("I")  # by row, numbers of
        self._names: dict[str, int] = {}
        self._name_of: Sequence[str] = ()
        self._rows: Sequence[int] = ()
        self._known = Fingerprints()
        self._salted = salted(b"")

    def __len__(self) -> int:
        return len(self.times)

    @property
    def authors(self) -> int:
        """How many authors wrote them."""
        return len(set(self._authors))

    def add(self, post: Post) -> None:
        """Add a post, before the tape is closed."""
        row = self._known.add(fingerprint(post.key, self._salted)) - 1
        author = self._names.setdefault(post.author, len(self._names))
        if row < 0:
            row = -row - 2
            if post.created_ms < self.times[row]:
                self.times[row] = post.created_ms
                self._authors[row] = author
            return
        # Foreign JSON may hold half a surrogate pair.
        self._keys += post.key.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._keys))
        self.times.append(post.created_ms)
        self._authors.append(author)

    def close(self) -> None:
        """Bring the posts in order; none can be added any more."""
        time_of = self.times.__getitem__
        self._rows = range(len(self.times))
        if any(later < sooner for sooner, later in pairwise(self.times)):
            self._rows = array("I", sorted(self._rows, key=time_of))
            self.times = array("q", map(time_of, self._rows))
        self._name_of = list(self._names)
        self._names = {}
        self._known = Fingerprints()

    def __getitem__(self, number: int) -> Post:
        """The post of that number in the order of time."""
        row = self._rows[number]
        key = self._keys[self._ends[row] : self._ends[row + 1]].decode("utf-8", "surrogatepass")
        return Post(key, self._name_of[self._authors[row]], self.times[number])
