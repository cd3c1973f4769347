"""The state in one SQLite file: the window, what is known of it, and the readings of a year."""

import json
import logging
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tweetdock.core.counter import Mark
from tweetdock.core.coverage import Seen
from tweetdock.core.errors import StateError, UnavailableError
from tweetdock.core.gauge import Saved, ScaleState, SourceMark
from tweetdock.core.post import Span, Spent, source_of
from tweetdock.core.times import YEAR_2100_MS
from tweetdock.keep.archive_format import ArchivePosition
from tweetdock.keep.state import KEPT_MS, HistoryRow, Per, State, StateChanges

log = logging.getLogger(__name__)

FILE = "state.db"
PAGE_BYTES = 1024  # each save writes whole pages: with small ones an SD card lives longer
TIDY_MS = 600_000

Migrations = tuple[tuple[str, ...], ...]

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# What reading a damaged row raises.
_UNREADABLE = (ValueError, TypeError, KeyError, OverflowError, RecursionError, AttributeError)
_SIGN = 1 << 63  # SQLite's integers have a sign, fingerprints have none
_LARGEST_SCALE = 10**12

# Each step is run once, in one transaction; a released one is never changed, only followed.
MIGRATIONS: Migrations = (
    (
        # What there is one of: the salt, when it was saved, each dial's scale and needle.
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
        # The window, in the order in which it came to be: a later row of a key removes the post.
        """CREATE TABLE marks (
            source TEXT NOT NULL, key INTEGER NOT NULL, author INTEGER NOT NULL,
            at_ms INTEGER NOT NULL
        )""",
        # What each source was asked for and has seen, in JSON, and its cursor.
        """CREATE TABLE sources (
            name TEXT PRIMARY KEY, subject TEXT NOT NULL, spans TEXT NOT NULL,
            unreadable TEXT NOT NULL, heard_ms INTEGER NOT NULL, cursor TEXT NOT NULL
        ) WITHOUT ROWID""",
        # What was asked of a source in a day (UTC), and how many posts it returned: what it bills.
        """CREATE TABLE spent (
            day TEXT, source TEXT, requests INTEGER NOT NULL, posts INTEGER NOT NULL,
            PRIMARY KEY (day, source)
        ) WITHOUT ROWID""",
        # Readings by the minute and by the hour.
        """CREATE TABLE history (
            per TEXT, at_ms INTEGER, posts INTEGER NOT NULL, authors INTEGER NOT NULL,
            grade TEXT NOT NULL, window_seconds REAL NOT NULL, subject TEXT NOT NULL,
            PRIMARY KEY (per, at_ms)
        ) WITHOUT ROWID""",
    ),
)


