"""Posts of the archive as a Parquet file, a row for each line, for those who analyse them."""

import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tweetdock import __version__
from tweetdock.core.errors import ArchiveError
from tweetdock.keep.archive_reader import FileSummary, ReadLine, opened
from tweetdock.keep.files import new_file

_LARGEST = 2**63 - 1  # a column's whole number has 64 bits
_GROUP_ROWS = 20_000
_GROUP_BYTES = 32_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFields:
    """What is exported of a post of any network; None where the network did not send it.

    `conversation`, `reply_to`, `repost_of` and `quote_of` are the network's own ids. `text` and
    `hashtags` are as written.
    """

    text: str | None = None
    lang: str | None = None
    conversation: str | None = None
    reply_to: str | None = None
    repost_of: str | None = None
    quote_of: str | None = None
    hashtags: tuple[str, ...] | None = None
    likes: int | None = None
    reposts: int | None = None
    replies: int | None = None
    quotes: int | None = None


def export_fields(source: str, post: Any) -> ExportFields:
    """The fields of a post of a source; all None for a source that is not known here."""
    read = _READERS.get(source)
    return read(post) if read and isinstance(post, dict) else ExportFields()


def _x(post: dict[str, Any]) -> ExportFields:
    """A post of X's API v2, in the vocabulary of tweets or in the one of posts."""
    metrics = _object(post.get("public_metrics"))
    referenced = _references(post.get("referenced_tweets"), post.get("referenced_posts"))
    return ExportFields(
        text=_text(post.get("text")),
        lang=_text(post.get("lang")),
        conversation=_text(post.get("conversation_id")),
        reply_to=referenced.get("replied_to"),
        repost_of=referenced.get("retweeted", referenced.get("reposted")),
        quote_of=referenced.get("quoted"),
        hashtags=_tags(_object(post.get("entities")).get("hashtags")),
        likes=_number(metrics, "like_count"),
        reposts=_number(metrics, "retweet_count", "repost_count"),
        replies=_number(metrics, "reply_count"),
        quotes=_number(metrics, "quote_count"),
    )


def _bluesky(event: dict[str, Any]) -> ExportFields:
    """A post in an event of Jetstream; it comes too soon to be liked.

    https://github.com/bluesky-social/atproto/blob/main/lexicons/app/bsky/feed/post.json
    """
    record = _object(_object(event.get("commit")).get("record"))
    reply, embed = _object(record.get("reply")), _object(record.get("embed"))
    # A quote with pictures has the quoted post one deeper.
    quoted = _object(embed.get("record"))
    quoted = _object(quoted.get("record")) or quoted
    langs = record.get("langs")
    facets = [_object(facet).get("features") for facet in _list(record.get("facets"))]
    features = [_object(feature) for each in facets for feature in _list(each)]
    tags = [_text(feature.get("tag")) for feature in features]
    tags += [_text(tag) for tag in _list(record.get("tags"))]
    return ExportFields(
        text=_text(record.get("text")),
        lang=_text(langs[0]) if isinstance(langs, list) and langs else None,
        conversation=_text(_object(reply.get("root")).get("uri")),
        reply_to=_text(_object(reply.get("parent")).get("uri")),
        quote_of=_text(quoted.get("uri")),
        hashtags=tuple(tag for tag in tags if tag is not None) if record else None,
    )


def _mastodon(status: dict[str, Any]) -> ExportFields:
    """A status of Mastodon's API; the text is HTML, as it sends it.

    https://docs.joinmastodon.org/entities/Status/
    """
    tags = status.get("tags")
    names = [_text(_object(tag).get("name")) for tag in _list(tags)]
    return ExportFields(
        text=_text(status.get("content")),
        lang=_text(status.get("language")),
        reply_to=_text(status.get("in_reply_to_id")),
        repost_of=_text(_object(status.get("reblog")).get("uri")),
        quote_of=_text(_object(_object(status.get("quote")).get("quoted_status")).get("uri")),
        hashtags=tuple(name for name in names if name is not None)
        if isinstance(tags, list)
        else None,
        likes=_number(status, "favourites_count"),
        reposts=_number(status, "reblogs_count"),
        replies=_number(status, "replies_count"),
        quotes=_number(status, "quotes_count"),
    )


