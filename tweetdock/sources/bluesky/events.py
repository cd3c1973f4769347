"""Bluesky's events as Jetstream sends them; only those that may be posts of ours are decoded."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import ascii_lowercase, digits
from typing import Any

from tweetdock.core.bridges import Names, names_at
from tweetdock.core.post import fold, one_line

COLLECTION = "app.bsky.feed.post"
_COLLECTION = COLLECTION.encode()
TAG_FACET = "app.bsky.richtext.facet#tag"

# An event's beginning as Jetstream writes it, key by key: only there is it certain that a key is
# the event's own, and not one that somebody has put into his record.
_HEAD = re.compile(
    rb'\{"did":"[^"\\]*","time_us":(\d{1,18}),"kind":"(?:identity"|account"|commit","commit":'
    rb'\{"rev":"[^"\\]*","operation":"([a-z]+)","collection":"([^"\\]*)")'
)
_DID = re.compile(r"did:[a-z]+:[A-Za-z0-9._:%-]{1,2048}")
_RKEY = re.compile(r"[A-Za-z0-9._:~-]{1,512}")
_VERSION = re.compile(r"[A-Za-z0-9]{1,256}")
_PLAIN = re.compile(r"[a-z0-9_]+")
_TID = re.compile("[2-7a-j][2-7a-z]{12}")
_TID_DIGITS = str.maketrans(f"234567{ascii_lowercase}", f"{digits}{ascii_lowercase[:22]}")


@dataclass(frozen=True, slots=True)
class Matched:
    """A post with one of our hashtags, new or changed; time_us None: its event does not say when.

    uri: what deletions name it by. key, author: as in Post, those of what it was bridged from.
    created_ms: when it was new (Unix ms), if that is another time than its event's and is known.
    version names this version of it; text is the event as it was received.
    """

    uri: str
    key: str
    author: str
    time_us: int | None
    version: str
    text: str
    created_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """A post that was deleted, or changed and has none of our hashtags now."""

    uri: str
    time_us: int | None
    created_ms: int | None = None


@dataclass(frozen=True, slots=True)
class UnreadableEvent:
    """A frame that may be a post of ours and cannot be read: what it lacks."""

    lack: str
    time_us: int | None = None


Event = Matched | Removed | UnreadableEvent


class Filter:
    """Finds the posts with one of the hashtags in frames, their changes and deletions.

    Wire: https://github.com/bluesky-social/jetstream, version 1.
    """

    def __init__(self, hashtags: Iterable[str]) -> None:
        self._wanted = frozenset(fold(tag) for tag in hashtags)
        # In a frame of ASCII only these can be equal to one; an escape could hide any letter.
        self._plain = tuple(tag.encode() for tag in self._wanted if tag.isascii())
        self._has_odd = any(tag.isascii() and not _PLAIN.fullmatch(tag) for tag in self._wanted)

    def find(self, frames: Sequence[bytes]) -> tuple[list[int], list[Event]]:
        """The times of the frames in Unix microseconds, as far as they have one, and our events."""
        times: list[int] = []
        events: list[Event] = []
        begins = _HEAD.match
        for frame in frames:
            head = begins(frame)
            if head is None:
                self._decode(frame, times, events)
                continue
            time_us, operation, collection = head.groups()
            is_post = collection == _COLLECTION
            if is_post and (operation != b"create" or self._may_match(frame)):
                self._decode(frame, times, events)
            else:
                times.append(int(time_us))
        return times, events

    def _may_match(self, frame: bytes) -> bool:
        """Whether a frame may hold a post with one of our hashtags; False is certain.

        Inside of a string each quote is escaped: no text can look like a key.
        """
        if not frame.endswith(b"}"):  # cut off
            return True
        if b"\\" in frame and b"\\u" in frame:
            return True
        if b'"tag' not in frame:
            return False
        if self._has_odd or not frame.isascii():
            return True
        lowered = frame.lower()
        return any(tag in lowered for tag in self._plain)

    def _decode(self, frame: bytes, times: list[int], events: list[Event]) -> None:
        try:
            text = frame.decode()
            event = json.loads(text)
        except (ValueError, RecursionError):
            if frame.strip() and self._may_match(frame):
                events.append(UnreadableEvent("is no JSON"))
            return
        if not isinstance(event, dict):
            return
        time_us = _moment(event.get("time_us"))
        if time_us is not None:
            times.append(time_us)
        commit = event.get("commit")
        if isinstance(commit, dict) and commit.get("collection") == COLLECTION:
            found = self._read(event, commit, time_us, text)
            if found:
                events.append(found)

    def _read(
        self, event: dict[str, Any], commit: dict[str, Any], time_us: int | None, text: str
    ) -> Event | None:
        operation = commit.get("operation")
        is_ours = self.matches(commit.get("record"))
        if not is_ours and operation not in ("update", "delete"):
            return None
        did, rkey = event.get("did"), commit.get("rkey")
        if not _matches(_DID, did) or not _matches(_RKEY, rkey):
            return UnreadableEvent("lacks did or rkey", time_us) if is_ours else None
        author = f"bluesky:{did}"
        uri = f"{author}/{rkey}"
        # Of what is deleted not even the key's time is believed: the post may be there by another.
        created_ms = tid_ms(str(rkey), time_us) if operation == "update" else None
        if operation == "delete" or not is_ours:
            return Removed(uri, time_us, created_ms)
        if operation not in ("create", "update"):
            return UnreadableEvent("has an operation that is not known", time_us)
        versions = [v for v in (commit.get("cid"), commit.get("rev")) if _matches(_VERSION, v)]
        version = f"{uri}@{versions[0] if versions else ''}"
        key, author = names_of(commit.get("record")) or (uri, author)
        return Matched(uri, key, author, time_us, version, _as_line(text, event), created_ms)

    def matches(self, record: object) -> bool:
        """Whether a post's record has one of our hashtags, in its text or beside it."""
        return any(fold(tag) in self._wanted for tag in _tags(record))


def names_of(record: object) -> Names | None:
    """The names at home of what a bridge has written; None for what Bluesky's own users have.

    https://github.com/snarfed/bridgy-fed puts the original's address into the record.
    """
    address = record.get("bridgyOriginalUrl") if isinstance(record, dict) else None
    return names_at(address) if isinstance(address, str) else None


def tid_ms(rkey: str, event_us: int | None) -> int | None:
    """When a record was created by its key (Unix ms); None if that tells nothing sensible.

    Not sensible is what is later than an event of its own. https://atproto.com/specs/tid
    """
    if event_us is None or not _TID.fullmatch(rkey):
        return None
    created_us = int(rkey.translate(_TID_DIGITS), 32) >> 10  # the other bits: whose clock it was
    return created_us // 1000 if created_us <= event_us else None


def _tags(record: object) -> Iterable[str]:
    if not isinstance(record, dict):
        return
    yield from _strings(record.get("tags"))
    for facet in _list(record.get("facets")):
        for feature in _list(facet.get("features") if isinstance(facet, dict) else None):
            if isinstance(feature, dict) and feature.get("$type") == TAG_FACET:
                yield from _strings([feature.get("tag")])


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _strings(value: object) -> Iterable[str]:
    return (each for each in _list(value) if isinstance(each, str))


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _moment(value: object) -> int | None:
    is_one = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**18
    return value if is_one and isinstance(value, int) else None


def _as_line(text: str, event: dict[str, Any]) -> str:
    return one_line(event) if "\n" in text or "\r" in text else text
