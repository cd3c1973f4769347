"""What the ways to one Mastodon server tell each other: its ids of posts, its streams."""

import threading
from collections.abc import Iterable

from tweetdock.core.post import Removal
from tweetdock.sources.mastodon.posts import Status

FORGET_EVERY_MS = 60_000


class Statuses:
    """The posts of the window by the server's own ids, by which alone it says that one is gone.

    Used by several threads.
    """

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._lock = threading.Lock()
        self._posts: dict[str, tuple[str, int]] = {}  # key, created_ms
        self._gone: dict[str, int] = {}
        self._streaming: set[str] = set()
        self._forgot_ms = 0

    def note(self, statuses: Iterable[Status], now_ms: int) -> tuple[Removal, ...]:
        """Learn the ids of some; the removals of those of which it was said that they are gone."""
        with self._lock:
            if not 0 <= now_ms - self._forgot_ms < FORGET_EVERY_MS:
                self._forget_before(now_ms - self._window_ms)
                self._forgot_ms = now_ms
            known = [status for status in statuses if status.id]
            self._posts |= {s.id: (s.post.key, s.post.created_ms) for s in known}
            gone = [(status, self._gone.get(status.id)) for status in known]
        return tuple(Removal(s.post.key, at_ms) for s, at_ms in gone if at_ms is not None)

    def remove(self, status_id: str, at_ms: int) -> Removal | None:
        """One is gone; its removal, or None if it is none of ours as far as is known.

        The word may come before the post, when a page with it is still on its way.
        """
        with self._lock:
            self._gone[status_id] = at_ms
            post = self._posts.get(status_id)
        return Removal(post[0], at_ms) if post else None

    def is_gone(self, status_id: str) -> bool:
        """Whether it was said already that this one is gone."""
        with self._lock:
            return status_id in self._gone

    def set_streaming(self, tag: str, *, is_up: bool) -> None:
        """The stream of a tag is up, or no more."""
        with self._lock:
            if is_up:
                self._streaming.add(tag)
            else:
                self._streaming.discard(tag)

    def all_streaming(self, tags: Iterable[str]) -> bool:
        """Whether the streams of all these tags are up."""
        with self._lock:
            return self._streaming.issuperset(tags)

    def _forget_before(self, ms: int) -> None:
        self._posts = {i: post for i, post in self._posts.items() if post[1] > ms}
        self._gone = {i: at_ms for i, at_ms in self._gone.items() if at_ms > ms}
