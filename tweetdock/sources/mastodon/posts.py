"""Posts as Mastodon writes them, which it calls statuses: ids that tell the time, uris, boosts."""

import json
import unicodedata
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from tweetdock.core.bridges import names_at
from tweetdock.core.clock import FUTURE_MS
from tweetdock.core.errors import LOG_IN, Kind, PostError, SourceError
from tweetdock.core.post import Post, Raw, Span, fold, one_line, unreadable_raw
from tweetdock.core.times import parse_ms
from tweetdock.sources.unreadable import Unreadable

FIRST_SERVER_MS = 1_450_000_000_000  # no server of Mastodon's kind is older
SLACK_MS = 2_000  # an id is made a moment before or after created_at, or anywhere in its second
LONGEST_NAME = 2048


def moment_of(snowflake: int) -> int:
    """The unix millisecond in an id as Mastodon makes them.

    A post from elsewhere gets its moment from its created_at, cut to the second and filled up at
    random: one that comes late has its place among those that are there.
    https://docs.joinmastodon.org/api/guidelines/#id
    """
    return snowflake >> 16


def ids_of(span: Span) -> tuple[int, int]:
    """The `since_id` and `max_id` (exclusive bounds) that let through all posts of a stretch."""
    since_s, until_s = span.since_ms // 1000, span.until_ms // 1000 + 1
    return max(0, ((since_s * 1000 - SLACK_MS) << 16) - 1), (until_s * 1000 + SLACK_MS) << 16


@dataclass(frozen=True, slots=True)
class Status:
    """A post, by the id that its server gave it, and as it came, if that is wanted."""

    id: str
    post: Post
    raw: Raw | None


@dataclass(frozen=True, slots=True)
class StatusPage:
    """A page of a timeline, newest first, boosts left out of `statuses`.

    size: how many entries it had. ids: of all that had one. snowflakes: those among them that
    can be believed to tell the time. served_ms: when the server was asked for it, by its own time.
    server_ms: what time it was there when the page was here; None if the server did not say.
    """

    size: int = 0
    statuses: tuple[Status, ...] = ()
    ids: tuple[str, ...] = ()
    snowflakes: tuple[int, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    served_ms: int = 0
    server_ms: int | None = None

    @property
    def is_by_time(self) -> bool:
        """Whether its ids are such as Mastodon makes; other software has others."""
        return len(self.snowflakes) * 2 > self.size


def parse_page(
    body: bytes, at_ms: int, host: str, *, asked_ms: int = 0, keeps_raw: bool = False
) -> StatusPage:
    """A tag timeline's answer as a page; SourceError if it is none. at_ms: when it came.

    asked_ms: when it was asked for, by our clock.
    https://docs.joinmastodon.org/methods/timelines/#tag
    """
    entries = decode(body)
    if not isinstance(entries, list):
        what = f"{host} answers, but not with posts, so it may be no Mastodon server"
        raise SourceError(what, f"check TWEETDOCK_MASTODON; or {LOG_IN}", kind=Kind.STRANGER)
    ids = [status_id for entry in entries if (status_id := _status_id(entry))]
    snowflakes = [_snowflake(status_id, at_ms) for status_id in ids]
    statuses, unreadable = [], []
    for entry in entries:
        try:
            statuses.append(read_status(entry, at_ms, asked_ms, keeps_raw=keeps_raw))
        except PostError as error:
            snowflake = _snowflake(_status_id(entry), at_ms)
            near_ms = at_ms if snowflake is None else moment_of(snowflake)
            raw = unreadable_raw("mastodon", entry)
            unreadable.append(Unreadable(raw.version, near_ms, str(error), raw))
    return StatusPage(
        size=len(entries),
        statuses=tuple(filter(None, statuses)),
        ids=tuple(ids),
        snowflakes=tuple(filter(None, snowflakes)),
        unreadable=tuple(unreadable),
    )


def read_status(entry: Any, at_ms: int, as_of_ms: int, *, keeps_raw: bool = False) -> Status | None:
    """A status, there at `as_of_ms`; None if it is a boost, PostError says what it lacks."""
    post = parse_status(entry, at_ms, as_of_ms)
    if post is None:
        return None
    return Status(_status_id(entry), post, as_received(entry, post) if keeps_raw else None)


def has_tag(entry: Any, tags: Set[str]) -> bool:
    """Whether a status has one of the hashtags, which are in their `plain` form; or says none."""
    found = entry.get("tags") if isinstance(entry, dict) else None
    if not isinstance(found, list):
        return True
    names = (name_of(tag.get("name")) for tag in found if isinstance(tag, dict))
    return not tags.isdisjoint(map(plain, names))


def plain(hashtag: str) -> str:
    """What hashtags are compared by on a server: without accents, too.

    https://github.com/mastodon/mastodon/blob/main/app/lib/hashtag_normalizer.rb
    """
    return "".join(
        c for c in unicodedata.normalize("NFKD", fold(hashtag)) if not unicodedata.combining(c)
    )


def parse_status(entry: Any, at_ms: int, as_of_ms: int = 0) -> Post | None:
    """A post, there at `as_of_ms`; None for a boost; PostError says what it lacks.

    at_ms: now. What is dated in the future was created when it came: by its id if that tells,
    so that it is no other moment when it is read again, or else now.
    https://docs.joinmastodon.org/entities/Status/
    """
    if not isinstance(entry, dict):
        raise PostError("no object")
    if entry.get("reblog") is not None:
        return None
    uri, account = name_of(entry.get("uri")), entry.get("account")
    if not uri:
        raise PostError("no uri")
    author = name_of(account.get("url")) if isinstance(account, dict) else ""
    if not author:
        raise PostError("no account")
    created_at = entry.get("created_at")
    try:
        created_ms = parse_ms(name_of(created_at))
    except (TypeError, ValueError, OverflowError) as error:
        raise PostError("no created_at") from error
    snowflake = _snowflake(_status_id(entry), at_ms)
    if snowflake is not None and created_ms > moment_of(snowflake) + SLACK_MS:
        created_ms = moment_of(snowflake)
    key, author = names_at(_address(uri, name_of(entry.get("url")))) or (
        f"mastodon:{uri}",
        f"mastodon:{author}",
    )
    return Post(key, author, min(created_ms, at_ms), as_of_ms)


def _address(uri: str, url: str) -> str:
    """What bridges know a post by: its page, where its uri has the author as a number."""
    host, _, rest = uri.partition("/ap/users/")
    is_same = url.startswith(f"{host}/@") and url.rpartition("/")[2] == rest.rpartition("/")[2]
    return url if is_same else uri


def as_received(entry: dict[str, Any], post: Post) -> Raw:
    """The status as it came, on one line, under a name of its own for each edit of it."""
    edited = name_of(entry.get("edited_at"))
    return Raw(f"{post.key}@{edited}" if edited else post.key, one_line(entry), post)


def decode(body: bytes) -> Any:
    """JSON as it came; None if it is none, which nothing that is wanted here is either."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _status_id(entry: Any) -> str:
    return name_of(entry.get("id")) if isinstance(entry, dict) else ""


def _snowflake(text: str, at_ms: int) -> int | None:
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        return None
    snowflake = int(text)
    return snowflake if FIRST_SERVER_MS <= moment_of(snowflake) <= at_ms + FUTURE_MS else None


def name_of(value: Any) -> str:
    """A text that can be kept and compared, or an empty one."""
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        return ""
    try:
        value.encode()
    except UnicodeEncodeError:
        return ""
    return value
