"""What a source delivers: posts, the stretch of time they make complete, or why there are none."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Post:
    """A public post, reduced to what counting needs.

    `key` names it once and for all, whichever source brings it and however often it is edited:
    `x:<id of the first version>`, `bluesky:<did>/<rkey>`, `mastodon:<uri>`. `author` names its
    author as lastingly: `x:<user id>`, never a handle, which changes. `created_ms` is the moment
    of its first version in Unix milliseconds.
    """

    key: str
    author: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Raw:
    """A post as its network sent it: `text` is one JSON object in one line.

    version: names this version of the post for good, whichever listener received it.
    post: what was made out of it; None if it could not be read.
    """

    version: str
    text: str
    post: Post | None


class Span(NamedTuple):
    """A stretch of time (since, until], in Unix milliseconds."""

    since_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Removal:
    """A post that its network has taken down, and when (Unix milliseconds)."""

    key: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A source's word: posts in any order, and what they make complete.

    covers: the stretch of which the source has now delivered every post, but for those at
    the moments `unreadable` (Unix ms), which it could not make out.
    server_ms: the server's own idea of now, when it said so.
    raw: what the posts were made of and what none could be made of, for the archive, if there
    is one.
    has_more: the source is not done, another batch follows at once.
    cursor: JSON by which the source goes on after a restart as if it had never ended.
    """

    source: str
    posts: tuple[Post, ...] = ()
    removals: tuple[Removal, ...] = ()
    covers: Span | None = None
    unreadable: tuple[int, ...] = ()
    server_ms: int | None = None
    raw: tuple[Raw, ...] = ()
    has_more: bool = False
    cursor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A source's word that it has none now: `detail` is a plain sentence for the owner.

    needs_owner: it will not mend itself.
    """

    source: str
    detail: str
    needs_owner: bool = False
    server_ms: int | None = None
