"""The posts that X knows, found by id."""

from bisect import bisect_left, insort
from collections.abc import Iterable

from standins.x_posts import Post, milliseconds
from standins.x_search import Search


class PostIndex:
    """The posts that X knows, by id; not thread-safe."""

    def __init__(self) -> None:
        self._posts: dict[int, Post] = {}
        self._ids: list[int] = []
        self._edits: dict[int, list[Post]] = {}
        self.changes = 0

    def add(self, posts: Iterable[Post]) -> None:
        """Take posts in, in any order."""
        for post in posts:
            self.changes += 1
            post_id = int(post["id"])
            if post_id not in self._posts:
                insort(self._ids, post_id)
            self._posts[post_id] = post
            for older in post.get("edit_history_tweet_ids", [])[:-1]:
                self._edits.setdefault(int(older), []).append(post)

    def posts(self) -> list[Post]:
        """All posts, oldest first."""
        return [self._posts[post_id] for post_id in self._ids]

    def find(self, search: Search, now: float) -> list[Post]:
        """Up to one post more than a page, newest first, latest versions only."""
        found: list[Post] = []
        low, high = bisect_left(self._ids, search.first), bisect_left(self._ids, search.before)
        now_ms = now * 1000
        for post_id in reversed(self._ids[low:high]):
            post = self._posts[post_id]
            if self._visible(post_id, post, now_ms) and search.query.matches(post):
                found.append(post)
                if len(found) > search.max_results:
                    break
        return found

    def _visible(self, post_id: int, post: Post, now_ms: float) -> bool:
        edits = self._edits.get(post_id, ())
        return _indexed(post, now_ms) and not any(_indexed(edit, now_ms) for edit in edits)


def _indexed(post: Post, now_ms: float) -> bool:
    at_ms = post["_indexed_ms"] if "_indexed_ms" in post else milliseconds(post["id"])
    return bool(at_ms <= now_ms)
