"""What an analyst asks of a post first, found in it as its network sent it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_LARGEST = 2**63 - 1  # a column's whole number has 64 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The same questions to every network; None where it did not send an answer.

    `conversation`, `reply_to`, `repost_of` and `quote_of` are the network's own ids. `text` and
    `hashtags` are as written.
    """

    text: str | None = None
    lang: str | None = None
    conversation: str | None = None
    reply_to: str | None = None
    repost_of: str | None = None
    quote_of: str | None = None
    hashtags: tuple[str, ...] | None = None
    likes: int | None = None
    reposts: int | None = None
    replies: int | None = None
    quotes: int | None = None


def columns(source: str, post: Any) -> Columns:
    """What a post of a source says; nothing if there is no way to read posts of that source."""
    read = _READERS.get(source)
    return read(post) if read and isinstance(post, dict) else Columns()


def _x(post: dict[str, Any]) -> Columns:
    """A post of X's API v2, in the vocabulary of tweets or in the one of posts."""
    metrics = _object(post.get("public_metrics"))
    referenced = _references(post.get("referenced_tweets"), post.get("referenced_posts"))
    return Columns(
        text=_text(post.get("text")),
        lang=_text(post.get("lang")),
        conversation=_text(post.get("conversation_id")),
        reply_to=referenced.get("replied_to"),
        repost_of=referenced.get("retweeted", referenced.get("reposted")),
        quote_of=referenced.get("quoted"),
        hashtags=_tags(_object(post.get("entities")).get("hashtags")),
        likes=_number(metrics, "like_count"),
        reposts=_number(metrics, "retweet_count", "repost_count"),
        replies=_number(metrics, "reply_count"),
        quotes=_number(metrics, "quote_count"),
    )


_READERS: dict[str, Callable[[dict[str, Any]], Columns]] = {"x": _x, "x-stream": _x}


def _references(*lists: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for entries in lists:
        for entry in map(_object, entries if isinstance(entries, list) else []):
            kind, post_id = _text(entry.get("type")), _text(entry.get("id"))
            if kind is not None and post_id is not None:
                found.setdefault(kind, post_id)
    return found


def _tags(entries: Any) -> tuple[str, ...] | None:
    if not isinstance(entries, list):
        return None
    tags = (_text(_object(entry).get("tag")) for entry in entries)
    return tuple(tag for tag in tags if tag is not None)


def _object(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _text(found: Any) -> str | None:
    return found if isinstance(found, str) else None


def _number(found: dict[str, Any], *names: str) -> int | None:
    for name in names:
        number = found.get(name)
        # True is a number to Python.
        if isinstance(number, int) and not isinstance(number, bool) and abs(number) <= _LARGEST:
            return number
    return None
