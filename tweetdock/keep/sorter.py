"""More lines than fit into memory, each version once and in order, by a SQLite file on the disk."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tweetdock.core.errors import ArchiveError
from tweetdock.keep.archive_reader import Found

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
_IN_ORDER = "SELECT at_ms, text FROM line INDEXED BY in_order ORDER BY at_ms, version"


class Sorter:
    """Lines in any order in, each version once and in order of time and version out.

    Of a version's lines the one received first is kept, but a sound one before a doubtful one.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, lines: Iterable[Found]) -> None:
        """Put in some lines."""
        self._connection.executemany(_PUT, map(_row, lines))

    def __len__(self) -> int:
        (number,) = self._connection.execute("SELECT count(*) FROM line").fetchone()
        return int(number)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return iter(self._connection.execute(_IN_ORDER))


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


def _row(found: Found) -> tuple[bytes, int, bool, int, bytes]:
    line = found.line
    # As bytes: JSON may name half a surrogate pair, which SQLite takes for no text.
    version = line.raw.version.encode("utf-8", "surrogatepass")
    return version, line.at_ms, not found.is_sound, line.received_ms, found.text
