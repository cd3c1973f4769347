"""The parts that the daemon is made of: the saved history and the page, and who sees which."""

import json
import sqlite3
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from replaying import DAY_MS, as_line, x_post
from running import Running, run_here
from standins.x_api import XApi

from tweetdock.core.coverage import Grade
from tweetdock.daemon import Daemon
from tweetdock.factory import make_past
from tweetdock.keep.database import HistoryRow
from tweetdock.settings.gauge import Settings
from tweetdock.settings.networks import called

TOKEN = "a-bearer-token-of-32-characters!"
AT_MS = 1_790_000_000_000
ROW = HistoryRow("hour", AT_MS, 412, 287, "exact", 3600.0, "#dockercon")


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A gauge of X that has run before."""
    with XApi((), bearer=TOKEN) as api:
        env = {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": TOKEN, "X_API_URL": api.url}
        done = run_here("--once", folder=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        yield env


def keep(folder: Path, *rows: HistoryRow) -> None:
    with closing(sqlite3.connect(folder / "state" / "state.db")) as db, db:
        db.executemany(
            "INSERT INTO history (per, at_ms, posts, authors, grade, window_seconds, subject)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )


def asked(daemon: Running, path: str) -> str:
    """What its page answers."""
    (line,) = [line for line in daemon.lines if "page: http://" in line]
    url = f"http://127.0.0.1:{line.strip().rpartition(':')[2]}{path}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: str = answer.read().decode()
        return found


def test_a_grade_that_nobody_knows_is_left_out_of_the_past() -> None:
    odd = ROW._replace(at_ms=AT_MS + 3_600_000, grade="superb")
    (moment,) = make_past([ROW, odd]).since(0)
    assert (moment.at_ms, moment.posts, moment.grade) == (AT_MS, 412, Grade.EXACT)


def test_an_odd_row_of_the_history_does_not_end_the_gauge(
    env: dict[str, str], tmp_path: Path
) -> None:
    """One was enough to end it at each start, as a bug of TweetDock."""
    keep(tmp_path, ROW, ROW._replace(at_ms=AT_MS + 3_600_000, grade="superb"))
    with Running(folder=tmp_path, env=env | {"TWEETDOCK_WEB": "127.0.0.1:0"}) as daemon:
        daemon.wait_for("#dockercon 0 tweets", "exact")
        found = json.loads(asked(daemon, "/api/history?hours=8784"))
        assert 412 in found["posts"]
        assert set(found["grade"]) <= set(Grade)
        assert daemon.stop() == 0


def test_the_history_is_read_for_those_who_can_see_it_only(
    env: dict[str, str], tmp_path: Path
) -> None:
    """A single reading waited for a year of readings that it does not show."""
    opened: list[str] = []
    sys.addaudithook(
        lambda event, values: opened.append(str(values[0])) if event == "sqlite3.connect" else None
    )
    settings = Settings.from_env(env | {"TWEETDOCK_STATE_DIR": str(tmp_path / "state")})
    with Daemon(settings, threading.Event(), threading.Event()):
        assert len(opened) == 1  # the state


def test_nobody_is_told_in_which_folder_a_recording_is(tmp_path: Path) -> None:
    """The API, the page and the metrics had the whole path, the user's name in it."""
    tapes = [tmp_path / who / "tape.jsonl" for who in ("ada", "bob")]
    for number, tape in enumerate(tapes, 1):
        tape.parent.mkdir()
        tape.write_bytes(as_line(x_post(number, number, DAY_MS)[0]))
    sources = ",".join(f"replay:{tape}" for tape in tapes)
    env = {"TWEETDOCK_WEB": "127.0.0.1:0", "TWEETDOCK_SOURCES": sources}
    with Running(folder=tmp_path, env=env) as daemon:
        daemon.wait_for("REPLAY: tape.jsonl tape.jsonl (2) 2 tweets")
        reading = json.loads(asked(daemon, "/api/reading"))
        assert list(reading["sources"]) == ["replay:tape.jsonl", "replay:tape.jsonl (2)"]
        assert [source["posts"] for source in reading["sources"].values()] == [1, 1]
        assert (reading["hashtags"], reading["subject"]) == ([], "tape.jsonl tape.jsonl (2)")
        for path in ("/", "/api/reading", "/metrics"):
            found = asked(daemon, path)
            assert "tape.jsonl" in found
            assert str(tmp_path) not in found
            assert "/ada/" not in found
        assert daemon.stop() == 0


def test_recordings_have_names_of_their_own_that_can_be_shown() -> None:
    sources = ("x", "replay:~/a.gz", "replay:b/a.gz", "replay:a.gz (2)", "replay:c/\udcff\n.gz")
    assert list(called(sources).values()) == [
        *("x", "replay:a.gz", "replay:a.gz (2)", "replay:a.gz (2) (2)", "replay:  .gz")
    ]
