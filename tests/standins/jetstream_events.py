"""Events as Bluesky's Jetstream sends them, made up, and what they amount to by brute force."""

import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

POST = "app.bsky.feed.post"
LIKE = "app.bsky.feed.like"
TID_LETTERS = "234567abcdefghijklmnopqrstuvwxyz"
Event = dict[str, Any]


def make_post(
    number: int,
    *tags: str,
    author: int = 0,
    hidden: tuple[str, ...] = (),
    operation: str = "create",
) -> Event:
    """A post by one of many authors; its time is that of its arrival. hidden: record.tags."""
    record: Event = {"$type": POST, "createdAt": "1985-04-12T23:20:50.520Z", "langs": ["en"]}
    if tags:
        record["facets"] = [
            {
                "features": [{"$type": "app.bsky.richtext.facet#tag", "tag": tag}],
                "index": {"byteEnd": 9, "byteStart": 0},
            }
            for tag in tags
        ]
    if hidden:
        record["tags"] = list(hidden)
    record["text"] = f'Post {number} says "time_us":1 and \\ more'
    return _commit(number, author, POST, operation, record)


def delete_post(number: int, *, author: int = 0) -> Event:
    """The end of the post of that number."""
    return _commit(number, author, POST, "delete", None)


def tid(ms: float, clock: int = 7) -> str:
    """A record's key as a clock of so many makes it at a time (https://atproto.com/specs/tid)."""
    number = round(ms * 1000) << 10 | clock
    return "".join(TID_LETTERS[number >> bits & 31] for bits in range(60, -1, -5))


def make_like(number: int) -> Event:
    """A like by somebody."""
    subject = {"cid": "bafyreib", "uri": f"at://did:plc:a/{POST}/3k{number}"}
    return _commit(number, number, LIKE, "create", {"$type": LIKE, "subject": subject})


def make_identity(number: int) -> Event:
    """News of somebody's handle."""
    did = f"did:plc:{number}"
    return {"did": did, "kind": "identity", "identity": {"did": did, "seq": number}}


def make_account(number: int) -> Event:
    """News of somebody's account."""
    did = f"did:plc:{number}"
    account = {"active": True, "did": did, "seq": number}
    return {"did": did, "kind": "account", "account": account}


def as_sent(event: Event, time_us: int) -> bytes:
    """An event in Jetstream's own order of keys."""
    ordered = {"did": event.get("did"), "time_us": time_us, **event}
    return json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()


def background(dice: random.Random, number: int) -> Event:
    """What goes on beside the posts that are looked for."""
    make: Callable[[int], Event] = dice.choice(
        [make_post, make_post, make_post, make_like, make_identity, make_account]
    )
    return make(number) if make is not make_post else make_post(number, "other", author=number)


class Truth:
    """Which posts with a hashtag there are, by their own times in microseconds."""

    def __init__(self, hashtag: str) -> None:
        self._hashtag = _folded(hashtag)
        self._posts: dict[str, tuple[int, str]] = {}
        self._gone: set[str] = set()

    def note(self, event: Event, time_us: int) -> None:
        """An event has happened."""
        commit = event.get("commit", {})
        if commit.get("collection") != POST:
            return
        key = f"{event['did']}/{commit['rkey']}"
        if self._hashtag in map(_folded, tags_of(commit.get("record") or {})):
            self._posts.setdefault(key, (time_us, event["did"]))
            self._gone.discard(key)
        elif commit["operation"] in ("delete", "update"):
            self._gone.add(key)

    def count(self, since_ms: int, until_ms: int) -> tuple[int, int]:
        """Unique posts and authors in (since, until]."""
        there = [
            author
            for key, (time_us, author) in self._posts.items()
            if key not in self._gone and since_ms < time_us // 1000 <= until_ms
        ]
        return len(there), len(set(there))


def tags_of(record: Event) -> Iterator[str]:
    """The hashtags of a well-formed record."""
    yield from record.get("tags", [])
    for facet in record.get("facets", []):
        for feature in facet["features"]:
            if feature["$type"] == "app.bsky.richtext.facet#tag":
                yield feature["tag"]


def _folded(tag: str) -> str:
    return unicodedata.normalize("NFKC", tag).casefold()


def _commit(
    number: int, author: int, collection: str, operation: str, record: Event | None
) -> Event:
    commit: Event = {"rev": f"3r{number}", "operation": operation, "collection": collection}
    commit["rkey"] = f"3k{number}"
    if record is not None:
        commit |= {"record": record, "cid": f"bafy{number}{operation}"}
    return {"did": f"did:plc:{author}", "kind": "commit", "commit": commit}
