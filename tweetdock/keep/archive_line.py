"""A line of the archive: a raw post as it was received, and beside it whence, when and whose."""

import json
import re
from dataclasses import dataclass
from typing import Any, Self

from tweetdock.core.errors import LineError
from tweetdock.core.post import Post, Raw
from tweetdock.core.times import parse_ms, rfc3339

_HEADING = re.compile(
    rb'\{"received": "(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)", "source": "[^"\\]*", '
    rb'"version": ("(?:[^"\\]|\\.)*"), '
)


@dataclass(frozen=True, slots=True)
class Line:
    """One raw post of one source, and when it was received (Unix ms).

    As text it is one JSON object: `received` and `created` (RFC 3339), `source`, `version`, `key`,
    `author`, and last `post`, as the network sent it. Of a post that could not be made out, `key`,
    `author` and `created` are null.
    """

    received_ms: int
    source: str
    raw: Raw

    @property
    def at_ms(self) -> int:
        """When the post was made; when it was received if that could not be made out."""
        return self.received_ms if self.raw.post is None else self.raw.post.created_ms

    def as_text(self) -> str:
        """The line, without its end."""
        post = self.raw.post
        beside = {
            "received": rfc3339(self.received_ms),
            "source": self.source,
            "version": self.raw.version,
            "key": post and post.key,
            "author": post and post.author,
            "created": post and rfc3339(post.created_ms),
        }
        return f'{json.dumps(beside)[:-1]}, "post": {self.raw.text}}}'

    def as_bytes(self) -> bytes:
        """The line as it stands in a file, with its end."""
        # Half a surrogate pair, which JSON allows and UTF-8 does not, stays the escape it was.
        return self.as_text().encode("utf-8", "backslashreplace") + b"\n"

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """The line that was written as `text`; raises LineError for what is none."""
        try:
            found = json.loads(text)
            raw = Raw(_text(found, "version"), json.dumps(found["post"]), _post(found))
            return cls(parse_ms(_text(found, "received")), _text(found, "source"), raw)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise LineError("not a line of a TweetDock archive") from error


def glance(text: bytes) -> tuple[int, str]:
    """When a line was received (Unix ms) and its post's version; raises LineError.

    Of a line as we write it, which need not be whole, the post is not parsed: that takes ten
    times as long.
    """
    try:
        if match := _HEADING.match(text):
            return parse_ms(match[1].decode()), str(json.loads(match[2]))
    except ValueError as error:
        raise LineError("not a line of a TweetDock archive") from error
    line = Line.parse(text)
    return line.received_ms, line.raw.version


def _post(found: dict[str, Any]) -> Post | None:
    if found["key"] is None:
        return None
    created_ms = parse_ms(_text(found, "created"))
    return Post(_text(found, "key"), _text(found, "author"), created_ms)


def _text(found: dict[str, Any], name: str) -> str:
    if not isinstance(text := found[name], str):
        raise TypeError(name)
    return text