def _open_to_write(path: Path, migrations: Migrations) -> sqlite3.Connection:
    """The file, new if there is none, brought forward to the last of the migrations.

    Raises sqlite3.Error, with one of _DAMAGE as its code for a file that is damaged, and
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


def _check_kind(path: Path) -> None:
    """Raises StateError for what is there and is no file: at a pipe SQLite waits for ever."""
    is_odd = False
    with suppress(OSError):  # SQLite will report what cannot be read
        is_odd = path.exists() and not path.is_file()
    if is_odd:
        raise StateError(f"{path} is no file")


def _open_to_read(path: Path, migrations: Migrations) -> sqlite3.Connection:
    """The file of a TweetDock at work, of which nothing is changed; StateError if it cannot be."""
    _check_kind(path)
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
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found > len(migrations):
        raise UnavailableError(
            f"{path} was written by a newer TweetDock: install that one again, "
            "or move the file away to begin anew"
        )
    for version, step in enumerate(migrations[found:], found + 1):
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in step:
                db.execute(statement)
            db.execute(f"PRAGMA user_version={version}")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
        if version > 1:
            log.info("state: %s brought from version %s to %s", path, version - 1, version)


def _check(db: sqlite3.Connection) -> None:
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        error = sqlite3.DatabaseError(verdict)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


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
        migrations: Migrations = MIGRATIONS,
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
        except (sqlite3.Error, *_UNREADABLE) as error:
            if self._reads_only:
                raise StateError(f"{self._path}: {error}") from error
            self._db.close()
            self._move_aside(f"{type(error).__name__}: {error}")
            self._db = self._open()
            return None

    def save(self, state: State, changes: StateChanges) -> None:
        """Save all of it or nothing.

        Raises StateError; then a new Store may find out and mend what is wrong.
        """
        try:
            if _identity(self._path) != self._identity:
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
            return _open_to_read(self._path, self._migrations)
        try:
            return self._connect()
        except sqlite3.Error as error:
            if not _is_damage(error) and not _is_unusable(self._path):
                raise StateError(f"{self._path}: {error}") from error
            self._move_aside(str(error))
        try:
            return self._connect()
        except sqlite3.Error as error:
            raise StateError(f"{self._path}: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        db = _open_to_write(self._path, self._migrations)
        self._identity = _identity(self._path)
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
        saved_ms = _moment(facts["saved_ms"])
        # A TweetDock with a shorter window has thrown older marks away.
        window_ms = min(self._window_ms, _number(facts.get("window_ms", self._window_ms)))
        floor_ms = saved_ms - window_ms
        seen, cursors = self._load_feeds(floor_ms)
        # Also of those that have not spoken: of the archive they may know more than of the window.
        sources = {source_of(feed) for feed in self._subjects} - self._outdated
        marks = self._db.execute(
            "SELECT source, CAST(key AS INTEGER), CAST(author AS INTEGER), CAST(at_ms AS INTEGER)"
            " FROM marks WHERE at_ms > ? ORDER BY rowid",
            (floor_ms,),
        )
        saved = Saved(
            salt=_salt(facts["salt"]),
            marks=[
                SourceMark(source, Mark(key + _SIGN, author + _SIGN, at_ms))
                for source, key, author, at_ms in marks
                if source in sources
            ],
            seen=seen,
            scales=_scales(facts["scales"]),
        )
        return State(
            saved_ms=saved_ms,
            saved=saved,
            cursors=cursors,
            angles=_angles(facts["angles"]),
            position=_position(facts["place"]),
            blind_until_ms=_moment(facts["blind_until_ms"]),
            spent=_load_spent(self._db),
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
                seen[name] = _seen(spans, unreadable, heard_ms, floor_ms)
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

    def _save(self, state: State, changes: StateChanges) -> None:
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
            ((source, m.key - _SIGN, m.author - _SIGN, m.at_ms) for source, m in changes.marks),
        )
        saved = state.saved
        scales = json.dumps(dict(saved.scales))
        facts = {"saved_ms": state.saved_ms, "salt": saved.salt, "scales": scales}
        facts["angles"] = json.dumps(state.angles)
        facts["place"] = json.dumps(state.position)
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
                for name, seen in saved.seen.items()
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


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _is_unusable(path: Path) -> bool:
    return path.exists() and not (path.is_file() and os.access(path, os.R_OK | os.W_OK))


def read_history(folder: Path, per: Per | None = None) -> Iterator[HistoryRow]:
    """The rows kept in a state folder, oldest first; beside a gauge at work, too.

    per: those only. None: by the hour as far as there is nothing finer, then by the minute.
    Raises StateError if there is no state or it cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        raise StateError(f"{folder}: no state of TweetDock's here; --state-dir names its folder")
    query = (
        "SELECT per, at_ms, posts, authors, grade, window_seconds, subject FROM history"
        " WHERE per = ?1 OR (?1 IS NULL AND (per = 'minute' OR at_ms <"
        " (SELECT coalesce(min(at_ms), 1 << 62) FROM history WHERE per = 'minute')))"
        " ORDER BY at_ms, per"
    )
    try:
        # Not read-only: the file of a gauge that was killed needs its log played back.
        address = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=10)) as db:
            for row in db.execute(query, (per,)):
                yield HistoryRow(*row)
    except sqlite3.Error as error:
        raise StateError(f"{path}: {error}") from error


