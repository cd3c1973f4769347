"""Makes X posts and moves recorded ones in time, with ids that carry the millisecond."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

Post = dict[str, Any]

EPOCH_MS = 1288834974657  # X's snowflake ids count from here
SEQUENCE_BITS = 22


def snowflake(at_ms: int, sequence: int = 0) -> int:
    """Make the id of the `sequence`-th post of a millisecond."""
    return (at_ms - EPOCH_MS) << SEQUENCE_BITS | sequence


def milliseconds(post_id: int | str) -> int:
    """Tell when the post with this id was made, in Unix milliseconds."""
    return (int(post_id) >> SEQUENCE_BITS) + EPOCH_MS


def created_at(at_ms: int) -> str:
    """Write the time as X does: whole seconds, though three zeros follow."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def make_post(
    at_ms: int,
    author: int | str,
    *,
    tag: str = "dockercon",
    sequence: int = 0,
    retweet: bool = False,
    edits_of: Post | None = None,
) -> Post:
    """Make a post in X's older vocabulary; `edits_of` is the version that it replaces."""
    post_id = str(snowflake(at_ms, sequence))
    start = "RT @someone: " if retweet else ""
    text = f"{start}#{tag} is on"
    post: Post = {
        "id": post_id,
        "author_id": str(author),
        "created_at": created_at(at_ms),
        "text": text,
        "edit_history_tweet_ids": [
            *(edits_of["edit_history_tweet_ids"] if edits_of else ()),
            post_id,
        ],
        "entities": {
            "hashtags": [{"start": len(start), "end": len(start) + len(tag) + 1, "tag": tag}]
        },
    }
    if retweet:
        original = str(snowflake(at_ms - 60_000))
        post["referenced_tweets"] = [{"type": "retweeted", "id": original}]
    return post


def shifted(posts: Iterable[Post], end_ms: int, compress: float = 1.0) -> list[Post]:
    """Copy posts, oldest first, so that the last is at `end_ms`, `compress` times as fast."""
    ordered = sorted(posts, key=lambda post: int(post["id"]))
    if not ordered:
        return []
    last_ms = milliseconds(ordered[-1]["id"])

    def moved(at_ms: int) -> int:
        return end_ms - round((last_ms - at_ms) / compress)

    new_ids: dict[str, str] = {}
    previous_ms, sequence = -1, 0
    for post in ordered:
        at_ms = moved(milliseconds(post["id"]))
        sequence = sequence + 1 if at_ms == previous_ms else 0
        new_ids[post["id"]] = str(snowflake(at_ms, sequence))
        previous_ms = at_ms

    def new_id(old: str) -> str:
        return new_ids.get(old) or str(snowflake(moved(milliseconds(old))))

    copies = []
    for post in ordered:
        copy = dict(post, id=new_ids[post["id"]])
        copy["created_at"] = created_at(milliseconds(copy["id"]))
        history = post.get("edit_history_tweet_ids", [post["id"]])
        copy["edit_history_tweet_ids"] = [new_id(old) for old in history]
        if "referenced_tweets" in post:
            copy["referenced_tweets"] = [
                dict(other, id=new_ids.get(other["id"], other["id"]))
                for other in post["referenced_tweets"]
            ]
        if "_indexed_ms" in post:
            copy["_indexed_ms"] = moved(post["_indexed_ms"])
        copies.append(copy)
    return copies
