"""Archives of listeners that ran side by side, made one: each post once, the gaps they share."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import starmap
from pathlib import Path
from typing import NamedTuple

from tweetdock.core.coverage import Spans
from tweetdock.core.errors import ArchiveError
from tweetdock.keep.archive import MEMBER_BYTES
from tweetdock.keep.archive_format import ArchiveLine, Covers, FoundLine, notes, pack
from tweetdock.keep.archive_reader import ArchiveReader, read_archives
from tweetdock.keep.closed_files import Manifest
from tweetdock.keep.files import new_file

# It is thrown away in any case: nothing has to outlast a power cut.
_SETUP = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA cache_size = -16000;
    CREATE TABLE line (
        version BLOB UNIQUE NOT NULL,
        at_ms INTEGER NOT NULL,
        is_doubtful INTEGER NOT NULL,
        received_ms INTEGER NOT NULL,
        text BLOB NOT NULL
    );
    CREATE INDEX in_order ON line (at_ms, version);
    BEGIN;
"""
_PUT = """
    INSERT INTO line VALUES (?, ?, ?, ?, ?) ON CONFLICT (version) DO UPDATE SET
        at_ms = excluded.at_ms, is_doubtful = excluded.is_doubtful,
        received_ms = excluded.received_ms, text = excluded.text
    WHERE (excluded.is_doubtful, excluded.received_ms, excluded.text)
        < (is_doubtful, received_ms, text)
"""
_IN_ORDER = "SELECT text FROM line INDEXED BY in_order ORDER BY at_ms, version"


class Merged(NamedTuple):
    """What is in the archive that was written, and what was read from each of the others."""

    manifest: Manifest
    inputs: list[ArchiveReader]


def merge(paths: Sequence[Path], output: Path, *, force: bool = False) -> Merged:
    """Make archives one, in order of time, each version of a post as it was received first.

    Memory stays small however large they are; the disk of `output` must hold all lines unpacked.
    force: `output` may exist and is replaced. Raises ArchiveError, and leaves nothing behind, if
    an archive cannot be read or `output` cannot be written.
    """
    archives: list[ArchiveReader] = []
    with new_file(output, paths, force=force) as fresh:
        with _sorter(fresh.parent) as db:
            db.executemany(_PUT, starmap(_row, read_archives(paths, archives)))
            _write(fresh, (text for (text,) in db.execute(_IN_ORDER)), _united(archives))
        manifest = Manifest.of(fresh)
        manifest.write(fresh)
    return Merged(manifest, archives)


@contextmanager
def _sorter(folder: Path) -> Iterator[sqlite3.Connection]:
    """A table that keeps lines in a folder; ArchiveError if that has not enough room.

    Of a version's lines the one received first is kept, but a sound one before a doubtful one.
    """
    path = folder / "sorter"
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.executescript(_SETUP)
            yield db
    except sqlite3.Error as error:
        raise ArchiveError(
            f"cannot sort in {folder.parent}: {error}",
            "there must be room for all lines, unpacked, and for the new archive",
        ) from error
    finally:
        path.unlink(missing_ok=True)


def _row(found: FoundLine, line: ArchiveLine) -> tuple[bytes, int, bool, int, bytes]:
    # As bytes: JSON may name half a surrogate pair, which SQLite takes for no text.
    version = line.raw.version.encode("utf-8", "surrogatepass")
    return version, line.at_ms, not found.is_sound, line.received_ms, found.text


def _united(archives: Iterable[ArchiveReader]) -> Covers:
    found: dict[str, Spans] = defaultdict(Spans)
    for archive in archives:
        for source, spans in archive.covers.items():
            for span in spans:
                found[source].add(span)
    # Sorted: the same archives in another order become the same bytes.
    return {source: tuple(found[source]) for source in sorted(found)}


def _write(path: Path, lines: Iterable[bytes], covers: Covers) -> None:
    texts: list[bytes] = []
    size = 0
    with path.open("wb") as file:
        for text in lines:
            if size >= MEMBER_BYTES:
                file.write(pack(b"".join(texts)))
                texts, size = [], 0
            texts.append(text + b"\n")
            size += len(text) + 1
        file.write(pack(b"".join(texts)))
        # After all lines: what a cut leaves claims no more than it has.
        for note in notes(covers):
            file.write(pack(b"", note))
