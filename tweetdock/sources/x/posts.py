"""Posts as X writes them: snowflake ids, both vocabularies of 2026, edit chains."""

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from tweetdock.core.errors import PostError, SourceError
from tweetdock.core.one_line import one_line
from tweetdock.core.post import Post, Raw
from tweetdock.core.times import parse_ms

# A snowflake's upper bits are milliseconds since this moment (2010-11-04T01:42:54.657Z).
EPOCH_MS = 1_288_834_974_657
DAY_MS = 86_400_000


def snowflake_ms(snowflake: int) -> int:
    """The unix millisecond in which an id was made."""
    return (snowflake >> 22) + EPOCH_MS


def since_id_for(ms: int) -> int:
    """The `since_id` (an exclusive bound) that lets through just the posts of `ms` and later."""
    return max(0, ((ms - EPOCH_MS) << 22) - 1)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An entry that is no post of ours to count: about when it was written, and what it lacks."""

    at_ms: int
    kind: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search, newest first; `ids` are those of the posts' latest versions.

    raw: all entries, readable or not, if they are wanted.
    """

    posts: tuple[Post, ...]
    ids: tuple[int, ...]
    next_token: str | None
    unreadable: tuple[Unreadable, ...] = ()
    raw: tuple[Raw, ...] = ()


def parse_page(body: bytes, at_ms: int, *, keeps_raw: bool = False) -> Page:
    """A search answer as a page; SourceError if it is none. at_ms: when it came."""
    answer, meta = _decode(body)
    entries, token = answer.get("data") or [], meta.get("next_token")
    if not isinstance(entries, list) or not isinstance(token, str | None):
        raise _no_page("with a broken page")
    posts, ids, unreadable, raw = [], [], [], []
    near_ms = at_ms  # what cannot be read was written about when its newer neighbour was
    for entry in entries:
        try:
            post, snowflake = parse_post(entry, at_ms)
        except PostError as error:
            unreadable.append(Unreadable(near_ms, str(error)))
            if keeps_raw:
                raw.append(as_received(entry, None, None))
        else:
            if keeps_raw:
                raw.append(as_received(entry, snowflake, post))
            posts.append(post)
            ids.append(snowflake)
            near_ms = post.created_ms
    announced = meta.get("result_count")
    if isinstance(announced, int) and announced > len(entries):
        unreadable.append(Unreadable(near_ms, "announced, not sent"))
    return Page(tuple(posts), tuple(ids), token or None, tuple(unreadable), tuple(raw))


def parse_post(entry: Any, at_ms: int) -> tuple[Post, int]:
    """A post and the id of this version of it; PostError says what it lacks.

    All versions of an edited post have the first one's id as their key and its moment as theirs.
    at_ms: now; a post from another day to come is none.
    """
    if not isinstance(entry, dict):
        raise PostError("no object")
    snowflake, author = _number(entry, "id"), _number(entry, "author_id")
    if snowflake_ms(snowflake) > at_ms + DAY_MS:
        raise PostError("no id")
    history = entry.get("edit_history_tweet_ids") or entry.get("edit_history_post_ids")
    if history is None or history == []:
        first = snowflake
    elif isinstance(history, list) and isinstance(history[0], str):
        first = _number({"edit history": history[0]}, "edit history")
    else:
        raise PostError("no edit history")
    if not 0 < first <= snowflake:
        raise PostError("no edit history")
    created_ms = _created_ms(entry.get("created_at"), snowflake, first)
    if not EPOCH_MS <= created_ms <= at_ms + DAY_MS:
        raise PostError("no sensible created_at")
    return Post(f"x:{first}", f"x:{author}", created_ms), snowflake


def as_received(entry: Any, snowflake: int | None, post: Post | None) -> Raw:
    """An entry for the archive, by the id of its version, if that could be read."""
    text = one_line(entry)
    if snowflake is None:
        # Listeners side by side must give the same thing the same name.
        mark = blake2b(text.encode(), digest_size=8).hexdigest()
        return Raw(f"x:unreadable:{mark}", text, None)
    return Raw(f"x:{snowflake}", text, post)


def _decode(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _no_page("but not with JSON: is a login page in the way?") from error
    meta = answer.get("meta") if isinstance(answer, dict) else None
    if not isinstance(meta, dict):
        raise _no_page("but not with a page of posts")
    return answer, meta


def _no_page(what: str) -> SourceError:
    return SourceError(f"X's address answers, {what}", first=5.0, cap=60.0)


def _number(entry: dict[str, Any], name: str) -> int:
    text = entry.get(name)
    if not (isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= 19):
        raise PostError(f"no {name}")
    return int(text)


def _created_ms(created_at: Any, snowflake: int, first: int) -> int:
    # created_at is cut to the second; the id knows the millisecond. Should ids ever stop being
    # snowflakes they would contradict created_at, and then it is right.
    try:
        created_ms = parse_ms(created_at)
    except (TypeError, ValueError) as error:
        raise PostError("no created_at") from error
    return snowflake_ms(first) if 0 <= snowflake_ms(snowflake) - created_ms < 1000 else created_ms
