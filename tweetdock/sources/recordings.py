"""Posts out of recordings: any line that a network or TweetDock itself has ever written."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any

from tweetdock.core.errors import PostError, TornError
from tweetdock.core.post import Post
from tweetdock.core.times import YEAR_2000_MS, YEAR_2100_MS, parse_ms
from tweetdock.sources.bluesky.events import COLLECTION, names_of, tid_ms
from tweetdock.sources.mastodon.posts import parse_status
from tweetdock.sources.x.posts import objects, parse_post

Text = bytes | TornError  # a line of a file, with or without its end; or a damaged place
Entry = Post | PostError | TornError | None


class Recording:
    """What a file holds: its posts, each key once, at the first moment it is given; and the rest.

    entries: how many there are, posts or not.
    """

    def __init__(self) -> None:
        self.entries = 0
        self._posts: dict[str, Post] = {}
        self._others = 0
        self._lacks: Counter[str] = Counter()
        self._damage: list[str] = []

    def __len__(self) -> int:
        """How many posts there are."""
        return len(self._posts)

    def add(self, entry: Entry) -> None:
        """Add what was read next."""
        if isinstance(entry, TornError):
            self._damage.append(str(entry))
            return
        self.entries += 1
        match entry:
            case None:
                self._others += 1
            case PostError():
                self._lacks[str(entry)] += 1
            case Post(key):
                known = self._posts.get(key)
                if known is None or entry.created_ms < known.created_ms:
                    self._posts[key] = entry

    def in_order(self) -> list[Post]:
        """The posts in the order of time."""
        return sorted(self._posts.values(), key=attrgetter("created_ms"))

    @property
    def troubles(self) -> str:
        """What is wrong with the file; empty for a good one."""
        found = []
        if number := self._lacks.total():
            kinds = ", ".join(f"{times:,} {lack}" for lack, times in self._lacks.most_common())
            found.append(f"entries that cannot be read: {number:,} of {self.entries:,} ({kinds})")
        if self._damage:
            found.append(f"damaged places: {len(self._damage):,} ({self._damage[0]})")
        return "; ".join(found)

    @property
    def contents(self) -> str:
        """What there is instead of posts."""
        others = f"reposts, deletions and other entries: {self._others:,}" if self._others else ""
        return "; ".join(filter(None, (self.troubles, others))) or "it is empty"


def entries(texts: Iterable[Text]) -> Iterator[Entry]:
    """What the lines of a file hold, in order, whichever forms they mix; one JSON object a line.

    Forms: posts, pages and stream objects of X's API v2; statuses, result pages and streams of
    Twitter's 1.1; events of Bluesky's Jetstream; Mastodon's statuses; lines of a TweetDock archive.
    A Post is one to be counted, None an entry that is none: a repost, a deletion, an event. A
    PostError is what cannot be read, a TornError a damaged place.
    """
    for text in texts:
        if isinstance(text, TornError):
            yield text
        elif bare := text.strip():
            yield from _of_line(bare)


def _of_line(text: bytes) -> Iterator[Post | PostError | None]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        yield PostError("no JSON")
        return
    for entry in _unwrapped(found):
        try:
            yield post_of(entry)
        except PostError as error:
            yield error


def _unwrapped(thing: Any) -> list[Any]:
    """The entries of a page, or the one of a stream's object."""
    data = thing.get("data", thing.get("statuses")) if isinstance(thing, dict) else None
    if isinstance(data, list):
        return data
    return [data if isinstance(data, dict) else thing]


def post_of(entry: Any) -> Post | None:
    """The post in one entry; None if it holds none; PostError says what it lacks."""
    if not isinstance(entry, dict):
        raise PostError("no object")
    for marks, read in _FORMS:
        if marks <= entry.keys():
            post = read(entry)
            if post and not YEAR_2000_MS <= post.created_ms < YEAR_2100_MS:
                raise PostError("no sensible date")
            return post
    return None


def _of_archive(entry: dict[str, Any]) -> Post | None:
    if entry["key"] is None:
        return None
    return Post(_text(entry, "key"), _text(entry, "author"), _date(entry, "created"))


def _of_jetstream(event: dict[str, Any]) -> Post | None:
    # https://github.com/bluesky-social/jetstream: `time_us`, not the author's own `createdAt`, and
    # of a change the time in the record's key.
    commit = event.get("commit")
    if event["kind"] != "commit" or not isinstance(commit, dict):
        return None
    operation = commit.get("operation")
    if operation not in ("create", "update") or commit.get("collection") != COLLECTION:
        return None
    did, rkey, time_us = _text(event, "did"), _text(commit, "rkey"), event["time_us"]
    if not isinstance(time_us, int):
        raise PostError("no time_us")
    created_ms = tid_ms(rkey, time_us) if operation == "update" else None
    created_ms = time_us // 1000 if created_ms is None else created_ms
    names = names_of(commit.get("record")) or (f"bluesky:{did}/{rkey}", f"bluesky:{did}")
    return Post(*names, created_ms)


def _of_mastodon(status: dict[str, Any]) -> Post | None:
    return parse_status(status, YEAR_2100_MS)


def _of_x(entry: dict[str, Any]) -> Post | None:
    references = entry.get("referenced_tweets") or entry.get("referenced_posts")
    if any(one.get("type") == "retweeted" for one in objects(references)):
        return None
    return parse_post(entry, YEAR_2100_MS)[0]


def _of_twitter(status: dict[str, Any]) -> Post | None:
    # Twitter's API 1.1: https://developer.twitter.com/en/docs/twitter-api/v1/data-dictionary
    if status.get("retweeted_status") is not None:
        return None
    user = status["user"]
    if not isinstance(user, dict):
        raise PostError("no user")
    renamed = {"id": str(status.get("id_str", status.get("id")))}
    renamed["author_id"] = str(user.get("id_str", user.get("id")))
    return _of_x(renamed | {"created_at": status.get("created_at")})


# What each form has that no other has, the surest first.
_FORMS: tuple[tuple[frozenset[str], Callable[[dict[str, Any]], Post | None]], ...] = (
    (frozenset({"received", "version", "key"}), _of_archive),
    (frozenset({"did", "time_us", "kind"}), _of_jetstream),
    (frozenset({"uri", "account"}), _of_mastodon),
    (frozenset({"author_id"}), _of_x),
    (frozenset({"user"}), _of_twitter),
)


def _text(entry: dict[str, Any], name: str) -> str:
    if not (isinstance(text := entry.get(name), str) and text):
        raise PostError(f"no {name}")
    return text


def _date(entry: dict[str, Any], name: str) -> int:
    try:
        return parse_ms(_text(entry, name))
    except ValueError as error:
        raise PostError(f"no {name}") from error
