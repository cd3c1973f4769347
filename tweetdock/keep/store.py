"""The state in one SQLite file: the window, what is known of it, and the readings of a year."""

import json
import logging
import os
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tweetdock.counter import Mark
from tweetdock.coverage import Seen
from tweetdock.errors import StateError, UnavailableError
from tweetdock.keep.history import FILE, KEPT_MS
from tweetdock.keep.schema import MIGRATIONS
from tweetdock.keep.state import Changes, State
from tweetdock.memory import Keepsake, Memory, ScaleState
from tweetdock.post import Span

log = logging.getLogger(__name__)

PAGE_BYTES = 1024  # each save writes whole pages: with small ones an SD card lives longer
TIDY_MS = 600_000
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SIGN = 1 << 63  # SQLite's integers have a sign, fingerprints have none


class Store:
    """The file `state.db` of a folder, to be used by one thread of one process.

    subjects: by source, what it is asked for; what was kept of another question is forgotten.
    A damaged file is moved aside and begun anew, with an ERROR in the log. Raises StateError
    where the file cannot be used now, UnavailableError if a newer TweetDock has written it.
    """

    def __init__(
        self,
        folder: Path,
        subjects: Mapping[str, str],
        window_ms: int,
        migrations: tuple[tuple[str, ...], ...] = MIGRATIONS,
    ) -> None:
        self._path = folder / FILE
        self._subjects = subjects
        self._window_ms = window_ms
        self._migrations = migrations
        self._tidied_ms = 0
        self._outdated: list[str] = []
        self._db = self._open()

    def load(self) -> State | None:
        """What was saved last; None if there is nothing."""
        try:
            return self._load()
        except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
            self._db.close()
            self._move_aside(f"{type(error).__name__}: {error}")
            self._db = self._open()
            return None

    def save(self, state: State, changes: Changes) -> None:
        """Save all of it or nothing.

        Raises StateError; then a new Store may find out and mend what is wrong.
        """
        try:
            if _place(self._path) != self._place:
                raise StateError(f"{self._path} was taken away or replaced")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._save(state, changes)
                self._tidy(state.saved_ms)
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk may have rolled it back already
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
                raise  # our own SQL
            raise StateError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):
            self._db.close()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.Error as error:
            is_damaged = error.sqlite_errorcode & 0xFF in _DAMAGE
            if not is_damaged and not _is_unusable(self._path):
                raise StateError(f"{self._path}: {error}") from error
            self._move_aside(str(error))
        try:
            return self._connect()
        except sqlite3.Error as error:
            raise StateError(f"{self._path}: {error}") from error

    def _move_aside(self, reason: str) -> None:
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        aside = self._path.with_name(f"{self._path.name}.damaged-{stamp}")
        try:
            for suffix in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").rename(f"{aside}{suffix}")
        except OSError as error:
            raise StateError(f"{self._path}: {reason}; it cannot be moved away: {error}") from error
        log.error(
            "state: %s cannot be used (%s): it is now %s, and a new one begins: the hour is read "
            "again, the history starts anew",
            *(self._path, reason, aside.name),
        )

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, timeout=1.0)
        try:
            db.execute(f"PRAGMA page_size={PAGE_BYTES}")
            db.execute("PRAGMA journal_mode=WAL")
            # Nothing that was saved is lost by a kill; by a power cut the last moments may be,
            # and are read again. Only a checkpoint waits for the card.
            db.execute("PRAGMA synchronous=NORMAL")
            self._migrate(db)
            _check(db)
            self._place = _place(self._path)
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > len(self._migrations):
            raise UnavailableError(
                f"{self._path} was written by a newer TweetDock: install that one again, "
                "or move the file away to begin anew"
            )
        for number, step in enumerate(self._migrations[version:], version + 1):
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
                log.info("state: %s brought from version %s to %s", self._path, number - 1, number)

    def _load(self) -> State | None:
        facts = dict(self._db.execute("SELECT name, value FROM facts"))
        if "saved_ms" not in facts:
            return None
        found = self._db.execute(
            "SELECT name, subject, spans, unreadable, heard_ms, cursor FROM sources"
        )
        seen, cursors = {}, {}
        for name, subject, spans, unreadable, heard_ms, cursor in found.fetchall():
            if name not in self._subjects:
                continue
            if self._subjects[name] == subject:
                stretches = tuple(Span(*pair) for pair in json.loads(spans))
                seen[name] = Seen(stretches, tuple(json.loads(unreadable)), heard_ms)
                cursors[name] = cursor
            else:
                log.info("state: %s was asked for %s before; its hour is read anew", name, subject)
                self._outdated.append(name)
        marks = self._db.execute(
            "SELECT source, key, author, at_ms FROM marks WHERE at_ms > ? ORDER BY rowid",
            (facts["saved_ms"] - self._window_ms,),
        )
        scales = {k: ScaleState(*v) for k, v in json.loads(facts["scales"]).items()}
        memory = Memory(
            salt=bytes(facts["salt"]),
            keepsakes=[
                Keepsake(source, Mark(key + _SIGN, author + _SIGN, at_ms))
                for source, key, author, at_ms in marks
                if source in seen
            ],
            seen=seen,
            scales=scales,
        )
        return State(
            saved_ms=facts["saved_ms"],
            memory=memory,
            cursors=cursors,
            angles=tuple(json.loads(facts["angles"])),
        )

    def _save(self, state: State, changes: Changes) -> None:
        db = self._db
        if changes.is_whole:
            db.execute("DELETE FROM marks")
            db.execute("DELETE FROM sources")
        while self._outdated:
            name = self._outdated.pop()
            db.execute("DELETE FROM marks WHERE source = ?", (name,))
            db.execute("DELETE FROM sources WHERE name = ?", (name,))
        db.executemany(
            "INSERT INTO marks VALUES (?, ?, ?, ?)",
            ((source, m.key - _SIGN, m.author - _SIGN, m.at_ms) for source, m in changes.keepsakes),
        )
        memory = state.memory
        scales = json.dumps(dict(memory.scales))
        facts = {"saved_ms": state.saved_ms, "salt": memory.salt, "scales": scales}
        facts["angles"] = json.dumps(state.angles)
        db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())
        db.executemany(
            "INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?, ?)",
            (
                (
                    name,
                    self._subjects[name],
                    json.dumps(seen.spans),
                    json.dumps(seen.unreadable),
                    seen.heard_ms,
                    state.cursors.get(name, ""),
                )
                for name, seen in memory.seen.items()
            ),
        )
        db.executemany(
            "INSERT INTO spent VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " requests = requests + excluded.requests, posts = posts + excluded.posts",
            ((*of, *spent) for of, spent in changes.spent.items()),
        )
        db.executemany(
            "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (r.per, r.at_ms, r.posts, r.authors, str(r.grade), r.window_seconds, r.subject)
                for r in changes.rows
            ),
        )

    def _tidy(self, now_ms: int) -> None:
        """Forget, now and then, what no reading and no history needs any more."""
        if 0 <= now_ms - self._tidied_ms < TIDY_MS:
            return
        self._tidied_ms = now_ms
        self._db.execute("DELETE FROM marks WHERE at_ms <= ?", (now_ms - self._window_ms,))
        for per, kept_ms in KEPT_MS.items():
            sql = "DELETE FROM history WHERE per = ? AND at_ms <= ?"
            self._db.execute(sql, (per, now_ms - kept_ms))
        year_ago = datetime.fromtimestamp((now_ms - KEPT_MS["hour"]) / 1000, UTC)
        self._db.execute("DELETE FROM spent WHERE day < ?", (f"{year_ago:%Y-%m-%d}",))


def _check(db: sqlite3.Connection) -> None:
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        error = sqlite3.DatabaseError(verdict)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _place(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _is_unusable(path: Path) -> bool:
    return path.exists() and not (path.is_file() and os.access(path, os.R_OK | os.W_OK))
