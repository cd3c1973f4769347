"""The state in one SQLite file: the window, what is known of it, and the readings of a year."""

import json
import logging
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zlib import crc32

from tweetdock.core.counter import Mark
from tweetdock.core.coverage import Seen, Spans
from tweetdock.core.errors import StateError, UnavailableError
from tweetdock.core.gauge import Saved, ScaleState, SourceMark
from tweetdock.core.post import Span, Spent, source_of
from tweetdock.core.times import YEAR_2100_MS
from tweetdock.keep.files import is_at

log = logging.getLogger(__name__)

FILE = "state.db"
PAGE_BYTES = 1024  # each save writes whole pages: with small ones an SD card lives longer
TIDY_MS = 600_000
KEPT_DAYS = 366
KEPT_ROWS = {"minute": 24 * 60, "hour": 24 * KEPT_DAYS}

# Torn, no SQLite file at all, or without our tables.
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
# What reading a damaged row raises.
_UNREADABLE = (ValueError, TypeError, KeyError, OverflowError, RecursionError, AttributeError)
_SIGN = 1 << 63  # SQLite's integers have a sign, fingerprints have none

_VERSION = 1  # of the tables
_TABLES = f"""
    BEGIN IMMEDIATE;
    -- What there is one of: the salt, when it was saved, each dial's scale and needle, how late
    -- each feed's posts may be, a checksum over all that is loaded.
    CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    -- The window, in the order in which it came to be: later rows of a key say if it is there.
    CREATE TABLE marks (
        source TEXT NOT NULL, key INTEGER NOT NULL, author INTEGER NOT NULL,
        at_ms INTEGER NOT NULL
    );
    -- What each feed was asked for and has seen, in JSON, and its cursor.
    CREATE TABLE sources (
        name TEXT PRIMARY KEY, subject TEXT NOT NULL, spans TEXT NOT NULL,
        unreadable TEXT NOT NULL, heard_ms INTEGER NOT NULL, cursor TEXT NOT NULL
    ) WITHOUT ROWID;
    -- What was asked of a source in a day (UTC), and how many posts it returned: what it bills.
    CREATE TABLE spent (
        day TEXT, source TEXT, requests INTEGER NOT NULL, posts INTEGER NOT NULL,
        PRIMARY KEY (day, source)
    ) WITHOUT ROWID;
    -- Readings by the minute and by the hour.
    CREATE TABLE history (
        per TEXT, at_ms INTEGER, posts INTEGER NOT NULL, authors INTEGER NOT NULL,
        grade TEXT NOT NULL, window_seconds REAL NOT NULL, subject TEXT NOT NULL,
        PRIMARY KEY (per, at_ms)
    ) WITHOUT ROWID;
    PRAGMA user_version={_VERSION};
    COMMIT;
"""
_MARKS = "SELECT source, key, author, at_ms FROM marks"
# An earlier TweetDock that changes the file leaves the checksum as it is: then there is none.
_TRIGGERS = (
    """CREATE TRIGGER IF NOT EXISTS saved AFTER INSERT ON facts WHEN NEW.name = 'saved_ms'
    BEGIN DELETE FROM facts WHERE name = 'checksum'; END""",
    """CREATE TRIGGER IF NOT EXISTS forgotten AFTER DELETE ON sources
    BEGIN DELETE FROM facts WHERE name = 'checksum'; END""",
)

Per = Literal["minute", "hour"]


