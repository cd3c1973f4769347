"""Posts as X writes them: snowflake ids, both vocabularies of 2026, edit chains."""

import json
from dataclasses import dataclass
from typing import Any

from tweetdock.errors import SourceError
from tweetdock.post import Post
from tweetdock.timestamps import parse_ms

# A snowflake's upper bits are milliseconds since this moment (2010-11-04T01:42:54.657Z).
EPOCH_MS = 1_288_834_974_657
BEYOND = 1 << 63


def snowflake_ms(snowflake: int) -> int:
    """The unix millisecond in which an id was made."""
    return (snowflake >> 22) + EPOCH_MS


def since_id_for(ms: int) -> int:
    """The `since_id` (an exclusive bound) that lets through just the posts of `ms` and later."""
    return max(0, ((ms - EPOCH_MS) << 22) - 1)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search, newest first.

    newest_id, oldest_id: of all its entries, None on an empty page.
    unreadable: the moments (unix ms) of entries that are no post of ours to count.
    """

    posts: tuple[Post, ...]
    newest_id: int | None
    oldest_id: int | None
    next_token: str | None
    unreadable: tuple[int, ...] = ()


def parse_page(body: bytes, at_ms: int) -> Page:
    """A search answer as a page; SourceError if it is none.

    at_ms: when it came, taken for entries that do not even have an id.
    """
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise SourceError(
            "X's address answers, but not with JSON: is a login page in the way?",
            first=5.0,
            cap=60.0,
        ) from error
    if not isinstance(answer, dict) or not isinstance(answer.get("meta"), dict):
        raise SourceError("X's address answers, but not with a page of posts", first=5.0, cap=60.0)
    entries = answer.get("data")
    posts, ids, unreadable = [], [], []
    for entry in entries if isinstance(entries, list) else []:
        try:
            post, snowflake = parse_post(entry)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError):
            snowflake = _id_of(entry)
            unreadable.append(snowflake_ms(snowflake) if snowflake else at_ms)
        else:
            posts.append(post)
        if snowflake:
            ids.append(snowflake)
    token = answer["meta"].get("next_token")
    return Page(
        posts=tuple(posts),
        newest_id=max(ids, default=None),
        oldest_id=min(ids, default=None),
        next_token=token if isinstance(token, str) and token else None,
        unreadable=tuple(unreadable),
    )


def parse_post(entry: dict[str, Any]) -> tuple[Post, int]:
    """A post and the id of this version of it.

    All versions of an edited post have the first one's id as their key and its moment as theirs.
    Raises KeyError, TypeError, ValueError, IndexError or OverflowError for what is no post.
    """
    snowflake = int(entry["id"])
    author = int(entry["author_id"])
    if not (0 < snowflake < BEYOND and author >= 0):
        raise ValueError("no id")
    history = entry.get("edit_history_tweet_ids") or entry.get("edit_history_post_ids")
    first = int((history and history[0]) or snowflake)
    created_ms = _created_ms(entry.get("created_at"), snowflake, first)
    return Post(f"x:{first}", f"x:{author}", created_ms), snowflake


def _created_ms(created_at: str | None, snowflake: int, first: int) -> int:
    # created_at is cut to the second; the id knows the millisecond. Should ids ever stop being
    # snowflakes they would contradict created_at, and then it is right.
    if created_at is None:
        return snowflake_ms(first)
    created_ms = parse_ms(created_at)
    return snowflake_ms(first) if 0 <= snowflake_ms(snowflake) - created_ms < 1000 else created_ms


def _id_of(entry: Any) -> int:
    try:
        snowflake = int(entry["id"])
    except (KeyError, TypeError, ValueError):
        return 0
    return snowflake if 0 < snowflake < BEYOND else 0
