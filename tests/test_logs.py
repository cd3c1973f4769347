"""How the log reads: with the time for people, with priorities for systemd's journal."""

import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from running import command, environment, run

from tweetdock.logs import JournalFormatter, is_journal

LIMIT = 30
BROKEN = (
    "import sys, tweetdock.sources.demo as demo; demo.posts_in = None\n"
    "from tweetdock.cli import main; sys.exit(main(['--demo']))"
)


class Journal:
    """What reads a service's standard error: a socket, as journald's own."""

    def __init__(self) -> None:
        self._ours, self.its = socket.socketpair()
        self._ours.settimeout(LIMIT)
        file = os.fstat(self.its.fileno())
        self.env = {"JOURNAL_STREAM": f"{file.st_dev}:{file.st_ino}"}

    def lines(self) -> list[str]:
        """All that was written into it, to the end."""
        self.its.close()
        with self._ours.makefile(encoding="utf-8") as text:
            return text.read().splitlines()

    def close(self) -> None:
        self._ours.close()
        self.its.close()


@pytest.fixture
def web() -> Iterator[Mapping[str, str]]:
    """A page's address that somebody has: the gauge begins, says so, and ends."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield {"TWEETDOCK_WEB": f"127.0.0.1:{taken.getsockname()[1]}"}


@pytest.fixture
def journal() -> Iterator[Journal]:
    one = Journal()
    yield one
    one.close()


def lines_of(journal: Journal, argv: list[str], folder: Path, env: Mapping[str, str]) -> list[str]:
    subprocess.run(
        argv,
        cwd=folder,
        env=environment(folder, env),
        stdout=subprocess.DEVNULL,
        stderr=journal.its.fileno(),
        timeout=LIMIT,
        check=False,
    )
    return journal.lines()


def test_the_journal_knows_the_time_itself_and_is_told_how_bad_it_is(
    journal: Journal, tmp_path: Path, web: Mapping[str, str]
) -> None:
    lines = lines_of(journal, command("--demo"), tmp_path, {**web, **journal.env})
    found = [re.fullmatch(r"<(\d)>(INFO    |WARNING |CRITICAL) (\S.*)", line) for line in lines]
    assert all(found), lines
    words = [one.groups() for one in found if one]
    assert words[0][2].startswith("TweetDock ")
    assert words[-1][2].startswith("TWEETDOCK_WEB=")
    assert (words[0][:2], words[-1][:2]) == (("6", "INFO    "), ("2", "CRITICAL"))


def test_in_the_journal_each_line_of_a_traceback_is_as_bad_as_the_first(
    journal: Journal, tmp_path: Path
) -> None:
    """A line without a priority would be hidden from who asks for what is bad only."""
    lines = lines_of(journal, [sys.executable, "-c", BROKEN], tmp_path, journal.env)
    assert lines
    bad = [line for line in lines if line.startswith("<2>")]
    assert bad[0].startswith("<2>CRITICAL ")
    assert "<2>Traceback (most recent call last):" in bad
    assert bad[-1].startswith("<2>TypeError: ")
    assert all(line.startswith(("<2>", "<6>INFO ")) for line in lines), lines


def test_elsewhere_the_time_stands_in_the_log_and_no_priority(
    journal: Journal, tmp_path: Path, web: Mapping[str, str]
) -> None:
    """As where a program of the journal's has started us with a log of its own."""
    log = run("--demo", folder=tmp_path, env={**web, **journal.env}).stderr
    assert "CRITICAL TWEETDOCK_WEB=" in log
    for line in log.splitlines():
        assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]{4,8} +\S", line), line


def test_lines_for_machines_are_the_same_in_the_journal(
    journal: Journal, tmp_path: Path, web: Mapping[str, str]
) -> None:
    env = {**web, **journal.env, "TWEETDOCK_LOG_FORMAT": "json"}
    lines = lines_of(journal, command("--demo"), tmp_path, env)
    assert {"INFO", "CRITICAL"} <= {json.loads(line)["level"] for line in lines}


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.CRITICAL, 2),
        (logging.ERROR, 3),
        (logging.WARNING, 4),
        (logging.INFO, 6),
        (logging.DEBUG, 7),
    ],
)
def test_each_level_has_its_priority(level: int, priority: int) -> None:
    record = logging.LogRecord("tweetdock", level, "", 0, "one\n<0>two", None, None)
    name = f"{logging.getLevelName(level):8}"
    assert JournalFormatter().format(record) == f"<{priority}>{name} one\n<{priority}><0>two"


def test_a_stream_that_is_nobodys_is_no_journal(journal: Journal, tmp_path: Path) -> None:
    assert not is_journal(io.StringIO(), journal.env)
    with (tmp_path / "log").open("w") as file:
        assert not is_journal(file, journal.env)
        assert not is_journal(file, {})
    assert not is_journal(file, journal.env)  # it is closed
    with journal.its.makefile("w") as stream:
        assert is_journal(stream, journal.env)