class HistoryRow(NamedTuple):
    """The reading at a full minute or hour, `at_ms` (Unix ms), of the window that ended there."""

    per: str
    at_ms: int
    posts: int
    authors: int
    grade: str
    window_seconds: float
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where the gauge and its sources stand.

    saved_ms: when (Unix ms); 0: never at a time that was known, so nothing is known of an hour.
    cursors: by feed. angles: where the needles are, in degrees.
    archive: its path; empty without one. blind_until_ms: up to when it may lack posts that the
    gauge counts. spent: by UTC day (as 2026-11-21) and source, of all days kept, as it was loaded.
    """

    saved_ms: int
    saved: Saved
    cursors: Mapping[str, str]
    angles: tuple[float, ...] = ()
    archive: str = ""
    blind_until_ms: int = 0
    spent: Mapping[str, Mapping[str, Spent]] = field(default_factory=dict)


class DamagedError(StateError):
    """What is in the file makes no sense."""

    def __init__(self, what: str) -> None:
        cure = (
            "put a backup of it there now if you have one; else the next start moves it aside and "
            "begins a new history. After a power cut that is bad luck; if it happens again, the SD "
            "card is worn out"
        )
        super().__init__(what, cure)


@contextmanager
def _explained(
    path: Path, unreadable: tuple[type[Exception], ...] = (UnicodeDecodeError,)
) -> Iterator[None]:
    """Raise StateError for what SQLite says about a file, DamagedError for what is `unreadable`.

    That are at least SQLite's own words on a name in which a bit was lost.
    """
    try:
        yield
    except unreadable as error:
        raise DamagedError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    except sqlite3.Error as error:
        # Without a code it is Python that could not read a text.
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _DAMAGE:
            raise DamagedError(f"{path} is damaged: {error}") from error
        raise StateError(f"{path}: {error}") from error


@contextmanager
def _reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """The file of a state folder, of which nothing is changed; beside a gauge at work, too.

    Raises StateError if there is none or it cannot be read.
    """
    path = folder / FILE
    if not path.is_file():  # at a pipe SQLite waits for ever
        raise StateError(f"{folder}: no state of TweetDock's here", "--state-dir names its folder")
    # Of a file that was closed well nothing but itself is read: not even SQLite's own small files
    # are made beside it, which might then belong to another user than the gauge's.
    is_closed = not path.with_name(f"{FILE}-wal").exists()
    address = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' * is_closed}"
    with _explained(path, _UNREADABLE), closing(sqlite3.connect(address, uri=True)) as db:
        yield db


def read_state(folder: Path, subjects: Mapping[str, str], window_ms: int) -> State | None:
    """What was saved last, by whomever; None if that is nothing.

    Raises StateError if it cannot be read, DamagedError if the next start moves it aside, and
    UnavailableError if a newer TweetDock has written it.
    """
    with _reading(folder) as db:
        if not _has_tables(db, folder / FILE):
            return None  # begun, and broken off: the next start makes it whole
        _check(db)
        return _load(db, subjects, _find_outdated(db, subjects), window_ms)


def read_history(folder: Path, per: Per | None = None) -> list[HistoryRow]:
    """The rows kept in a state folder that can be read, oldest first.

    per: those only. None: by the hour as far as there is nothing finer, then by the minute.
    Raises StateError if there is no state or it cannot be read.
    """
    query = (
        "SELECT per, at_ms, posts, authors, grade, window_seconds, subject FROM history"
        " WHERE per = ?1 OR (?1 IS NULL AND (per = 'minute' OR at_ms <"
        " (SELECT coalesce(min(at_ms), 1 << 62) FROM history WHERE per = 'minute')))"
        " ORDER BY at_ms, per"
    )
    with _reading(folder) as db:
        # No checksum is over them, as no count hangs on them: what is rotten is left out.
        db.text_factory = partial(str, encoding="utf-8", errors="replace")
        rows = [HistoryRow(*row) for row in db.execute(query, (per,))]
        return [row for row in rows if all(map(_is_whole, row[1:4]))]


class Store:
    """The file `state.db` of a folder, to be used by one thread of one process.

    subjects: by feed, what it is asked for; what was kept of another question is forgotten, with
    all that its source has brought: of which feed a post is, is not kept.
    A damaged file is moved aside and begun anew, with an ERROR in the log. Raises StateError
    where the file cannot be used now, UnavailableError if a newer TweetDock has written it.
    """

    def __init__(self, folder: Path, subjects: Mapping[str, str], window_ms: int) -> None:
        self._path = folder / FILE
        self._subjects = subjects
        self._window_ms = window_ms
        self._tidied_ms = 0
        self._marks_sum: int | None = None  # None: not known
        try:
            self._db = self._open()
        except DamagedError as error:
            self._db = self._begin_anew(error)

    def load(self) -> State | None:
        """What was saved last; None if there is nothing."""
        try:
            with _explained(self._path, _UNREADABLE):
                self._marks_sum = _check(self._db)
                outdated = _find_outdated(self._db, self._subjects)
                state = _load(self._db, self._subjects, outdated, self._window_ms)
                self._forget(outdated)
                return state
        except DamagedError as error:
            self._db.close()
            self._db = self._begin_anew(error)
            return None

    def save(
        self,
        state: State,
        marks: Iterable[SourceMark] = (),
        rows: Iterable[HistoryRow] = (),
        spent: Mapping[tuple[str, str], Spent] | None = None,
        *,
        is_whole: bool = False,
    ) -> None:
        """Save all of it or nothing: the state, and what is new since the last save.

        spent: by UTC day and source. is_whole: the marks are not only the new ones, but all that
        there are. Raises StateError; then a new Store may find out and mend what is wrong.
        """
        if not is_at(self._path, self._stat):
            raise StateError(f"{self._path} was taken away or replaced")
        marks_sum, self._marks_sum = self._marks_sum, None
        with _explained(self._path), self._db as db:
            if is_whole:
                db.execute("DELETE FROM marks")
                db.execute("DELETE FROM sources")
                marks_sum = 0
            with _explained(self._path, _UNREADABLE):  # what is there, by rot, may be anything
                if marks_sum is None:
                    marks_sum = _sum(db.execute(_MARKS))
                if not 0 <= state.saved_ms - self._tidied_ms < TIDY_MS:
                    marks_sum -= self._tidy(state.saved_ms)
                    self._tidied_ms = state.saved_ms
            self._save_state(state)
            marks_sum += self._add(marks)
            db.executemany(
                "INSERT INTO spent VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " requests = requests + excluded.requests, posts = posts + excluded.posts",
                ((*of, *number) for of, number in (spent or {}).items()),
            )
            db.executemany("INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            for trigger in _TRIGGERS:
                db.execute(trigger)
            checksum = _checksum(db, marks_sum)
            db.execute("INSERT OR REPLACE INTO facts VALUES ('checksum', ?)", (checksum,))
        self._marks_sum = marks_sum

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _open(self) -> sqlite3.Connection:
        path = self._path
        if path.exists() and not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
            raise DamagedError(f"{path} is no file that can be read and written")
        with suppress(OSError):  # as private as the archive; what is wrong, SQLite will say
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
        with _explained(path):
            db = sqlite3.connect(path, isolation_level="IMMEDIATE", timeout=1.0)
            try:
                self._prepare(db)
                self._stat = path.stat()
            except BaseException:
                db.close()
                raise
            return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute(f"PRAGMA page_size={PAGE_BYTES}")
        db.execute("PRAGMA journal_mode=WAL")
        # Nothing that was saved is lost by a kill; by a power cut the last moments may be, and
        # are read again. Only a checkpoint waits for the card.
        db.execute("PRAGMA synchronous=NORMAL")
        if not _has_tables(db, self._path):
            db.executescript(_TABLES)

    def _begin_anew(self, reason: DamagedError) -> sqlite3.Connection:
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        aside = self._path.with_name(f"{self._path.name}.damaged-{stamp}")
        try:
            for suffix in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").rename(f"{aside}{suffix}")
        except OSError as error:
            raise StateError(f"{reason.what}; it cannot be moved away: {error}") from error
        log.error(
            "state: %s: it is now %s, and a new one begins: the hour is read again, the history "
            "starts anew",
            *(reason.what, aside.name),
        )
        return self._open()

    def _forget(self, sources: Collection[str]) -> None:
        with self._db as db:
            for source in sources:
                self._marks_sum = None
                db.execute("DELETE FROM marks WHERE source = ?", (source,))
                db.execute("DELETE FROM sources WHERE name || ' ' GLOB ? || ' *'", (source,))

    def _add(self, marks: Iterable[SourceMark]) -> int:
        """Add marks; their sum."""
        (last,) = self._db.execute("SELECT coalesce(max(rowid), 0) FROM marks").fetchone()
        self._db.executemany(
            "INSERT INTO marks VALUES (?, ?, ?, ?)",
            ((source, m.key - _SIGN, m.author - _SIGN, m.at_ms) for source, m in marks),
        )
        return _sum(self._db.execute(f"{_MARKS} WHERE rowid > ?", (last,)))

    def _save_state(self, state: State) -> None:
        saved = state.saved
        facts = {
            "saved_ms": state.saved_ms,
            "salt": saved.salt,
            "scales": json.dumps(saved.scales),
            "angles": json.dumps(state.angles),
            # With the file's number and size, as earlier versions want it.
            "place": json.dumps([state.archive, 0, 0] if state.archive else None),
            "blind_until_ms": state.blind_until_ms,
            "window_ms": self._window_ms,
            # A fact for each feed: also of those that are not asked for a while.
            **{_late(name): seen.late_ms for name, seen in saved.seen.items()},
        }
        self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())
        for name, seen in saved.seen.items():
            known = json.dumps(seen.spans), json.dumps(seen.unreadable), seen.heard_ms
            row = name, self._subjects[name], *known, state.cursors.get(name, "")
            self._db.execute("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?, ?)", row)

    def _tidy(self, now_ms: int) -> int:
        """Forget what no reading and no history needs any more; the sum of the marks that go.

        What goes by the time are marks that had left the window when it was saved last, and with
        them the claim of whichever feed that they are there. Of all else the number is limited:
        however wrong a time was, it costs no history.
        """
        db, window = self._db, _window(_facts(self._db), self._window_ms)
        gone = _sum(db.execute(f"{_MARKS} WHERE at_ms <= ?", (window.since_ms,)))
        db.execute("DELETE FROM marks WHERE at_ms <= ?", (window.since_ms,))
        known = db.execute("SELECT spans, unreadable, name FROM sources").fetchall()
        db.executemany(
            "UPDATE sources SET spans = ?, unreadable = ? WHERE name = ?",
            ((*map(json.dumps, _within(window, *of)), name) for *of, name in known),
        )
        for per, most in KEPT_ROWS.items():
            sql = (
                "DELETE FROM history WHERE per = ?1 AND at_ms IN (SELECT at_ms FROM history"
                " WHERE per = ?1 ORDER BY abs(at_ms - ?2) LIMIT -1 OFFSET ?3)"
            )
            db.execute(sql, (per, now_ms, most))
        sql = (
            "DELETE FROM spent WHERE day NOT IN"
            " (SELECT DISTINCT day FROM spent ORDER BY day DESC LIMIT ?)"
        )
        db.execute(sql, (KEPT_DAYS,))
        return gone


def _has_tables(db: sqlite3.Connection, path: Path) -> bool:
    """Whether it was begun; raises DamagedError, or UnavailableError if a newer one wrote it."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise UnavailableError(
            f"{path} was written by a newer TweetDock",
            "install that version again, or move the file away to begin a new history",
        )
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedError(f"{path} is damaged: {verdict}")
    return bool(version)


