"""The history as CSV, as the command writes it out of a state that a gauge has left."""

import csv
import io
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from running import command, environment, run_here

from tweetdock.core.gauge import Saved
from tweetdock.core.times import HOUR_MS, MINUTE_MS, rfc3339
from tweetdock.keep.database import HistoryRow, State, Store

NOON_MS = 1_795_262_400_000
SUBJECT = '#one, "#two"'
HEAD = ["at", "per", "posts", "authors", "grade", "window_seconds", "subject"]


def a_row(per: str, at_ms: int, posts: int = 5) -> HistoryRow:
    return HistoryRow(per, at_ms, posts, 3, "exact", 3600.0, SUBJECT)


HOURS = [a_row("hour", NOON_MS - n * HOUR_MS) for n in (3, 2, 1)]
MINUTES = [a_row("minute", NOON_MS - n * MINUTE_MS, n) for n in (2, 1, 0)]


def keep(folder: Path, rows: list[HistoryRow]) -> None:
    folder.mkdir(exist_ok=True)
    saved = Saved(salt=bytes(16))
    with closing(Store(folder, {"x": SUBJECT}, 3_600_000)) as store:
        store.save(State(saved_ms=NOON_MS, saved=saved, cursors={}), rows=rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a state in it, where the environment says."""
    keep(tmp_path / "state", HOURS + MINUTES)
    return tmp_path


def table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_history_is_a_table_with_a_head(folder: Path) -> None:
    done = run_here("export", "history", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = table(done.stdout)
    assert head == HEAD
    assert [row[0] for row in rows] == [rfc3339(row.at_ms) for row in HOURS + MINUTES]
    assert rows[-1] == [rfc3339(NOON_MS), "minute", "0", "3", "exact", "3600.0", SUBJECT]


@pytest.mark.parametrize(("per", "kept"), [("minute", MINUTES), ("hour", HOURS)])
def test_history_is_of_one_kind_if_asked_for(
    folder: Path, per: str, kept: list[HistoryRow]
) -> None:
    done = run_here("export", "history", "--per", per, folder=folder)
    _, *rows = table(done.stdout)
    assert [row[:2] for row in rows] == [[rfc3339(row.at_ms), per] for row in kept]


def test_history_goes_into_a_file_that_is_not_replaced_by_mistake(folder: Path) -> None:
    words = ("export", "history", "-o", "history.csv")
    assert run_here(*words, folder=folder).returncode == 0
    whole = (folder / "history.csv").read_text()
    assert len(table(whole)) == 7
    again = run_here(*words, folder=folder)
    assert again.returncode == 69
    assert "--force" in again.stderr
    assert run_here(*words, "--force", folder=folder).returncode == 0
    assert (folder / "history.csv").read_text() == whole


def test_the_folder_of_the_state_can_be_named(tmp_path: Path) -> None:
    keep(tmp_path / "elsewhere", MINUTES)
    done = run_here("export", "history", "--state-dir", "elsewhere", folder=tmp_path)
    assert (done.returncode, len(table(done.stdout))) == (0, 4)


def test_without_a_state_nothing_is_written(tmp_path: Path) -> None:
    for words in ((), ("-o", "history.csv")):
        done = run_here("export", "history", *words, folder=tmp_path)
        assert (done.returncode, done.stdout) == (69, "")
        assert "no state" in done.stderr
    assert not (tmp_path / "history.csv").exists()


def test_a_wrong_word_ends_with_2(folder: Path) -> None:
    assert run_here("export", folder=folder).returncode == 2
    assert run_here("export", "history", "--per", "day", folder=folder).returncode == 2


def test_a_reader_that_goes_away_early_is_no_error(tmp_path: Path) -> None:
    """`tweetdock export history | head -1`: more rows than a pipe holds."""
    keep(tmp_path / "state", [a_row("hour", NOON_MS - n * HOUR_MS) for n in range(4000)])
    with subprocess.Popen(
        command("export", "history"),
        cwd=tmp_path,
        env=environment(tmp_path, {}),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == ",".join(HEAD) + "\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 0
