"""What X sends, read with care: snowflake ids, both vocabularies of 2026, edit chains."""

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from tweetdock.core.errors import LOG_IN, Kind, PostError, SourceError
from tweetdock.core.post import Batch, Post, Raw, Span, fold, one_line, unreadable_raw
from tweetdock.core.times import DAY_MS, YEAR_2000_MS, parse_ms
from tweetdock.sources.unreadable import Unreadable

# A snowflake's upper bits are milliseconds since this moment (2010-11-04T01:42:54.657Z).
EPOCH_MS = 1_288_834_974_657
LARGEST_ID = (1 << 63) - 1
LARGEST_COUNT = 10**12  # more posts than anybody will write in a week
_REFERENCES = ("referenced_tweets", "referenced_posts")
_NOTES = ("note_tweet", "note_post")
# Neither can stand in a string, whose quotes have backslashes.
_DATA, _RULES = '{"data":{', '},"matching_rules":'
_decode_from = json.JSONDecoder().raw_decode


def decode(body: bytes, what: str) -> dict[str, Any]:
    """An answer as an object; SourceError if it is none, and so is not with `what`."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SourceError(
            "X's address answers, but not with JSON, as the login page of a Wi-Fi does",
            LOG_IN,
            kind=Kind.STRANGER,
        ) from error
    if not isinstance(answer, dict):
        raise not_with(what)
    return answer


def not_with(what: str) -> SourceError:
    """That the answer, which X may have billed, is not with what it was asked for."""
    sentence = f"X's address answers, but not with {what}"
    return SourceError(sentence, kind=Kind.STRANGER, may_have_come=True)


def objects(thing: Any) -> list[dict[str, Any]]:
    """The objects of a list; none if it is no list."""
    return [one for one in thing if isinstance(one, dict)] if isinstance(thing, list) else []


def said(*words: Any) -> str:
    """The first of these that is text, in one line of 300 signs at the most."""
    lines = (" ".join(text.split())[:300] for text in words if isinstance(text, str))
    return next(filter(None, lines), "no reason given")


def snowflake_ms(snowflake: int) -> int:
    """The unix millisecond in which an id was made."""
    return (snowflake >> 22) + EPOCH_MS


def since_id_for(ms: int) -> int:
    """The `since_id` (an exclusive bound) that lets through just the posts of `ms` and later."""
    return max(0, ((ms - EPOCH_MS) << 22) - 1)


@dataclass(frozen=True, slots=True)
class PostPage:
    """One page of a search, newest first; `ids` are those of the posts' latest versions.

    unreadable: what is no post to count. versions: what was sent, readable or not, by the names
    that it is charged by. raw: the same as it came, if that is wanted. served_ms: when X was asked
    for it by its own time (Unix ms). server_ms: what time it was at X when it was here; None if X
    did not say. billed: how many posts of it are charged.
    """

    posts: tuple[Post, ...]
    ids: tuple[int, ...]
    next_token: str | None
    unreadable: tuple[Unreadable, ...] = ()
    versions: tuple[str, ...] = ()
    raw: tuple[Raw, ...] = ()
    served_ms: int = 0
    server_ms: int | None = None
    billed: int = 0

    def batch(self, **fields: Any) -> Batch:
        """What it brings, as a source delivers it."""
        return Batch(
            posts=self.posts,
            raw=self.raw,
            server_ms=self.server_ms,
            billed=self.billed,
            **fields,
        )


def parse_page(body: bytes, at_ms: int, *, keeps_raw: bool = False) -> PostPage:
    """A search answer as a page; SourceError if it is none. at_ms: when it came."""
    answer = decode(body, "a page of posts")
    entries, meta = answer.get("data") or [], answer.get("meta")
    errors = objects(answer.get("errors"))
    if errors and not entries:
        why = said(*(errors[0].get(name) for name in ("detail", "message", "title")))
        what = f"X answers with nothing but an error: {why}"
        raise SourceError(what, kind=Kind.SERVER, may_have_come=True)
    token = meta.get("next_token") if isinstance(meta, dict) else None
    if not (isinstance(meta, dict) and isinstance(entries, list) and isinstance(token, str | None)):
        raise not_with("a page of posts")
    # Beside what was found X says which posts it could not show, but not where they belong.
    hidden = [error for error in errors if error.get("resource_type") in ("tweet", "post")]
    entries = hidden + entries
    read = [read_entry(entry, at_ms, keeps_raw=keeps_raw) for entry in entries]
    # What cannot be read was written no later than the version before it.
    unreadable, near_ms = [], at_ms
    for one in read:
        near_ms = snowflake_ms(one.snowflake) if one.post else near_ms
        if one.lacks:
            unreadable.append(Unreadable(one.version, near_ms, one.lacks))
    announced = meta.get("result_count")
    if isinstance(announced, int) and announced > len(entries):
        # X bills what it returns; of which post this is it does not say.
        unreadable.append(Unreadable("announced", at_ms, "announced, not sent"))
    return PostPage(
        posts=tuple(one.post for one in read if one.post),
        ids=tuple(one.snowflake for one in read if one.post),
        next_token=token or None,
        unreadable=tuple(unreadable),
        versions=tuple(one.version for one in read),
        raw=tuple(one.raw for one in read if one.raw and keeps_raw),
    )


class Entry(NamedTuple):
    """What X sent in one place; nothing, if a line just keeps the connection alive.

    post: one to count. snowflake: the id of the version of a post that was sent, to count or not.
    lacks: what it would need to be a post. raw: the same for the archive: of what cannot be read,
    and of posts if it is wanted.
    """

    post: Post | None = None
    snowflake: int = 0
    lacks: str = ""
    raw: Raw | None = None

    @property
    def version(self) -> str:
        """What it is charged by, again and again the same; empty if nothing was sent."""
        if self.snowflake:
            return f"x:{self.snowflake}"
        return self.raw.version if self.raw else ""


def read_entry(entry: Any, at_ms: int, *, keeps_raw: bool = False) -> Entry:
    """What is to be made of a post of X's; at_ms as of `parse_post`."""
    try:
        post, snowflake = parse_post(entry, at_ms)
    except PostError as error:
        return Entry(None, _any_id(entry), str(error), unreadable_raw("x", entry))
    raw = Raw(f"x:{snowflake}", one_line(entry), post) if keeps_raw else None
    return Entry(post, snowflake, raw=raw)