def _sum(marks: Iterable[tuple[str, int, int, int]]) -> int:
    """A sum over marks as they are in the file: what comes or goes is added or taken away."""
    return sum(crc32(f"{s} {key:d} {author:d} {at:d}".encode()) for s, key, author, at in marks)


def _checksum(db: sqlite3.Connection, marks_sum: int) -> str:
    """Over all that is loaded, and the tables, without which nothing could be saved."""
    tables = db.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    facts = db.execute("SELECT * FROM facts WHERE name != 'checksum' ORDER BY name").fetchall()
    sources = db.execute("SELECT * FROM sources ORDER BY name").fetchall()
    spent = db.execute("SELECT * FROM spent ORDER BY day, source").fetchall()
    whole = ascii((tables, marks_sum, facts, sources, spent))
    return blake2b(whole.encode(), digest_size=8).hexdigest()


def _check(db: sqlite3.Connection) -> int:
    """The sum of all marks; raises ValueError if not all is there as it was saved."""
    marks_sum = _sum(db.execute(_MARKS))
    # Not asked for by its name: where a bit is wrong, what is there may not be found.
    known = _facts(db).get("checksum")
    if known is not None and known != _checksum(db, marks_sum):
        raise ValueError("the checksum is that of something else")
    return marks_sum


def _find_outdated(db: sqlite3.Connection, subjects: Mapping[str, str]) -> set[str]:
    """The sources of which a feed was asked for something else, or is not asked any more.

    A source that is not asked at all for a while stays as it was.
    """
    asked = {source_of(feed) for feed in subjects}
    outdated = set()
    for name, subject in db.execute("SELECT name, subject FROM sources"):
        source = source_of(name)
        if source not in asked or subjects.get(name) == subject:
            continue
        outdated.add(source)
        log.info("state: %s was asked for %s before; its hour is read anew", name, subject)
    return outdated


