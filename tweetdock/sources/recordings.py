"""Posts out of recordings: any line that a network or TweetDock itself has ever written."""

import codecs
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from tweetdock.core.errors import PostError, TornError
from tweetdock.core.fingerprints import Fingerprints, fingerprint, salted
from tweetdock.core.post import Post
from tweetdock.core.times import YEAR_2000_MS, YEAR_2100_MS, parse_ms
from tweetdock.sources.mastodon.posts import parse_status
from tweetdock.sources.x.posts import snowflake_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

Text = bytes | TornError  # a line of a file, with or without its end; or a damaged place
Entry = Post | PostError | TornError | None

LARGEST_DOCUMENT = 8 << 20  # bytes: of a file that is one JSON document over many lines
_BLANK = {b"", b"[", b"]"}  # brackets alone hold together an array with an entry a line
# What the streaming API of Twitter's version 1.1 sent beside posts:
# https://developer.twitter.com/en/docs/twitter-api/v1/tweets/filter-realtime
_NOTICES = {
    *("delete", "scrub_geo", "limit", "status_withheld", "user_withheld", "disconnect"),
    *("warning", "event", "friends", "friends_str"),
}


class Recording:
    """The posts of a file in the order of time, each key once, at the first moment it is given.

    times: when each was made, in Unix milliseconds; in order once the recording is closed.
    Some 50 bytes a post of X and 70 an author at a million posts; while it is being filled, 40
    more a post.
    """

    def __init__(self) -> None:
        self._keys = bytearray()
        self._ends = array("Q", (0,))  # of the keys, by row
        self.times = array("q")  # by row
        self._authors = array("I")  # by row, numbers of
        self._names: dict[str, int] = {}
        self._name_of: Sequence[str] = ()
        self._rows: Sequence[int] = ()
        self._known = Fingerprints()
        self._salted = salted(b"")

    def __len__(self) -> int:
        return len(self.times)

    @property
    def authors(self) -> int:
        """How many authors wrote them."""
        return len(set(self._authors))

    def add(self, post: Post) -> None:
        """Add a post, before the recording is closed."""
        row = self._known.add(fingerprint(post.key, self._salted)) - 1
        author = self._names.setdefault(post.author, len(self._names))
        if row < 0:
            row = -row - 2
            if post.created_ms < self.times[row]:
                self.times[row] = post.created_ms
                self._authors[row] = author
            return
        # Foreign JSON may hold half a surrogate pair.
        self._keys += post.key.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._keys))
        self.times.append(post.created_ms)
        self._authors.append(author)

    def close(self) -> None:
        """Bring the posts in order; none can be added any more."""
        time_of = self.times.__getitem__
        self._rows = range(len(self.times))
        if any(later < sooner for sooner, later in pairwise(self.times)):
            self._rows = array("I", sorted(self._rows, key=time_of))
            self.times = array("q", map(time_of, self._rows))
        self._name_of = list(self._names)
        self._names = {}
        self._known = Fingerprints()

    def __getitem__(self, number: int) -> Post:
        """The post of that number in the order of time."""
        row = self._rows[number]
        key = self._keys[self._ends[row] : self._ends[row + 1]].decode("utf-8", "surrogatepass")
        return Post(key, self._name_of[self._authors[row]], self.times[number])


class RecordingSummary:
    """How many entries a file has, of which kinds, and what to say of them."""

    def __init__(self) -> None:
        self.entries = 0
        self._strange: Counter[str] = Counter()
        self._damage: list[str] = []
        self._others = 0

    def count(self, entry: Entry) -> None:
        """Count one more."""
        if isinstance(entry, TornError):
            self._damage.append(str(entry))
            return
        self.entries += 1
        self._others += entry is None
        if isinstance(entry, PostError):
            self._strange[str(entry)] += 1

    @property
    def sentences(self) -> Iterator[str]:
        """What is wrong with the file; nothing with a good one."""
        if number := self._strange.total():
            kinds = ", ".join(f"{times:,} {kind}" for kind, times in self._strange.most_common())
            what = "is no post" if number == 1 else "are no posts"
            yield f"{self._share(number)} {what} ({kinds})"
        if self._damage:
            places = "1 place" if len(self._damage) == 1 else f"{len(self._damage):,} places"
            yield f"damaged at {places} ({self._damage[0]})"

    @property
    def others(self) -> Iterator[str]:
        """What is no post, but never was meant to be."""
        if self._others:
            is_one = self._others == 1
            what = (
                "is a repost, a deletion or such" if is_one else "are reposts, deletions and such"
            )
            yield f"{self._share(self._others)} {what}"

    def _share(self, number: int) -> str:
        return f"{number:,} of {counted(self.entries, 'entry', 'entries')}"


def counted(number: int, one: str, several: str) -> str:
    """So many of a thing, as people say it."""
    return f"{number:,} {one if number == 1 else several}"


def entries(texts: Iterable[Text]) -> Iterator[Entry]:
    """What the lines of a file hold, in order, whichever forms they mix.

    Forms: posts, pages and stream objects of X's API v2; statuses, result pages and streams of
    Twitter's 1.1; events of Bluesky's Jetstream; Mastodon's statuses; lines of a TweetDock archive.
    One of each may take a line, and an array may hold them; a file may also be one such document
    over many lines, up to 8 MB.  A Post is one to be counted, None an entry that is none and never
    was meant to be: a repost, a deletion, an event. A PostError is what no network sends, a
    TornError a damaged place.
    """
    lines = iter(texts)
    opening = list(_opening(lines))
    try:
        found = decode(b"\n".join(text for text in opening if not isinstance(text, TornError)))
    except PostError:
        lines = chain(opening, lines)
    else:
        yield from (text for text in opening if isinstance(text, TornError))
        yield from posts_of(found)
    for text in lines:
        yield from [text] if isinstance(text, TornError) else _of_line(text)


