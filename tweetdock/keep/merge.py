"""Archives of listeners that ran side by side, made one: each post once, the gaps they share."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tweetdock.core.coverage import Spans
from tweetdock.core.errors import ArchiveError
from tweetdock.core.post import Span
from tweetdock.keep.archive import MEMBER_BYTES
from tweetdock.keep.archive_format import Covers, notes, pack
from tweetdock.keep.archive_reader import ArchiveReader, FileSummary, ReadLine, opened
from tweetdock.keep.closed_files import Manifest
from tweetdock.keep.files import new_file

# It is thrown away in any case: nothing has to outlast a power cut.
_SETUP = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA cache_size = -16000;
    CREATE TABLE line (
        version BLOB NOT NULL,
        at_ms INTEGER NOT NULL,
        is_doubtful INTEGER NOT NULL,
        received_ms INTEGER NOT NULL,
        text BLOB NOT NULL
    );
    CREATE UNIQUE INDEX once ON line (version);
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


class Sorter:
    """Lines in any order in, each version once and in order of time and version out.

    Of a version's lines the one received first is kept, but a sound one before a doubtful one.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, lines: Iterable[ReadLine]) -> None:
        """Put in some lines."""
        self._connection.executemany(_PUT, map(_row, lines))

    def __len__(self) -> int:
        (number,) = self._connection.execute("SELECT count(*) FROM line").fetchone()
        return int(number)

    def __iter__(self) -> Iterator[bytes]:
        return (text for (text,) in self._connection.execute(_IN_ORDER))


@contextmanager
def sorter(folder: Path) -> Iterator[Sorter]:
    """A sorter that keeps its lines in a folder; ArchiveError if that has not enough room."""
    path = folder / "sorter"
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(_SETUP)
            yield Sorter(connection)
    except sqlite3.Error as error:
        raise ArchiveError(
            f"cannot sort in {folder.parent}: {error}; "
            "there must be room for all lines, unpacked, and for the new archive"
        ) from error
    finally:
        path.unlink(missing_ok=True)


def _row(found: ReadLine) -> tuple[bytes, int, bool, int, bytes]:
    line = found.line
    # As bytes: JSON may name half a surrogate pair, which SQLite takes for no text.
    version = line.raw.version.encode("utf-8", "surrogatepass")
    return version, line.at_ms, not found.is_sound, line.received_ms, found.text


@dataclass(frozen=True, slots=True)
class Shared:
    """What the listeners together have of a source, from the first moment to the last.

    gaps: the stretches in between that none of them has, oldest first.
    """

    source: str
    whole: Span
    gaps: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of the archives: `lines` were written, `doubles` left out."""

    output: Path
    lines: int
    doubles: int
    inputs: tuple[FileSummary, ...]
    shared: tuple[Shared, ...]


def merge(paths: Sequence[Path], output: Path, *, force: bool = False) -> Merged:
    """Make archives one, in order of time, each version of a post as it was received first.

    Memory stays small however large they are; the disk of `output` must hold all lines unpacked.
    force: `output` may exist and is replaced. Raises ArchiveError, and leaves nothing behind, if
    an archive cannot be read or `output` cannot be written.
    """
    archives: list[ArchiveReader] = []
    with new_file(output, paths, force=force) as fresh:
        with sorter(fresh.parent) as lines_in_order:
            for path in paths:
                with opened(path) as archive:
                    lines_in_order.put(archive)
                archives.append(archive)
            inputs = tuple(archive.summary for archive in archives)
            covers = _united(archives)
            _write(fresh, lines_in_order, covers)
            lines = len(lines_in_order)
        Manifest.of(fresh).write(fresh)
    doubles = sum(summary.lines for summary in inputs) - lines
    shared = tuple(_share(source, spans) for source, spans in covers.items())
    return Merged(output, lines, doubles, inputs, shared)


def _united(archives: Iterable[ArchiveReader]) -> dict[str, tuple[Span, ...]]:
    found: dict[str, list[Span]] = defaultdict(list)
    for archive in archives:
        for source, spans in archive.covers.items():
            found[source].extend(spans)
    # Sorted: the same archives in another order become the same bytes.
    return {source: tuple(Spans(found[source])) for source in sorted(found)}


def _share(source: str, spans: tuple[Span, ...]) -> Shared:
    whole = Span(spans[0].since_ms, spans[-1].until_ms)
    return Shared(source, whole, tuple(Spans(spans).gaps(whole)))


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