def _load(
    db: sqlite3.Connection,
    subjects: Collection[str],
    outdated: Collection[str],
    window_ms: int,
) -> State | None:
    facts = _facts(db)
    if "saved_ms" not in facts:
        return None
    window = _window(facts, window_ms)
    saved_ms = window.until_ms
    # Also of those that have not spoken: of the archive they may know more than of the window.
    feeds = {feed for feed in subjects if source_of(feed) not in outdated}
    sources = set(map(source_of, feeds))
    seen, cursors = {}, {}
    rows = db.execute("SELECT name, spans, unreadable, heard_ms, cursor FROM sources")
    for name, spans, unreadable, heard_ms, cursor in rows:
        # Nothing was known of a time that was yet to come, even if a clock that was wrong said so.
        known = Seen(
            *_within(window, spans, unreadable),
            heard_ms=min(_integer(heard_ms), saved_ms),
            late_ms=_whole(facts.get(_late(name), 0)),
        )
        if name in feeds and saved_ms:
            seen[name], cursors[name] = known, cursor
    marks = db.execute(f"{_MARKS} WHERE at_ms > ? ORDER BY rowid", (window.since_ms,))
    saved = Saved(
        salt=bytes(facts["salt"]),
        marks=[
            SourceMark(source, Mark(key + _SIGN, author + _SIGN, at_ms))
            for source, key, author, at_ms in marks
            if source in sources
        ],
        seen=seen,
        scales={
            dial: ScaleState(_whole(full_scale), since_ms and min(_integer(since_ms), saved_ms))
            for dial, (full_scale, since_ms) in json.loads(facts["scales"]).items()
        },
    )
    place = json.loads(facts["place"])
    return State(
        saved_ms=saved_ms,
        saved=saved,
        cursors=cursors,
        angles=tuple(map(float, json.loads(facts["angles"]))),
        archive=str(place[0]) if place else "",
        blind_until_ms=min(_integer(facts["blind_until_ms"]), saved_ms),
        spent=_load_spent(db),
    )


