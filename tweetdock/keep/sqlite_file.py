"""Opening the SQLite file of the state: how it writes, and which version its tables have."""

import logging
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from tweetdock.core.errors import StateError, UnavailableError

log = logging.getLogger(__name__)

DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
PAGE_BYTES = 1024  # each save writes whole pages: with small ones an SD card lives longer

Migrations = tuple[tuple[str, ...], ...]


def open_to_write(path: Path, migrations: Migrations) -> sqlite3.Connection:
    """The file, new if there is none, brought forward to the last of the migrations.

    Raises sqlite3.Error, with one of DAMAGE as its code for a file that is damaged, and
    UnavailableError if a newer TweetDock has written it.
    """
    with suppress(OSError):  # as private as the archive; what is wrong, SQLite will say
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
    db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
    try:
        db.execute(f"PRAGMA page_size={PAGE_BYTES}")
        db.execute("PRAGMA journal_mode=WAL")
        # Nothing that was saved is lost by a kill; by a power cut the last moments may be, and
        # are read again. Only a checkpoint waits for the card.
        db.execute("PRAGMA synchronous=NORMAL")
        _migrate(db, path, migrations)
        _check(db)
    except BaseException:
        db.close()
        raise
    return db


def check_kind(path: Path) -> None:
    """Raises StateError for what is there and is no file: at a pipe SQLite waits for ever."""
    is_odd = False
    with suppress(OSError):  # what cannot be looked at, SQLite will say
        is_odd = path.exists() and not path.is_file()
    if is_odd:
        raise StateError(f"{path} is no file")


def open_to_read(path: Path, migrations: Migrations) -> sqlite3.Connection:
    """The file of a TweetDock at work, of which nothing is changed; StateError if it cannot be."""
    check_kind(path)
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)
    except sqlite3.Error as error:
        raise StateError(f"{path}: {error}") from error
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version != len(migrations):
            raise sqlite3.DatabaseError("of another version of TweetDock")
    except sqlite3.Error as error:
        db.close()
        raise StateError(f"{path}: {error}") from error
    return db


def _migrate(db: sqlite3.Connection, path: Path, migrations: Migrations) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise UnavailableError(
            f"{path} was written by a newer TweetDock: install that one again, "
            "or move the file away to begin anew"
        )
    for number, step in enumerate(migrations[version:], version + 1):
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in step:
                db.execute(statement)
            db.execute(f"PRAGMA user_version={number}")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
        if number > 1:
            log.info("state: %s brought from version %s to %s", path, number - 1, number)


def _check(db: sqlite3.Connection) -> None:
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        error = sqlite3.DatabaseError(verdict)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error
