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

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, posts: Iterable[Post]) -> None:
        """Take posts in, in any order."""
        for post in posts:
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
        for place in range(high - 1, low - 1, -1):
            post = self._posts[self._ids[place]]
            if self._visible(post, now) and search.query.matches(post):
                found.append(post)
                if len(found) > search.max_results:
                    break
        return found

    def _visible(self, post: Post, now: float) -> bool:
        edits = self._edits.get(int(post["id"]), ())
        return _indexed(post, now) and not any(_indexed(edit, now) for edit in edits)


def _indexed(post: Post, now: float) -> bool:
    return bool(post.get("_indexed_ms", milliseconds(post["id"])) <= now * 1000)
