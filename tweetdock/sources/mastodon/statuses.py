"""Which posts are on which servers, under which ids of theirs."""

import threading
from collections.abc import Iterable
from typing import Any

from tweetdock.core.post import Post, Removal
from tweetdock.core.times import MINUTE_MS
from tweetdock.sources.mastodon.posts import Status, has_tag, plain


class Statuses:
    """The posts of the window by the ids of the servers that were asked, one book for all of them.

    A post counts while any of them has it with one of the hashtags: what one has lost, by whatever
    cause, is removed once no other has it. Used by several threads.
    """

    def __init__(self, hashtags: Iterable[str]) -> None:
        self._tags = frozenset(map(plain, hashtags))
        self._lock = threading.Lock()
        self._posts: dict[tuple[str, str], Post] = {}  # by server and id
        self._lost: dict[tuple[str, str], int] = {}  # since when a server has one no more
        self._forgot_ms = 0

    def counts(self, entry: Any) -> bool:
        """Whether a status that is there, as it came, has one of the hashtags."""
        return has_tag(entry, self._tags)

    def note(self, host: str, statuses: Iterable[Status]) -> tuple[Removal, ...]:
        """A server has these; the removals of those that it has lost since it was asked."""
        removals: list[Removal] = []
        with self._lock:
            for status in filter(lambda status: status.id, statuses):
                place = host, status.id
                self._posts[place] = status.post
                if self._lost.get(place, -1) < status.post.as_of_ms:
                    self._lost.pop(place, None)
                removals += self._removals(place)
        return tuple(removals)

    def lose(self, host: str, status_id: str, at_ms: int) -> tuple[Removal, ...]:
        """A server has a post no more, or without a hashtag; its removal if that was the last one.

        The word of it may come before the post, when a page with it is still on its way.
        """
        with self._lock:
            self._lost[host, status_id] = at_ms
            return self._removals((host, status_id))

    def forget_before(self, ms: int) -> None:
        """Forget all that is of that moment (Unix ms) or earlier, now and then."""
        with self._lock:
            if ms < self._forgot_ms + MINUTE_MS:
                return
            self._forgot_ms = ms
            self._posts = {at: post for at, post in self._posts.items() if post.created_ms > ms}
            self._lost = {at: lost_ms for at, lost_ms in self._lost.items() if lost_ms > ms}

    def _removals(self, place: tuple[str, str]) -> tuple[Removal, ...]:
        post, lost_ms = self._posts.get(place), self._lost.get(place)
        if post is None or lost_ms is None:
            return ()
        places = (at for at, other in self._posts.items() if other.key == post.key)
        is_gone = all(at in self._lost for at in places)
        return (Removal(post.key, lost_ms, post.created_ms),) if is_gone else ()
