"""Posts of the archive as a Parquet file, a row for each line, for those who analyse them."""

import importlib
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tweetdock import __version__
from tweetdock.core.errors import ArchiveError
from tweetdock.keep.archive_format import ArchiveLine
from tweetdock.keep.archive_reader import ArchiveReader, read_archives
from tweetdock.keep.files import new_file

_LARGEST = 2**63 - 1  # a column's whole number has 64 bits
_GROUP_ROWS = 10_000

# What is exported of a post of any network: a text, several, or a number. `conversation` to
# `quote_of` are the network's own ids; `text` and `hashtags` are as written.
FIELDS: dict[str, type] = {
    **dict.fromkeys(("text", "lang", "conversation", "reply_to", "repost_of", "quote_of"), str),
    "hashtags": list,
    **dict.fromkeys(("likes", "reposts", "replies", "quotes"), int),
}

# Where it stands in what a network sends: names, one in the other; `a|b`: in whichever it is;
# `*`: in each of a list; `type=a`: if that is so. After a space comes where else it may stand.
# Without `tagged`, it is not known that there are no hashtags.
_X = {  # API v2, in the vocabulary of tweets or in the one of posts
    "text": "text",
    "lang": "lang",
    "conversation": "conversation_id",
    "reply_to": "referenced_tweets|referenced_posts.*.type=replied_to.id",
    "repost_of": "referenced_tweets|referenced_posts.*.type=retweeted|reposted.id",
    "quote_of": "referenced_tweets|referenced_posts.*.type=quoted.id",
    "tagged": "entities.hashtags",
    "hashtags": "entities.hashtags.*.tag",
    "likes": "public_metrics.like_count",
    "reposts": "public_metrics.retweet_count|repost_count",
    "replies": "public_metrics.reply_count",
    "quotes": "public_metrics.quote_count",
}
# https://github.com/bluesky-social/atproto/blob/main/lexicons/app/bsky/feed/post.json
_BLUESKY = {  # in an event of Jetstream; it comes too soon to be liked
    "text": "commit.record.text",
    "lang": "commit.record.langs.*",
    "conversation": "commit.record.reply.root.uri",
    "reply_to": "commit.record.reply.parent.uri",
    # A quote with pictures has the quoted post one deeper.
    "quote_of": "commit.record.embed.record.record.uri commit.record.embed.record.uri",
    "tagged": "commit.record",
    "hashtags": "commit.record.facets.*.features.*.tag commit.record.tags.*",
}
# https://docs.joinmastodon.org/entities/Status/
_MASTODON = {
    "text": "content",  # as HTML
    "lang": "language",
    "reply_to": "in_reply_to_id",
    "repost_of": "reblog.uri",
    "quote_of": "quote.quoted_status.uri",
    "tagged": "tags",
    "hashtags": "tags.*.name",
    "likes": "favourites_count",
    "reposts": "reblogs_count",
    "replies": "replies_count",
    "quotes": "quotes_count",
}
_PLACES = {"x": _X, "x-stream": _X, "bluesky": _BLUESKY, "mastodon": _MASTODON}


def export_fields(source: str, post: Any) -> dict[str, Any]:
    """The fields of a post of a source; None where its network did not send it."""
    places = _PLACES.get(source, {})

    def found(name: str, kind: type) -> Iterator[Any]:
        for place in places.get(name, "").split():
            # Not isinstance: True is a number to Python.
            yield from (value for value in _find(post, place.split(".")) if type(value) is kind)

    fields = {name: next(found(name, kind), None) for name, kind in FIELDS.items()}
    is_known = [*found("tagged", list), *found("tagged", dict)]
    return {**fields, "hashtags": list(found("hashtags", str)) if is_known else None}


def _find(found: Any, place: Sequence[str]) -> Iterator[Any]:
    """All that stands at a place, in order."""
    if not place:
        if not isinstance(found, int) or abs(found) <= _LARGEST:
            yield found
        return
    step, *rest = place
    if step == "*":
        for entry in found if isinstance(found, list) else ():
            yield from _find(entry, rest)
    elif isinstance(found, dict):
        name, is_condition, wanted = step.partition("=")
        if not is_condition:
            for one in name.split("|"):
                yield from _find(found.get(one), rest)
        elif found.get(name) in wanted.split("|"):
            yield from _find(found, rest)


def export_posts(
    paths: Sequence[Path], output: Path, *, force: bool = False
) -> list[ArchiveReader]:
    """Write every line of some archives as a row, in their order, doubles and all.

    Returns what was read from each. force: `output` may exist and is replaced. Raises ArchiveError,
    and leaves nothing behind, if an archive cannot be read, `output` cannot be written, or pyarrow
    is not installed.
    """
    arrow, parquet = _library()
    schema = _schema(arrow)
    readers: list[ArchiveReader] = []
    lines = read_archives(paths, readers)
    with (
        new_file(output, paths, force=force) as fresh,
        parquet.ParquetWriter(fresh, schema, compression="zstd") as writer,
    ):
        while rows := [_row(line) for _, line in islice(lines, _GROUP_ROWS)]:
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
    return readers


def _library() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ArchiveError(
            "Parquet needs the package pyarrow",
            "pip install 'tweetdock[parquet]', or an image built with EXTRAS=parquet",
        ) from error


def _schema(arrow: Any) -> Any:
    text, moment = arrow.string(), arrow.timestamp("ms", tz="UTC")
    kinds = {str: text, list: arrow.list_(text), int: arrow.int64()}
    columns = {
        **dict.fromkeys(("source", "key", "version", "author"), text),
        **dict.fromkeys(("created", "received"), moment),
        **{name: kinds[kind] for name, kind in FIELDS.items()},
        "raw": text,
    }
    about = {
        "title": "public posts as TweetDock received them, one row for each version",
        "software": f"TweetDock {__version__}",
        "raw": "the post as its network sent it, JSON; the other columns were read from it",
    }
    return arrow.schema(list(columns.items()), metadata=about)


def _row(line: ArchiveLine) -> dict[str, Any]:
    post = line.raw.post
    row = {
        "source": line.source,
        "key": post and post.key,
        "version": line.raw.version,
        "author": post and post.author,
        "created": post and post.created_ms,
        "received": line.received_ms,
        "raw": line.raw.text,
        **export_fields(line.source, json.loads(line.raw.text)),
    }
    return {name: _utf8(value) for name, value in row.items()}


def _utf8(value: Any) -> Any:
    # JSON may name half a surrogate pair, which is no text outside of it.
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return [_utf8(tag) for tag in value] if isinstance(value, list) else value
