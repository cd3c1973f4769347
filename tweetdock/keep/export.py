"""Posts of the archive as a Parquet file, a row for each line, for those who analyse them."""

import importlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tweetdock import __version__
from tweetdock.core.errors import ArchiveError
from tweetdock.keep.archive_reader import Found, Tally, opened
from tweetdock.keep.columns import columns
from tweetdock.keep.new_file import new_file

_GROUP_ROWS = 20_000
_GROUP_BYTES = 32_000_000
_POST = b', "post": '


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: a row for each of `lines`."""

    output: Path
    lines: int
    inputs: tuple[Tally, ...]


def export_posts(paths: Sequence[Path], output: Path, *, force: bool = False) -> Exported:
    """Write every line of some archives as a row, in their order, doubles and all.

    force: `output` may exist and is replaced. Raises ArchiveError, and leaves nothing behind, if
    an archive cannot be read, `output` cannot be written, or pyarrow is not installed.
    """
    arrow, parquet = _library()
    schema = _schema(arrow)
    inputs: list[Tally] = []
    with (
        new_file(output, paths, force=force) as fresh,
        parquet.ParquetWriter(fresh, schema, compression="zstd") as writer,
    ):
        for rows in _groups(_lines(paths, inputs)):
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
    return Exported(output, sum(tally.lines for tally in inputs), tuple(inputs))


def _lines(paths: Iterable[Path], inputs: list[Tally]) -> Iterator[Found]:
    for path in paths:
        with opened(path) as archive:
            yield from archive
            inputs.append(archive.tally)


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


def _groups(lines: Iterable[Found]) -> Iterator[list[dict[str, Any]]]:
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


def _row(found: Found) -> dict[str, Any]:
    line, post = found.line, found.line.raw.post
    raw, sent = _sent(found)
    row = {
        "source": line.source,
        "key": post and post.key,
        "version": line.raw.version,
        "author": post and post.author,
        "created": post and post.created_ms,
        "received": line.received_ms,
        "raw": raw,
        **asdict(columns(line.source, sent)),
    }
    return {name: _utf8(value) for name, value in row.items()}


def _sent(found: Found) -> tuple[str, Any]:
    """The post as it was received, to the letter, and what it says."""
    _, _, rest = found.text.rstrip().partition(_POST)
    try:
        text = rest[:-1].decode()
        return text, json.loads(text)
    except (ValueError, RecursionError):
        # A line that others wrote anew, with the same in it.
        return found.line.raw.text, json.loads(found.line.raw.text)


def _utf8(value: Any) -> Any:
    # JSON may name half a surrogate pair, which is no text outside of it.
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return [_utf8(tag) for tag in value] if isinstance(value, tuple) else value
