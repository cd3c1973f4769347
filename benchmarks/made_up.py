"""Made-up posts, and how X sends them."""

from tweetdock.core.post import Post
from tweetdock.core.times import rfc3339
from tweetdock.sources.x.posts import EPOCH_MS

HOUR = 3_600_000
NOON = 1_790_000_400_000
SALT = b"as in the daemon"


def make_post(number: int, posts: int) -> Post:
    """Return one of so many posts an hour, the first at 11, with six authors to ten posts."""
    created_ms = NOON - HOUR + 1 + number * HOUR // posts
    # An X id begins with its time, an author's is older.
    return Post(
        f"x:{(created_ms - EPOCH_MS << 22) + number}",
        f"x:{1_500_000_000_000_000_000 + number % (posts * 6 // 10) * 7919}",
        created_ms,
    )


def as_sent(post: Post) -> dict[str, object]:
    """Return the post as X answers to our question."""
    key = post.key.removeprefix("x:")
    return {
        "id": key,
        "text": "#DockerCon ".ljust(140, "."),
        "author_id": post.author.removeprefix("x:"),
        "created_at": rfc3339(post.created_ms // 1000 * 1000),
        "edit_history_tweet_ids": [key],
    }