@dataclass(frozen=True, slots=True)
class Condition:
    """What the file says: the version of its tables, when it was saved, what was spent by then.

    saved_ms: Unix ms; None if nothing is saved yet. spent: by UTC day and source.
    damage: why it cannot be used; then the rest is not known.
    """

    version: int = 0
    saved_ms: int | None = None
    spent: Mapping[str, Mapping[str, Spent]] = field(default_factory=dict)
    damage: str = ""


def condition_of(folder: Path, *, is_held: bool) -> Condition | None:
    """How the file of a state folder is; None if there is none.

    is_held: a TweetDock is at work on it, which has checked it. Raises StateError where
    it cannot be read.
    """
    path = folder / FILE
    if not path.exists():
        return None
    _check_kind(path)
    # Of a file that was closed well nothing but itself is read: not even SQLite's own small files
    # are made beside it, which might then belong to another user than the gauge's.
    has_log = is_held or path.with_name(f"{FILE}-wal").exists()
    address = f"{path.absolute().as_uri()}?mode=ro{'' if has_log else '&immutable=1'}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=1.0)) as db:
            return _read(db, is_held=is_held)
    except _UNREADABLE as error:
        return Condition(damage=f"{type(error).__name__}: {error}")
    except sqlite3.Error as error:
        if _is_damage(error):
            return Condition(damage=str(error))
        raise StateError(f"{path}: {error}") from error


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def _read(db: sqlite3.Connection, *, is_held: bool) -> Condition:
    if not is_held:
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            return Condition(damage=" ".join(str(verdict).split()))
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version == tables == 0:
        return Condition(len(MIGRATIONS))  # begun, and broken off: the next start makes it whole
    if version != len(MIGRATIONS):
        return Condition(version)
    saved = db.execute("SELECT value FROM facts WHERE name = 'saved_ms'").fetchone()
    saved_ms = _moment(saved[0]) if saved else None
    return Condition(version, saved_ms, _load_spent(db))


def _load_spent(db: sqlite3.Connection) -> dict[str, dict[str, Spent]]:
    days: dict[str, dict[str, Spent]] = {}
    found = db.execute("SELECT day, source, requests, posts FROM spent")
    for day, source, requests, posts in found:
        days.setdefault(str(day), {})[str(source)] = Spent(_number(requests), _number(posts))
    return days


def _moment(value: Any) -> int:
    """Unix milliseconds of this century."""
    if not isinstance(value, int) or not 0 <= value < YEAR_2100_MS:
        raise ValueError(f"no moment: {value!r}")
    return value


def _salt(value: Any) -> bytes:
    """The salt of the marks."""
    if not isinstance(value, bytes) or len(value) > 16:
        raise ValueError("no salt")
    return value


def _number(value: Any) -> int:
    """How many there were of something."""
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"no number: {value!r}")
    return value


def _scales(text: Any) -> dict[str, ScaleState]:
    """Where the automatic scales stood, by dial."""
    found = {}
    for dial, (full_scale, roomy_since_ms) in json.loads(text).items():
        if not isinstance(full_scale, int) or not 0 < full_scale < _LARGEST_SCALE:
            raise ValueError(f"no full scale: {full_scale!r}")
        since_ms = None if roomy_since_ms is None else _moment(roomy_since_ms)
        found[dial] = ScaleState(full_scale, since_ms)
    return found


def _angles(text: Any) -> tuple[float, ...]:
    """Where the needles were, in degrees."""
    found = tuple(float(angle) for angle in json.loads(text))
    if not all(math.isfinite(angle) for angle in found):
        raise ValueError("no angle")
    return found


def _position(text: Any) -> ArchivePosition | None:
    """How far the archive had come."""
    found = json.loads(text)
    if found is None:
        return None
    path, inode, size = found
    return ArchivePosition(str(path), int(inode), int(size))


def _seen(spans: Any, unreadable: Any, heard_ms: Any, floor_ms: int) -> Seen:
    """What a source had seen after `floor_ms`."""
    found = [Span(_moment(since), _moment(until)) for since, until in json.loads(spans)]
    stretches = tuple(
        Span(max(since, floor_ms), until) for since, until in found if until > floor_ms
    )
    return Seen(stretches, tuple(_moment(ms) for ms in json.loads(unreadable)), _moment(heard_ms))
