"""How the file of the state is, looked at from outside without changing it."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tweetdock.core.errors import StateError
from tweetdock.keep.facts import UNREADABLE, moment, number
from tweetdock.keep.history import FILE
from tweetdock.keep.schema import MIGRATIONS
from tweetdock.keep.sqlite_file import DAMAGE, check_kind
from tweetdock.keep.state import Spent


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

    is_held: a TweetDock is at work on it, which has looked it through. Raises StateError where
    it cannot be read.
    """
    path = folder / FILE
    if not path.exists():
        return None
    check_kind(path)
    # Of a file that was closed well nothing but itself is read: not even SQLite's own small files
    # are made beside it, which might then belong to another user than the gauge's.
    has_log = is_held or path.with_name(f"{FILE}-wal").exists()
    address = f"{path.absolute().as_uri()}?mode=ro{'' if has_log else '&immutable=1'}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=1.0)) as db:
            return _read(db, is_held=is_held)
    except UNREADABLE as error:
        return Condition(damage=f"{type(error).__name__}: {error}")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE:
            return Condition(damage=str(error))
        raise StateError(f"{path}: {error}") from error


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
    days: dict[str, dict[str, Spent]] = {}
    for day, source, requests, posts in db.execute(
        "SELECT day, source, requests, posts FROM spent"
    ):
        days.setdefault(str(day), {})[str(source)] = Spent(number(requests), number(posts))
    return Condition(version, moment(saved[0]) if saved else None, days)