def _facts(db: sqlite3.Connection) -> dict[str, Any]:
    return dict(db.execute("SELECT name, value FROM facts"))


def _window(facts: Mapping[str, Any], window_ms: int) -> Span:
    """Of what time there may be something that holds; it ends when it was saved."""
    # By a clock in a year that is not to come, nothing that is to come was seen.
    saved_ms = _whole(facts["saved_ms"]) if _is_whole(facts.get("saved_ms")) else 0
    # A TweetDock with a shorter window has thrown older marks away.
    return Span(saved_ms - min(window_ms, _whole(facts.get("window_ms", window_ms))), saved_ms)


def _within(window: Span, spans: str, unreadable: str) -> tuple[tuple[Span, ...], tuple[int, ...]]:
    """What a feed has seen of a window and could not read of it, of what there is in JSON."""
    seen = Spans(Span(_integer(since), _integer(until)) for since, until in json.loads(spans))
    moments = map(_integer, json.loads(unreadable))
    return tuple(seen & [window]), tuple(ms for ms in moments if ms > window.since_ms)


def _late(feed: str) -> str:
    """The name of the fact how late a feed's posts may be."""
    return f"late {feed}"


def _load_spent(db: sqlite3.Connection) -> dict[str, dict[str, Spent]]:
    days: dict[str, dict[str, Spent]] = {}
    for day, source, requests, posts in db.execute("SELECT * FROM spent"):
        days.setdefault(day, {})[source] = Spent(_whole(requests), _whole(posts))
    return days


def _integer(value: Any) -> int:
    """A moment (Unix ms), of whatever year."""
    if type(value) is not int:
        raise ValueError(f"no integer: {value!r}")
    return value


def _is_whole(value: Any) -> bool:
    """Whether there may have been so many, or it is a moment (Unix ms) of this century."""
    return type(value) is int and 0 <= value < YEAR_2100_MS


def _whole(value: Any) -> int:
    if not _is_whole(value):
        raise ValueError(f"no such number: {value!r}")
    return _integer(value)
