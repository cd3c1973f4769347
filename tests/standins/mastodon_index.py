"""What a stand-in Mastodon server knows: posts with its own ids, found by tag, from a moment on."""

import random
import unicodedata
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

from tweetdock.core.times import rfc3339

Ids = Literal["snowflakes", "letters", "small numbers"]
Json = dict[str, Any]
DEFAULT_LIMIT, MAX_LIMIT = 20, 40


def normal(tag: str) -> str:
    """A tag as servers compare it."""
    return unicodedata.normalize("NFKC", tag).casefold()


@dataclass(frozen=True, slots=True)
class Note:
    """A post of the fediverse, wherever it is known.

    uri: the same on every server, as is the author's address. Times in unix milliseconds.
    """

    uri: str
    author: str
    created_ms: int
    tags: tuple[str, ...]
    text: str = ""
    edited_ms: int | None = None
    boost: bool = False


@dataclass(slots=True)
class Entry:
    """A note on one server: since when it shows there, and until when."""

    note: Note
    id: str
    order: int | str
    shows_ms: int
    gone_ms: int | None = None
    tags: frozenset[str] = field(default_factory=frozenset)

    def shows(self, now_ms: int) -> bool:
        """Whether it is there at that time."""
        return self.shows_ms <= now_ms and (self.gone_ms is None or now_ms < self.gone_ms)


class Index:
    """The entries of one server.

    hidden: uris of notes that it keeps back after it has cut out a page.
    """

    def __init__(self, ids: Ids, seed: int = 1) -> None:
        self._ids = ids
        self._dice = random.Random(seed)
        self.entries: list[Entry] = []  # as they were added
        self._in_order: list[Entry] = []
        self.hidden: Set[str] = frozenset()

    def add(self, note: Note, shows_ms: int, *, is_own: bool) -> Entry:
        """Let a note show from a moment on, under an id as the software makes them."""
        number = len(self.entries)
        order: int | str
        match self._ids:
            case "letters":
                order = f"A{number:017d}"
            case "small numbers":
                order = number + 1
            case _:
                # One from elsewhere has its moment by the second only; one of a time to come, none.
                moment = note.created_ms
                if not is_own and moment < shows_ms:
                    moment = moment // 1000 * 1000 + self._dice.randrange(1000)
                order = (min(moment, shows_ms) << 16) + self._dice.randrange(1 << 16)
        tags = frozenset(map(normal, note.tags))
        entry = Entry(note, str(order), order, shows_ms, tags=tags)
        self.entries.append(entry)
        insort(self._in_order, entry, key=lambda entry: entry.order)
        return entry

    def find(self, tag: str, params: dict[str, str], now_ms: int) -> list[Entry]:
        """A page, newest first, by Mastodon's rules for `min_id`, `since_id`, `max_id`, `limit`."""
        wanted = normal(tag)
        min_id, max_id = params.get("min_id"), params.get("max_id")
        above = min_id or params.get("since_id")
        first = self._place(bisect_right, above) if above else 0
        last = self._place(bisect_left, max_id) if max_id else len(self._in_order)
        numbers = range(first, last) if min_id else range(last - 1, first - 1, -1)
        entries = (self._in_order[number] for number in numbers)
        shown = (e for e in entries if wanted in e.tags and e.shows(now_ms))
        limit = min(MAX_LIMIT, int(params.get("limit", DEFAULT_LIMIT)))
        found = [e for e in islice(shown, limit) if e.note.uri not in self.hidden]
        return found[::-1] if min_id else found

    def has(self, tag: str, now_ms: int) -> bool:
        """Whether anything was ever found by a tag."""
        return any(normal(tag) in e.tags and e.shows_ms <= now_ms for e in self.entries)

    def by_id(self, status_id: str) -> Entry | None:
        """The entry of that id, if there is one."""
        return next((entry for entry in self.entries if entry.id == status_id), None)

    def by_uri(self, uri: str) -> Entry:
        """The entry of a note."""
        return next(entry for entry in self.entries if entry.note.uri == uri)

    def _place(self, bisect: Callable[..., int], text: str) -> int:
        order = text if self._ids == "letters" else int(text)
        return bisect(self._in_order, order, key=lambda entry: entry.order)


def as_status(entry: Entry) -> Json:
    """An entry as the API shows it."""
    note = entry.note
    status: Json = {
        "id": entry.id,
        "created_at": rfc3339(note.created_ms),
        "in_reply_to_id": None,
        "sensitive": False,
        "visibility": "public",
        "language": "en",
        "uri": note.uri,
        "url": note.uri,
        "edited_at": None if note.edited_ms is None else rfc3339(note.edited_ms),
        "content": f"<p>{note.text}</p>",
        "reblog": None,
        "account": {"id": "1", "acct": note.author.rpartition("@")[2], "url": note.author},
        "tags": [{"name": tag, "url": f"https://example.org/tags/{tag}"} for tag in note.tags],
    }
    if note.boost:
        inner = as_status(replace_boost(entry))
        status |= {"reblog": inner, "tags": []}
    return status


def replace_boost(entry: Entry) -> Entry:
    """What a boost boosts."""
    return replace(entry, note=replace(entry.note, boost=False))
