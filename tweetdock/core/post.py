"""What a source delivers: posts and the stretch of time that is complete, or why there are none."""

import json
import unicodedata
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

COUNTS = "counts"  # what requests for mere numbers are booked as, beside the sources' posts


def fold(hashtag: str) -> str:
    """What hashtags are compared by, whoever wrote them: letters of any case and width are one."""
    plain = unicodedata.normalize("NFKC", hashtag).casefold()
    return unicodedata.normalize("NFKC", plain).strip().removeprefix("#")


@dataclass(frozen=True, slots=True)
class Post:
    """A public post, reduced to what counting needs.

    `key` names it once and for all, whichever source brings it and however often it is edited:
    `x:<id of the first version>`, `bluesky:<did>/<rkey>`, `mastodon:<uri>`. `author` names its
    author as lastingly: `x:<user id>`, never a handle, which changes. `created_ms` is the moment
    of its first version in Unix milliseconds, `as_of_ms` one at which it was there, if that is
    known: it counts again if it was removed before that.
    """

    key: str
    author: str
    created_ms: int
    as_of_ms: int = field(default=0, compare=False)


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


class Spent(NamedTuple):
    """What was asked of a source in a day, and how many posts it returned."""

    requests: int
    posts: int


@dataclass(frozen=True, slots=True)
class Removal:
    """A post that counts no more, since when (Unix milliseconds), and its own time, if known.

    It was deleted, or has none of our hashtags any more.
    """

    key: str
    at_ms: int
    created_ms: int | None = None


class Late(NamedTuple):
    """How long after they were written posts show in a feed: at least, and until it is measured.

    Both 0: none is ever late, and nothing is measured.
    """

    least_ms: int = 0
    assumed_ms: int = 0


class Feed(NamedTuple):
    """What has a coverage of its own: a source, or each of the servers that it asks.

    lag_ms: how far behind now it usually is, beside what may come late; a shorter stretch at the
    end is no gap.
    """

    source: str
    lag_ms: int
    server: str = ""
    late: Late = Late()

    @property
    def name(self) -> str:
        """`bluesky`, or `mastodon fosstodon.org`."""
        return feed_name(self.source, self.server)


def source_of(feed: str) -> str:
    """The source that a feed is of, by its name."""
    return feed if feed.startswith("replay:") else feed.partition(" ")[0]


def network_of(source: str) -> str:
    """The network that a source asks, in whichever way."""
    return source.partition("-")[0]


def feed_name(source: str, server: str = "") -> str:
    """The name of a source's feed: `bluesky`, or `mastodon fosstodon.org`."""
    return f"{source} {server}" if server else source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """What comes from a feed.

    channel: by which of its ways, if it has several at once; each has troubles of its own.
    server_ms: the server's own idea of now, when it said so.
    """

    source: str
    server: str = ""
    channel: str = ""
    server_ms: int | None = None

    @property
    def feed(self) -> str:
        """The feed's name."""
        return feed_name(self.source, self.server)


class Tally(NamedTuple):
    """How many posts a network says that there were in the window up to a moment (Unix ms)."""

    posts: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(_Message):
    """Posts of a feed in any order, and the stretch of time that they make complete.

    covers: the stretch of which the feed has now delivered every post that it shows, but for those
    at the moments `unreadable` (Unix ms), which could not be read.
    read_ms: when it was asked for them, by its own time (Unix ms); None: just now.
    raw: what the posts were made of and what none could be made of, for the archive, if there
    is one.
    has_more: the feed is not done, another batch follows at once.
    cursor: JSON by which the feed goes on after a restart as if it had never ended.
    lost: why a stretch of the window that was not delivered never will be; empty: it may be.
    doubt: why what it covers may be of another time; empty: it is not.
    remark: what the owner should know though all is well, such as what it costs.
    billed: how many posts the network takes money for; None: for each that it sent.
    tally: a number instead of posts.
    """

    posts: tuple[Post, ...] = ()
    removals: tuple[Removal, ...] = ()
    covers: Span | None = None
    read_ms: int | None = None
    unreadable: tuple[int, ...] = ()
    raw: tuple[Raw, ...] = ()
    has_more: bool = False
    cursor: str = ""
    lost: str = ""
    doubt: str = ""
    remark: str = ""
    billed: int | None = None
    tally: Tally | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble(_Message):
    """A feed has no answer now: `detail` is a plain sentence for the owner.

    needs_owner: it will not mend itself. by_choice: the network would answer, but is not asked.
    """

    detail: str
    needs_owner: bool = False
    by_choice: bool = False


def unreadable_raw(source: str, entry: Any) -> Raw:
    """What no post could be made of, under a name that whoever received the same gives it, too."""
    text = one_line(entry)
    mark = blake2b(text.encode(), digest_size=8).hexdigest()
    return Raw(f"{source}:unreadable:{mark}", text, None)


def one_line(entry: Any) -> str:
    """A decoded entry as JSON that UTF-8 can hold; `{}` for one too deep to be written."""
    try:
        text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except RecursionError:  # it was just shallow enough to be read
        return "{}"
    except UnicodeEncodeError:  # half a surrogate pair is JSON, but no UTF-8
        return json.dumps(entry, separators=(",", ":"))
    return text
