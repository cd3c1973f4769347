"""The state in one SQLite file: the window, what is known of it, and the readings of a year."""

import json
import logging
import os
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tweetdock.core.counter import Mark
from tweetdock.core.coverage import Seen
from tweetdock.core.errors import StateError
from tweetdock.core.memory import Keepsake, Memory
from tweetdock.core.post import source_of
from tweetdock.keep.facts import (
    UNREADABLE,
    angles,
    moment,
    number,
    place,
    read_seen,
    salt,
    scales,
)
from tweetdock.keep.history import FILE, KEPT_MS
from tweetdock.keep.schema import MIGRATIONS
from tweetdock.keep.sqlite_file import DAMAGE, open_to_read, open_to_write
from tweetdock.keep.state import Changes, Spent, State

log = logging.getLogger(__name__)

TIDY_MS = 600_000
_SIGN = 1 << 63  # SQLite's integers have a sign, fingerprints have none


class Store:
    """The file `state.db` of a folder, to be used by one thread of one process.

    subjects: by feed, what it is asked for; what was kept of another question is forgotten, with
    all that its source has brought: of which feed a post is, is not kept.
    A damaged file is moved aside and begun anew, with an ERROR in the log; with `reads_only`
    nothing is ever changed, for one that another TweetDock owns. Raises StateError
    where the file cannot be used now, UnavailableError if a newer TweetDock has written it.
    """

    def __init__(
        self,
        folder: Path,
        subjects: Mapping[str, str],
        window_ms: int,
        migrations: tuple[tuple[str, ...], ...] = MIGRATIONS,
        *,
        reads_only: bool = False,
    ) -> None:
        self._reads_only = reads_only
        self._path = folder / FILE
        self._subjects = subjects
        self._window_ms = window_ms
        self._migrations = migrations
        self._tidied_ms = 0
        self._outdated: set[str] = set()  # sources whose rows and marks go with the next save
        self._db = self._open()

    def load(self) -> State | None:
        """What was saved last; None if there is nothing."""
        try:
            return self._load()
        except (sqlite3.Error, *UNREADABLE) as error:
            if self._reads_only:
                raise StateError(f"{self._path}: {error}") from error
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
            self._outdated.clear()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
                raise  # our own SQL
            raise StateError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):
            self._db.close()

    def _open(self) -> sqlite3.Connection:
        if self._reads_only:
            return open_to_read(self._path, self._migrations)
        try:
            return self._connect()
        except sqlite3.Error as error:
            is_damaged = error.sqlite_errorcode & 0xFF in DAMAGE
            if not is_damaged and not _is_unusable(self._path):
                raise StateError(f"{self._path}: {error}") from error
            self._move_aside(str(error))
        try:
            return self._connect()
        except sqlite3.Error as error:
            raise StateError(f"{self._path}: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        db = open_to_write(self._path, self._migrations)
        self._place = _place(self._path)
        return db

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

    def _load(self) -> State | None:
        facts = dict(self._db.execute("SELECT name, value FROM facts"))
        if "saved_ms" not in facts:
            return None
        saved_ms = moment(facts["saved_ms"])
        # A TweetDock with a shorter window has thrown older marks away.
        window_ms = min(self._window_ms, number(facts.get("window_ms", self._window_ms)))
        floor_ms = saved_ms - window_ms
        seen, cursors = self._load_feeds(floor_ms)
        # Also of those that have not spoken: of the archive they may know more than of the window.
        sources = {source_of(feed) for feed in self._subjects} - self._outdated
        marks = self._db.execute(
            "SELECT source, CAST(key AS INTEGER), CAST(author AS INTEGER), CAST(at_ms AS INTEGER)"
            " FROM marks WHERE at_ms > ? ORDER BY rowid",
            (floor_ms,),
        )
        memory = Memory(
            salt=salt(facts["salt"]),
            keepsakes=[
                Keepsake(source, Mark(key + _SIGN, author + _SIGN, at_ms))
                for source, key, author, at_ms in marks
                if source in sources
            ],
            seen=seen,
            scales=scales(facts["scales"]),
        )
        return State(
            saved_ms=saved_ms,
            memory=memory,
            cursors=cursors,
            angles=angles(facts["angles"]),
            place=place(facts["place"]),
            blind_until_ms=moment(facts["blind_until_ms"]),
            spent=self._load_spent(),
        )

    def _load_feeds(self, floor_ms: int) -> tuple[dict[str, Seen], dict[str, str]]:
        """What is known of the feeds of sources that are asked the same as before."""
        rows = self._db.execute(
            "SELECT name, subject, spans, unreadable, heard_ms, cursor FROM sources"
        ).fetchall()
        self._outdated = self._find_outdated({str(name): subject for name, subject, *_ in rows})
        seen, cursors = {}, {}
        for name, _, spans, unreadable, heard_ms, cursor in rows:
            if name in self._subjects and source_of(name) not in self._outdated:
                seen[name] = read_seen(spans, unreadable, heard_ms, floor_ms)
                cursors[name] = str(cursor)
        return seen, cursors

    def _find_outdated(self, before: Mapping[str, object]) -> set[str]:
        """The sources of which a feed was asked for something else, or is not asked any more.

        A source that is not asked at all for a while stays as it was.
        """
        asked = {source_of(feed) for feed in self._subjects}
        outdated = set()
        for name, subject in before.items():
            source = source_of(name)
            if source not in asked or self._subjects.get(name) == subject:
                continue
            outdated.add(source)
            if name in self._subjects:
                log.info("state: %s was asked for %s before; its hour is read anew", name, subject)
            else:
                log.info("state: %s is not asked any more; its hour is read anew", name)
        return outdated

    def _load_spent(self) -> dict[str, dict[str, Spent]]:
        days: dict[str, dict[str, Spent]] = {}
        found = self._db.execute("SELECT day, source, requests, posts FROM spent")
        for day, source, requests, posts in found:
            days.setdefault(str(day), {})[str(source)] = Spent(number(requests), number(posts))
        return days

    def _save(self, state: State, changes: Changes) -> None:
        db = self._db
        if changes.is_whole:
            db.execute("DELETE FROM marks")
            db.execute("DELETE FROM sources")
        for source in self._outdated:
            db.execute("DELETE FROM marks WHERE source = ?", (source,))
        names = [name for (name,) in db.execute("SELECT name FROM sources").fetchall()]
        gone = [(name,) for name in names if source_of(name) in self._outdated]
        db.executemany("DELETE FROM sources WHERE name = ?", gone)
        db.executemany(
            "INSERT INTO marks VALUES (?, ?, ?, ?)",
            ((source, m.key - _SIGN, m.author - _SIGN, m.at_ms) for source, m in changes.keepsakes),
        )
        memory = state.memory
        scales = json.dumps(dict(memory.scales))
        facts = {"saved_ms": state.saved_ms, "salt": memory.salt, "scales": scales}
        facts["angles"] = json.dumps(state.angles)
        facts["place"] = json.dumps(state.place)
        facts["blind_until_ms"] = state.blind_until_ms
        facts["window_ms"] = self._window_ms
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


def _place(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _is_unusable(path: Path) -> bool:
    return path.exists() and not (path.is_file() and os.access(path, os.R_OK | os.W_OK))