def parse_post(entry: Any, at_ms: int) -> tuple[Post, int]:
    """A post and the id of this version of it; PostError says what it lacks.

    All versions of an edited post have the first one's id as their key and its moment as theirs.
    at_ms: now; a post from another day to come is none.
    """
    if not isinstance(entry, dict):
        raise PostError("no object")
    snowflake, author = _number(entry, "id"), _number(entry, "author_id")
    if snowflake_ms(snowflake) > at_ms + DAY_MS:
        raise PostError("no id")
    history = entry.get("edit_history_tweet_ids") or entry.get("edit_history_post_ids")
    if history is None or history == []:
        first = snowflake
    elif isinstance(history, list) and isinstance(history[0], str):
        first = _number({"edit history": history[0]}, "edit history")
    else:
        raise PostError("no edit history")
    if not 0 < first <= snowflake:
        raise PostError("no edit history")
    created_ms = _created_ms(entry.get("created_at"), snowflake, first)
    if not YEAR_2000_MS <= created_ms <= at_ms + DAY_MS:
        raise PostError("no sensible created_at")
    return Post(f"x:{first}", f"x:{author}", created_ms, at_ms), snowflake


def _any_id(entry: Any) -> int:
    """The id of a post or of one that an error is about; 0 if there is none."""
    for name in ("id", "resource_id"):
        with suppress(AttributeError, PostError):
            return _number(entry, name)
    return 0


def _number(entry: dict[str, Any], name: str) -> int:
    text = entry.get(name)
    if not (isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= 19):
        raise PostError(f"no {name}")
    return int(text)


