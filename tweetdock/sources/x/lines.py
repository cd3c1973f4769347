"""Lines of X's filtered stream: a post, a removal, a word of the end, or none of these."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from tweetdock.core.errors import PostError, SourceError
from tweetdock.core.post import Post, Raw, Removal
from tweetdock.core.times import parse_ms
from tweetdock.settings.query import normal
from tweetdock.sources.x.posts import as_received, parse_post

_decode_from = json.JSONDecoder().raw_decode
_DATA, _RULES = '{"data":{', '"matching_rules":'
_POST = len(_DATA) - 1
_REFERENCES = ("referenced_tweets", "referenced_posts")
_NOTES = ("note_tweet", "note_post")

# What a type of disconnect says to the owner; X's own words follow it.
_ENDS = {
    "slowreader": "X has ended the stream, as this machine reads too slowly",
    "invalidrules": "X has ended the stream over a rule of it",
    "forcedisconnect": "X has ended the stream: was another one begun?",
    "clientapplicationstatedegraded": "X has ended the stream over the state of this app",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of a stream's posts count: those that one of our rules has matched.

    tag_rules: ids of rules that match by hashtag; other_rules: ids of the rest. tags: the
    hashtags, as `normal` has them. X's stream finds a tag in the post that is quoted, too, its
    search does not: a quote without the tag of its own is left out.
    """

    tag_rules: frozenset[str]
    other_rules: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()


class Line(NamedTuple):
    """What a line says; nothing, if it just keeps the connection alive.

    post: one to count. snowflake: the id of the version of a post that was sent, to count or not.
    unreadable: what a post lacks to be one.
    """

    post: Post | None = None
    snowflake: int = 0
    removal: Removal | None = None
    unreadable: str = ""
    raw: Raw | None = None


def parse_line(line: bytes | None, at_ms: int, wanted: Wanted, *, keeps_raw: bool = False) -> Line:
    """A line as `LineStream` gives it, come at `at_ms`; SourceError says that X ends the stream.

    https://docs.x.com/x-api/fundamentals/handling-disconnections
    """
    if not line:
        return Line(unreadable="a line too long") if line is None else Line()
    try:
        entry, rules, text = _decode(line)
    except (ValueError, RecursionError):
        return Line(unreadable="no JSON")
    if isinstance(entry, dict) and "delete" in entry and "id" not in entry:
        return _removed(entry["delete"], at_ms)
    try:
        post, snowflake = parse_post(entry, at_ms)
    except PostError as error:
        raw = as_received(entry, None, None) if keeps_raw else None
        return Line(unreadable=str(error), raw=raw)
    if not _counts(entry, rules, wanted):
        return Line(snowflake=snowflake)
    if not keeps_raw:
        return Line(post, snowflake)
    raw = Raw(f"x:{snowflake}", text, post) if text else as_received(entry, snowflake, post)
    return Line(post, snowflake, raw=raw)


def _decode(line: bytes) -> tuple[Any, Any, str]:
    """The post, its rules, and the post's own text, if it is at hand."""
    text = line.decode()
    if text.startswith(_DATA) and (found := _decode_usual(text)):
        return found
    whole = json.loads(text)
    if not isinstance(whole, dict):
        return whole, [], ""
    if whole.get("data") is not None:
        return whole["data"], whole.get("matching_rules"), ""
    if "delete" in whole:
        return whole, [], ""
    if whole.keys() & {"errors", "title", "disconnect_type", "connection_issue", "detail"}:
        _end(whole)
    return None, [], ""


def _decode_usual(text: str) -> tuple[Any, Any, str] | None:
    """The same of a line as X lays it out: what lies between, which may be long, is left out."""
    try:
        entry, post_end = _decode_from(text, _POST)
        # Inside of a string the quotes would have backslashes.
        start = text.rfind(_RULES, post_end)
        rules, end = _decode_from(text, start + len(_RULES)) if start > 0 else ([], post_end)
    except ValueError:
        return None
    return (entry, rules, text[_POST:post_end]) if text[end:].strip() == "}" else None


def _counts(entry: dict[str, Any], rules: Any, wanted: Wanted) -> bool:
    matched = _ids(rules)
    if matched:
        if not matched.isdisjoint(wanted.other_rules):
            return True
        if matched.isdisjoint(wanted.tag_rules):
            return False
    elif wanted.other_rules:
        return True
    return not wanted.tags or not _is_quote(entry) or not _tags(entry).isdisjoint(wanted.tags)


def _ids(rules: Any) -> set[str]:
    known = [rule.get("id") for rule in _list(rules) if isinstance(rule, dict)]
    return {str(identity) for identity in known if isinstance(identity, str | int)}


def _is_quote(entry: dict[str, Any]) -> bool:
    for name in _REFERENCES:
        if entry.get(name):
            others = [other for other in _list(entry[name]) if isinstance(other, dict)]
            return any(other.get("type") == "quoted" for other in others)
    return False


def _tags(entry: dict[str, Any]) -> set[str]:
    texts = [entry, *(note for name in _NOTES if isinstance(note := entry.get(name), dict))]
    entities = [e for text in texts if isinstance(e := text.get("entities"), dict)]
    tags = [
        one.get("tag")
        for e in entities
        for one in _list(e.get("hashtags"))
        if isinstance(one, dict)
    ]
    return {normal(tag) for tag in tags if isinstance(tag, str)}


def _list(thing: Any) -> Iterable[Any]:
    return thing if isinstance(thing, list) else ()


def _removed(word: Any, at_ms: int) -> Line:
    # {"status": {"id_str": ..}} of old, {"tweet": {"id": ..}, "event_at": ..} of today.
    word = word if isinstance(word, dict) else {}
    posts = (word.get(name) for name in ("tweet", "post", "status"))
    found: dict[str, Any] = next((post for post in posts if isinstance(post, dict)), {})
    identity = str(found.get("id_str") or found.get("id") or "")
    if not (identity.isascii() and identity.isdecimal() and len(identity) <= 19):
        return Line(unreadable="no id of a removed post")
    with suppress(ValueError, TypeError, OverflowError):
        at_ms = min(at_ms, parse_ms(word["event_at"])) if "event_at" in word else at_ms
    return Line(removal=Removal(f"x:{identity}", at_ms))


def _end(whole: dict[str, Any]) -> NoReturn:
    first = next((one for one in _list(whole.get("errors")) if isinstance(one, dict)), whole)
    words = str(first.get("disconnect_type") or first.get("title") or "").replace("-", "")
    said = first.get("detail") or first.get("message") or first.get("title")
    said = " ".join(said.split())[:300] if isinstance(said, str) else ""
    if str(first.get("connection_issue")) == "TooManyConnections":
        raise SourceError("X has ended the stream: another program holds the stream of this app")
    sentence = _ENDS.get(words.casefold(), "X has ended the stream")
    raise SourceError(f"{sentence}: {said}" if said else sentence)
