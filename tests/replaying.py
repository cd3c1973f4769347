"""Recordings made up for tests: the same post as each network writes it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tweetdock.core.post import Post, Raw
from tweetdock.core.times import rfc3339
from tweetdock.keep.archive_format import ArchiveLine

DAY_MS = 1_624_320_000_000  # 2021-06-22T00:00:00Z
JSON = dict[str, Any]

# Each form takes a post's number, its author's, and its moment in Unix milliseconds.
Form = Callable[[int, int, int], tuple[JSON, Post]]


def x_post(number: int, author: int, ms: int) -> tuple[JSON, Post]:
    """As X's API v2 has it; the id is too small to know the time."""
    entry = {"id": str(number), "author_id": str(author), "created_at": rfc3339(ms), "text": "a"}
    return entry, Post(f"x:{number}", f"x:{author}", ms)


def twitter_status(number: int, author: int, ms: int) -> tuple[JSON, Post]:
    """As Twitter's 1.1 had it, to the second."""
    date = datetime.fromtimestamp(ms // 1000, UTC).strftime("%a %b %d %H:%M:%S +0000 %Y")
    user = {"id": author, "id_str": str(author), "screen_name": "a"}
    entry = {"created_at": date, "id": number, "id_str": str(number), "user": user}
    return entry, Post(f"x:{number}", f"x:{author}", ms // 1000 * 1000)


def jetstream_event(number: int, author: int, ms: int) -> tuple[JSON, Post]:
    """As Jetstream's first version sends it; the author's own clock is wrong."""
    did, key = f"did:plc:{author}", f"rkey{number}"
    commit = {
        "operation": "create",
        "collection": "app.bsky.feed.post",
        "rkey": key,
        "record": {"$type": "app.bsky.feed.post", "createdAt": "1999-01-01T00:00:00Z"},
    }
    event = {"did": did, "time_us": ms * 1000 + 999, "kind": "commit", "commit": commit}
    return event, Post(f"bluesky:{did}/{key}", f"bluesky:{did}", ms)


def mastodon_status(number: int, author: int, ms: int) -> tuple[JSON, Post]:
    """As every server of Mastodon has it."""
    url = f"https://fosstodon.org/@{author}"
    uri = f"https://fosstodon.org/users/{author}/statuses/{number}"
    status = {
        "id": str(number + 5),
        "uri": uri,
        "created_at": rfc3339(ms),
        "account": {"acct": str(author), "url": url},
        "reblog": None,
    }
    return status, Post(f"mastodon:{uri}", f"mastodon:{url}", ms)


def archive_line(number: int, author: int, ms: int) -> tuple[JSON, Post]:
    """As our own archive has it."""
    post = Post(f"x:{number}", f"x:{author}", ms)
    line = ArchiveLine(ms + 30_000, "x", Raw(f"x:{number}", '{"id": "5", "data": []}', post))
    found: JSON = json.loads(line.as_text())
    return found, post


FORMS: list[Form] = [x_post, twitter_status, jetstream_event, mastodon_status, archive_line]


def as_line(entry: Any) -> bytes:
    """The entry as it stands in a file."""
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"