def _created_ms(created_at: Any, snowflake: int, first: int) -> int:
    # created_at is cut to the second; the id knows the millisecond. Should ids ever stop being
    # snowflakes they would contradict created_at, and then it is right.
    try:
        created_ms = parse_ms(created_at)
    except (TypeError, ValueError) as error:
        raise PostError("no created_at") from error
    return snowflake_ms(first) if 0 <= snowflake_ms(snowflake) - created_ms < 1000 else created_ms


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of a stream's posts count: those that one of our rules has matched.

    tag_rules: ids of rules that match by hashtag; other_rules: ids of the rest. tags: the
    hashtags, as `fold` has them. X's stream finds a tag in the post that is quoted, too, its
    search does not: a quote without the tag of its own is left out.
    """

    tag_rules: frozenset[str]
    other_rules: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()


def parse_line(line: bytes, at_ms: int, wanted: Wanted, *, keeps_raw: bool = False) -> Entry:
    """A line as `LineStream` gives it, come at `at_ms`; SourceError says that X ends the stream.

    https://docs.x.com/x-api/fundamentals/handling-disconnections
    """
    if not line:
        return Entry()
    try:
        entry, rules = _decode_line(line)
    except (ValueError, RecursionError):
        text = line.decode(errors="replace")
        return Entry(lacks="no JSON", raw=unreadable_raw("x", text))
    read = read_entry(entry, at_ms, keeps_raw=keeps_raw)
    return read if read.lacks or _counts(entry, rules, wanted) else Entry(snowflake=read.snowflake)


def _decode_line(line: bytes) -> tuple[Any, Any]:
    """The post and its rules."""
    text = line.decode()
    if text.rfind(_DATA) == 0 and (found := _decode_around(text)):
        return found
    whole = json.loads(text)
    if not isinstance(whole, dict):
        return whole, []
    if whole.get("data") is not None:
        return whole["data"], whole.get("matching_rules")
    if whole.keys() & {"errors", "title", "disconnect_type", "connection_issue", "detail"}:
        _end(whole)
    return None, []


def _decode_around(text: str) -> tuple[Any, Any] | None:
    """The same of a line as X lays it out, around all that may lie between, at great length."""
    try:
        entry, post_end = _decode_from(text, len(_DATA) - 1)
        start = text.find(_RULES, post_end - 1)
        rules, end = _decode_from(text, start + len(_RULES)) if start > 0 else ([], post_end)
    except ValueError:
        return None
    return (entry, rules) if text[end:].strip(" \t\r\n") == "}" else None


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
    known = [rule.get("id") for rule in objects(rules)]
    return {str(identity) for identity in known if isinstance(identity, str | int)}


def _is_quote(entry: dict[str, Any]) -> bool:
    references = next(filter(None, (entry.get(name) for name in _REFERENCES)), None)
    return any(other.get("type") == "quoted" for other in objects(references))


def _tags(entry: dict[str, Any]) -> set[str]:
    texts = objects([entry, *(entry.get(name) for name in _NOTES)])
    entities = objects([text.get("entities") for text in texts])
    tags = [one.get("tag") for each in entities for one in objects(each.get("hashtags"))]
    return {fold(tag) for tag in tags if isinstance(tag, str)}


def _end(whole: dict[str, Any]) -> NoReturn:
    first = next(iter(objects(whole.get("errors"))), whole)
    kind = said(*(first.get(name) for name in ("disconnect_type", "connection_issue", "title")))
    why = said(*(first.get(name) for name in ("detail", "message", "title")))
    raise SourceError(f"X has ended the stream ({kind}): {why}")


def posts_in(body: bytes, window: Span) -> int:
    """What an answer for counts says of a stretch of time; SourceError if it is none.

    Of what overlaps it in part (since, until] gets its share. Both vocabularies of 2026 are
    understood.
    """
    answer = decode(body, "counts of posts")
    buckets = answer.get("data") or []
    if not isinstance(answer.get("meta"), dict) or not isinstance(buckets, list):
        raise not_with("counts of posts")
    try:
        return round(sum(_share(bucket, window) for bucket in buckets))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise not_with("counts of posts") from error


def _share(bucket: Any, window: Span) -> float:
    since_ms, until_ms = parse_ms(bucket["start"]), parse_ms(bucket["end"])
    number = bucket["post_count"] if "post_count" in bucket else bucket["tweet_count"]
    is_number = isinstance(number, int) and not isinstance(number, bool)
    if not is_number or not 0 <= number <= LARGEST_COUNT or until_ms <= since_ms:
        raise ValueError(f"no count: {number!r:.40}")
    shared_ms = min(until_ms, window.until_ms) - max(since_ms, window.since_ms)
    return float(number * max(0, shared_ms) / (until_ms - since_ms))