_READERS: dict[str, Callable[[dict[str, Any]], ExportFields]] = {
    "x": _x,
    "x-stream": _x,
    "bluesky": _bluesky,
    "mastodon": _mastodon,
}


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def _references(*lists: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for entries in lists:
        for entry in map(_object, entries if isinstance(entries, list) else []):
            kind, post_id = _text(entry.get("type")), _text(entry.get("id"))
            if kind is not None and post_id is not None:
                found.setdefault(kind, post_id)
    return found


def _tags(entries: Any) -> tuple[str, ...] | None:
    if not isinstance(entries, list):
        return None
    tags = (_text(_object(entry).get("tag")) for entry in entries)
    return tuple(tag for tag in tags if tag is not None)


def _object(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _text(found: Any) -> str | None:
    return found if isinstance(found, str) else None


def _number(found: dict[str, Any], *names: str) -> int | None:
    for name in names:
        number = found.get(name)
        # True is a number to Python.
        if isinstance(number, int) and not isinstance(number, bool) and abs(number) <= _LARGEST:
            return number
    return None


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: a row for each of `lines`."""

    output: Path
    lines: int
    inputs: tuple[FileSummary, ...]


def export_posts(paths: Sequence[Path], output: Path, *, force: bool = False) -> Exported:
    """Write every line of some archives as a row, in their order, doubles and all.

    force: `output` may exist and is replaced. Raises ArchiveError, and leaves nothing behind, if
    an archive cannot be read, `output` cannot be written, or pyarrow is not installed.
    """
    arrow, parquet = _library()
    schema = _schema(arrow)
    inputs: list[FileSummary] = []
    with (
        new_file(output, paths, force=force) as fresh,
        parquet.ParquetWriter(fresh, schema, compression="zstd") as writer,
    ):
        for rows in _groups(_lines(paths, inputs)):
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
    return Exported(output, sum(summary.lines for summary in inputs), tuple(inputs))


def _lines(paths: Iterable[Path], inputs: list[FileSummary]) -> Iterator[ReadLine]:
    for path in paths:
        with opened(path) as archive:
            yield from archive
            inputs.append(archive.summary)


def _library() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ArchiveError(
            "Parquet needs the package pyarrow: pip install 'tweetdock[parquet]', or an image "
            "built with EXTRAS=parquet"
        ) from error


def _schema(arrow: Any) -> Any:
    text, number = arrow.string(), arrow.int64()
    moment = arrow.timestamp("ms", tz="UTC")
    fields = {
        **dict.fromkeys(("source", "key", "version", "author"), text),
        **dict.fromkeys(("created", "received"), moment),
        **dict.fromkeys(("text", "lang", "conversation"), text),
        **dict.fromkeys(("reply_to", "repost_of", "quote_of"), text),
        "hashtags": arrow.list_(text),
        **dict.fromkeys(("likes", "reposts", "replies", "quotes"), number),
        "raw": text,
    }
    about = {
        "title": "public posts as TweetDock received them, one row for each version",
        "software": f"TweetDock {__version__}",
        "raw": "the post as its network sent it, JSON; the other columns were read from it",
    }
    return arrow.schema(list(fields.items()), metadata=about)


def _groups(lines: Iterable[ReadLine]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    size = 0
    for found in lines:
        rows.append(_row(found))
        size += len(found.text)
        if len(rows) >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _row(found: ReadLine) -> dict[str, Any]:
    line, post = found.line, found.line.raw.post
    row = {
        "source": line.source,
        "key": post and post.key,
        "version": line.raw.version,
        "author": post and post.author,
        "created": post and post.created_ms,
        "received": line.received_ms,
        "raw": line.raw.text,
        **asdict(export_fields(line.source, json.loads(line.raw.text))),
    }
    return {name: _utf8(value) for name, value in row.items()}


def _utf8(value: Any) -> Any:
    # JSON may name half a surrogate pair, which is no text outside of it.
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return [_utf8(tag) for tag in value] if isinstance(value, tuple) else value
