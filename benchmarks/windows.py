"""Other ways to the same two counts, for posts that come in order."""

from collections import Counter, deque
from typing import Protocol

from benchmarks.made_up import HOUR, NOON, SALT
from tweetdock.core.counter import SlidingWindow
from tweetdock.core.post import Post


class Window(Protocol):
    """What all of them do."""

    def add(self, post: Post) -> object:
        """Count a post; tell whether it was new."""

    def advance(self, now_ms: int) -> None:
        """Forget what has left the window."""

    @property
    def posts(self) -> int:
        """How many posts there are."""

    @property
    def authors(self) -> int:
        """How many authors wrote them."""


class QueueWindow:
    """Counts with a dictionary, a counter and a queue."""

    def __init__(self) -> None:
        self._author_of: dict[str, str] = {}
        self._posts_by: Counter[str] = Counter()
        self._queue: deque[tuple[int, str]] = deque()

    @property
    def posts(self) -> int:
        """How many posts there are."""
        return len(self._author_of)

    @property
    def authors(self) -> int:
        """How many authors wrote them."""
        return len(self._posts_by)

    def add(self, post: Post) -> object:
        """Count a post; tell whether it was new."""
        if post.key in self._author_of:
            return False
        self._author_of[post.key] = post.author
        self._posts_by[post.author] += 1
        self._queue.append((post.created_ms, post.key))
        return True

    def advance(self, now_ms: int) -> None:
        """Forget what has left the window."""
        while self._queue and self._queue[0][0] <= now_ms - HOUR:
            author = self._author_of.pop(self._queue.popleft()[1])
            self._posts_by[author] -= 1
            if not self._posts_by[author]:
                del self._posts_by[author]


class Recount:
    """Keeps a list and counts all of it each time it is asked."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, str, str]] = []

    @property
    def posts(self) -> int:
        """How many posts there are."""
        return len({key for _, key, _ in self._rows})

    @property
    def authors(self) -> int:
        """How many authors wrote them."""
        return len({author for _, _, author in self._rows})

    def add(self, post: Post) -> object:
        """Keep a post, known or not."""
        self._rows.append((post.created_ms, post.key, post.author))
        return True

    def advance(self, now_ms: int) -> None:
        """Forget what has left the window."""
        self._rows = [row for row in self._rows if row[0] > now_ms - HOUR]


def sliding_window() -> SlidingWindow:
    """Return ours, as the daemon has it."""
    return SlidingWindow(HOUR, NOON, SALT)