def decode(text: bytes) -> Any:
    """The JSON in a text; PostError if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PostError("no JSON") from error


def posts_of(found: Any) -> Iterator[Post | PostError | None]:
    """The posts in one decoded entry, or array of entries; see `entries` for what else comes."""
    for thing in found if isinstance(found, list) else [found]:
        for entry in _unwrapped(thing):
            try:
                yield post_of(entry)
            except PostError as error:
                yield error


def post_of(entry: Any) -> Post | None:
    """The post in one entry; None if it holds none on purpose; PostError says what it lacks."""
    if not isinstance(entry, dict):
        raise PostError("no object")
    for marks, read in _FORMS:
        if marks <= entry.keys():
            post = read(entry)
            if post and not YEAR_2000_MS <= post.created_ms < YEAR_2100_MS:
                raise PostError("no sensible date")
            return post
    if entry.keys() & _NOTICES:
        return None
    raise PostError("nothing that a network sends")


def _opening(lines: Iterator[Text]) -> Iterator[Text]:
    """The first line, and if it is but the beginning of a JSON document, what may be the rest."""
    size, is_array = 0, False
    for text in lines:
        yield text
        if isinstance(text, TornError):
            if size:
                return
            continue
        bare = text.removeprefix(codecs.BOM_UTF8).strip()
        # An array with an entry a line, which may be of any size, shows itself in its second line.
        is_first = not size or (is_array and size == 1)
        if bare and is_first and not _begins_document(bare.removesuffix(b",")):
            return
        is_array = is_array or (bare == b"[" and not size)
        size += len(bare)
        if size > LARGEST_DOCUMENT:
            return


def _begins_document(line: bytes) -> bool:
    if line[:1] not in (b"[", b"{"):
        return False
    try:
        decode(line)
    except PostError:
        return True
    return False


def _of_line(text: bytes) -> Iterator[Post | PostError | None]:
    text = text.removeprefix(codecs.BOM_UTF8).strip().removesuffix(b",")
    if text in _BLANK:
        return
    try:
        found = decode(text)
    except PostError as error:
        yield error
    else:
        yield from posts_of(found)


def _unwrapped(thing: Any) -> Iterator[Any]:
    if not isinstance(thing, dict):
        yield thing
    elif isinstance(data := thing.get("data", thing.get("statuses")), list):
        yield from data
    elif isinstance(data, dict):
        yield data
    elif thing.keys() != {"meta"}:  # which is a page without posts
        yield thing


def _of_archive(entry: dict[str, Any]) -> Post | None:
    if entry["key"] is None:
        return None
    return Post(_text(entry, "key"), _text(entry, "author"), _date(entry, "created"))


def _of_jetstream(event: dict[str, Any]) -> Post | None:
    # https://github.com/bluesky-social/jetstream: `time_us`, not the author's own `createdAt`.
    commit = event.get("commit")
    if event["kind"] != "commit" or not isinstance(commit, dict):
        return None
    if (commit.get("operation"), commit.get("collection")) != ("create", "app.bsky.feed.post"):
        return None
    did, time_us = _text(event, "did"), event["time_us"]
    if not isinstance(time_us, int):
        raise PostError("no time_us")
    return Post(f"bluesky:{did}/{_text(commit, 'rkey')}", f"bluesky:{did}", time_us // 1000)


def _of_mastodon(status: dict[str, Any]) -> Post | None:
    return parse_status(status, YEAR_2100_MS)


def _of_x(entry: dict[str, Any]) -> Post | None:
    references = entry.get("referenced_tweets") or entry.get("referenced_posts") or []
    if not isinstance(references, list):
        raise PostError("no list of references")
    if any(isinstance(one, dict) and one.get("type") == "retweeted" for one in references):
        return None
    number = _number(entry.get("id"), "id")
    author = _number(entry["author_id"], "author_id")
    history = entry.get("edit_history_tweet_ids") or entry.get("edit_history_post_ids") or [number]
    first = _number(history[0] if isinstance(history, list) else None, "edit history")
    if first > number:
        raise PostError("no edit history")
    created_ms = _date(entry, "created_at")
    # created_at is cut to the second and an edit has its own; the first version's id knows the
    # millisecond. Ids from before November 2010 know nothing, and contradict.
    if 0 <= snowflake_ms(number) - created_ms < 1000:
        created_ms = snowflake_ms(first)
    return Post(f"x:{first}", f"x:{author}", created_ms)


def _of_twitter(status: dict[str, Any]) -> Post | None:
    # Twitter's API 1.1: https://developer.twitter.com/en/docs/twitter-api/v1/data-dictionary
    if status.get("retweeted_status") is not None:
        return None
    user = status["user"]
    if not isinstance(user, dict):
        raise PostError("no user")
    renamed = {"id": status.get("id_str", status.get("id"))}
    renamed["author_id"] = user.get("id_str", user.get("id"))
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


def _number(value: Any, name: str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 19:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 63:
        raise PostError(f"no {name}")
    return value


def _date(entry: dict[str, Any], name: str) -> int:
    try:
        return parse_ms(_text(entry, name))
    except ValueError as error:
        raise PostError(f"no {name}") from error
