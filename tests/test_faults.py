"""The whole on bad days: full and read-only disks, stepping clocks, damage, storms of rotation."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import pytest
from kills import NO_LIMIT, TOKEN, Archive, Asked, Life, Load, doubles, settings_for, settle
from running import LIMIT, Running, run, run_here
from simulation import Truth
from standins.x_api import XApi

LOGROTATE_CONF = Path(__file__).parents[1] / "deploy" / "logrotate.conf"
# What a search that was broken off has left out is found by the next look-back, once a minute.
LOOKED_BACK = 75.0
ALWAYS = Life(0.0, float("inf"), saved=float("inf"), in_flight=0.0)
# A wall clock that is off by what a file says, and so may be stepped at any time.
STEPPED = """
import pathlib, sys, time
offset, real = pathlib.Path(sys.argv.pop(1)), time.time
time.time = lambda: real() + float(offset.read_text())
from tweetdock.cli import main
sys.exit(main())
"""


@pytest.fixture
def api() -> Iterator[XApi]:
    with XApi(bearer=TOKEN, limit=NO_LIMIT) as api:
        yield api


@pytest.fixture
def load(api: XApi) -> Iterator[Load]:
    load = Load(api, Random(2017), per_second=15)
    load.preload(500)
    with load:
        yield load


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[Path, str], None]]:
    """Mount a file system that lives in memory; with it mounted already, mount it anew."""
    with ExitStack() as mounted:

        def mount(folder: Path, options: str) -> None:
            words = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
            if "remount" not in options:
                folder.mkdir()
            if shutil.which("mount") is None or os.geteuid() != 0:
                pytest.skip("only root may mount")
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"it is not permitted to mount here: {done.stderr.strip()}")
            if "remount" not in options:
                mounted.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)

        yield mount


def read_once(folder: Path, env: Mapping[str, str]) -> dict[str, Any]:
    done = run_here("--once", folder=folder, env=env)
    assert done.returncode == 0, done.stderr
    reading: dict[str, Any] = json.loads(done.stdout)
    return reading


def begin(api: XApi, folder: Path, **more: str) -> dict[str, str]:
    """The settings, with a place for the archive."""
    env = settings_for(api, folder) | {"TWEETDOCK_SAVE_SECONDS": "0.2"} | more
    Path(env["TWEETDOCK_ARCHIVE"]).parent.mkdir(exist_ok=True)
    return env


def assert_true_in_the_end(api: XApi, load: Load, folder: Path, env: Mapping[str, str]) -> None:
    """The counts are the truth, and every version that X shows is in the archive, once."""
    load.freeze()
    archive = Archive(Path(env["TWEETDOCK_ARCHIVE"]).parent)
    assert_counted(api, load, archive, folder, env)
    assert_archived_once(load, archive)


def assert_counted(
    api: XApi, load: Load, archive: Archive, folder: Path, env: Mapping[str, str]
) -> None:
    def missing() -> set[str]:
        return load.last_versions - archive.look()[0]

    assert settle(lambda: read_once(folder, env), Truth(api), missing, LOOKED_BACK) == ""


def assert_archived_once(load: Load, archive: Archive) -> None:
    lines, wrong = archive.lines()
    assert wrong == []
    assert doubles(line["version"] for line in lines) == []
    assert load.last_versions - {line["post"]["id"] for line in lines} == set()


def polls(api: XApi, number: int) -> bool:
    """Whether X was asked so many times more, before long."""
    return api.wait_for_requests(len(api.requests) + number, LIMIT)


def wait_for(daemon: Running, condition: Callable[[], bool]) -> None:
    """Wait for what a daemon that lives on does with its files."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.process.wait(0.02)


def has_posts(archive: Path) -> bool:
    return archive.exists() and archive.stat().st_size > 0


def fill(path: Path) -> None:
    """Take all the room that there is."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))


def is_mended(log: str) -> bool:
    """Whether all that was in trouble is back."""
    failed = set(re.findall(r"ERROR +(\w+): .*next try", log))
    return bool(failed) and failed == set(re.findall(r"INFO +(\w+): back after", log))


@pytest.mark.thorough
def test_a_full_disk_is_said_lived_through_and_mended(
    api: XApi, load: Load, tmp_path: Path, mount: Callable[[Path, str], None]
) -> None:
    small = tmp_path / "small"
    mount(small, "size=2m")
    filler = small / "filler"
    env = begin(api, small)
    with Running(folder=tmp_path, env=env) as daemon:
        daemon.wait_for("exact")
        fill(filler)
        # The state comes first: the archive may still have room in its last page for some posts.
        daemon.wait_for("ERROR", "archive:", "next try")
        assert polls(api, 3)
        filler.unlink()
        daemon.wait_for("archive: back after")
        assert polls(api, 2)
        daemon.process.kill()
    with Running(folder=tmp_path, env=env) as daemon:
        assert polls(api, 3)
        fill(filler)
        daemon.wait_for("ERROR", "next try")
        assert polls(api, 2)
        daemon.process.kill()
    with Running(folder=tmp_path, env=env) as daemon:
        daemon.wait_for("ERROR", "archive:", "next try")
        assert polls(api, 2)
        filler.unlink()
        daemon.wait_for("archive: back after")
        # Not half a minute, when the state is tried next: it is tried at the end, too.
        assert daemon.stop() == 0
    assert is_mended(daemon.log)
    assert_true_in_the_end(api, load, tmp_path, env)


@pytest.mark.thorough
def test_where_nothing_can_be_written_it_runs_from_memory_and_says_so(
    api: XApi, load: Load, tmp_path: Path, mount: Callable[[Path, str], None]
) -> None:
    folder = tmp_path / "state"
    mount(folder, "size=2m")
    env = begin(api, tmp_path)
    read_once(tmp_path, env)
    mount(folder, "remount,ro")
    with Running(folder=tmp_path, env=env) as daemon:
        daemon.wait_for("ERROR", str(folder), "running from memory")
        daemon.wait_for("tweets", "exact")
        assert polls(api, 2)
        assert daemon.stop_within(2) == 0
    mount(folder, "remount,rw")
    assert_true_in_the_end(api, load, tmp_path, env)


@pytest.mark.thorough
def test_in_a_storm_of_rotations_every_post_is_archived_once(
    api: XApi, load: Load, tmp_path: Path
) -> None:
    env = begin(api, tmp_path)
    archive, dice = Path(env["TWEETDOCK_ARCHIVE"]), Random(2018)
    with Running(folder=tmp_path, env=env) as daemon:
        daemon.wait_for("exact")
        for number in range(300):
            if archive.exists():
                archive.rename(f"{archive}.{number}")
            daemon.process.send_signal(signal.SIGHUP)
            with suppress(subprocess.TimeoutExpired):
                daemon.process.wait(dice.uniform(0, 0.03))
        assert polls(api, 2)
        assert daemon.stop_within(2) == 0
    assert " ERROR " not in daemon.log
    assert len(Archive(archive.parent).files) > 3
    assert_true_in_the_end(api, load, tmp_path, env)


HOUR = 3600


@pytest.mark.parametrize(
    "lives",
    [
        pytest.param([(0, -3 * HOUR)], id="back"),
        pytest.param(
            # More than an hour ahead comes last: that hour is read again.
            [(0, -3 * HOUR, 1800), (-3 * HOUR, 0), (1800, 5 * HOUR), (-200,), (5 * HOUR, 0)],
            marks=pytest.mark.thorough,
            id="to and fro",
        ),
    ],
)
def test_a_clock_that_steps_costs_neither_posts_nor_money(
    api: XApi, load: Load, tmp_path: Path, lives: list[tuple[int, ...]]
) -> None:
    """By how many seconds the clock is off: at the start of each life, and later in it."""
    env = begin(api, tmp_path)
    offset = tmp_path / "offset"
    argv = [sys.executable, "-W", "error", "-c", STEPPED, str(offset)]
    for steps in lives:
        if steps[0] == 5 * HOUR:
            assert Asked(api.requests, [ALWAYS]).rereads() == []
        offset.write_text(str(steps[0]))
        with Running(folder=tmp_path, env=env, argv=argv) as daemon:
            assert polls(api, 2)
            daemon.wait_for("tweets", "exact")
            for step in steps[1:]:
                temporary = tmp_path / "offset.new"
                temporary.write_text(str(step))
                temporary.replace(offset)
                assert polls(api, 2)
            daemon.process.kill()
        assert " ERROR " not in daemon.log
    if 5 * HOUR not in chain(*lives):
        assert Asked(api.requests, [ALWAYS]).rereads() == []
    assert_true_in_the_end(api, load, tmp_path, env)


def test_a_second_gauge_on_the_same_state_or_archive_ends_and_does_not_disturb(
    api: XApi, load: Load, tmp_path: Path
) -> None:
    env = begin(api, tmp_path)
    with Running(folder=tmp_path, env=env) as daemon:
        daemon.wait_for("exact")
        second = run(folder=tmp_path, env=env)
        assert second.returncode == 69
        assert env["TWEETDOCK_STATE_DIR"] in second.stderr
        other = {"TWEETDOCK_STATE_DIR": str(tmp_path / "other")}
        second = run(folder=tmp_path, env=env | other)
        assert second.returncode == 69
        assert env["TWEETDOCK_ARCHIVE"] in second.stderr
        assert read_once(tmp_path, env)["grade"] == "exact"
        daemon.forget()
        assert polls(api, 2)
        assert daemon.log == "" or "ERROR" not in daemon.log
        assert daemon.stop() == 0
    assert_true_in_the_end(api, load, tmp_path, env)


def scramble(path: Path) -> None:
    path.write_bytes(random.randbytes(path.stat().st_size))


def scramble_its_pages(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:4096] + random.randbytes(len(raw) - 4096))


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def put_a_folder_there(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").touch()


@pytest.mark.parametrize(
    "harm",
    [
        cut_off,
        *(
            pytest.param(harm, marks=pytest.mark.thorough)
            for harm in (scramble, scramble_its_pages, put_a_folder_there)
        ),
    ],
)
def test_a_damaged_state_is_set_aside_and_made_anew(
    api: XApi, load: Load, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    env = begin(api, tmp_path)
    path = tmp_path / "state" / "state.db"
    read_once(tmp_path, env)
    harm(path)
    with Running(folder=tmp_path, env=env) as daemon:
        daemon.wait_for("ERROR", "state", "state.db.damaged-")
        daemon.wait_for("tweets", "exact")
        assert len(list(path.parent.glob("state.db.damaged-*"))) == 1
        assert polls(api, 1)
        assert daemon.stop() == 0
    assert_true_in_the_end(api, load, tmp_path, env)


def logrotate(folder: Path, archive: Path, keep: int) -> list[str]:
    """Our own configuration, for this archive; how to force a rotation by it."""
    if shutil.which("logrotate") is None:
        pytest.skip("there is no logrotate: install the package logrotate")
    text = re.sub(r"(?m)^\S*/\S+\.gz(?=\s*\{)", str(archive), LOGROTATE_CONF.read_text())
    text = re.sub(r"(?m)^(\s*)rotate \d+", rf"\1rotate {keep}", text)
    text = re.sub(r"(?m)^\s*su .*\n", "", text)
    text = re.sub(r"\S*/systemctl\b", "systemctl", text)
    assert str(archive) in text
    assert f"rotate {keep}" in text
    conf = folder / "logrotate.conf"
    conf.write_text(text)
    conf.chmod(0o600)
    return ["logrotate", "-f", "-s", str(folder / "logrotate.state"), str(conf)]


def supervised(folder: Path, by: str, process: int) -> dict[str, str]:
    """An environment where TweetDock is systemd's or Docker's; both know just what they should.

    Without --kill-who=main, systemd would hang up on all that TweetDock has started, too.
    """
    answers = {
        "systemctl": {
            "--quiet is-active tweetdock.service": "true" if by == "systemd" else "exit 3",
            "kill --kill-who=main --signal=HUP tweetdock.service": f"kill -HUP {process}",
        },
        "docker": {"kill --signal=HUP tweetdock": f"kill -HUP {process}"},
    }
    programs = folder / "programs"
    programs.mkdir()
    for name, words in answers.items():
        cases = "".join(f'"{asked}") {answer} ;;\n' for asked, answer in words.items())
        (programs / name).write_text(f'#!/bin/sh\ncase "$*" in\n{cases}*) exit 1 ;;\nesac\n')
        (programs / name).chmod(0o755)
    return {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("supervisor", "rotations"),
    [
        ("systemd", 2),
        pytest.param("systemd", 5, marks=pytest.mark.thorough),
        pytest.param("Docker", 5, marks=pytest.mark.thorough),
    ],
)
def test_the_real_logrotate_takes_nothing_and_doubles_nothing(
    api: XApi, load: Load, tmp_path: Path, supervisor: str, rotations: int
) -> None:
    env = begin(api, tmp_path)
    archive, kept = Path(env["TWEETDOCK_ARCHIVE"]), tmp_path / "kept"
    kept.mkdir()
    command = logrotate(tmp_path, archive, keep=rotations - 1)
    with Running(folder=tmp_path, env=env) as daemon:
        daemon.wait_for("exact")
        system = supervised(tmp_path, supervisor, daemon.process.pid)
        for _ in range(rotations):
            # A file without posts is not rotated, nor one twice in a second, which is its name.
            wait_for(daemon, lambda: has_posts(archive))
            before = archive.stat().st_ino
            done = subprocess.run(command, env=system, capture_output=True, check=False)
            assert (done.returncode, done.stderr) == (0, b"")
            assert polls(api, 2)
            assert archive.stat().st_ino != before
            keep_closed(archive, kept)
        assert daemon.stop() == 0
    assert " ERROR " not in daemon.log
    assert len(Archive(archive.parent).files) == rotations
    load.freeze()
    keep_closed(archive, kept)
    os.link(archive, kept / archive.name)
    assert_counted(api, load, Archive(kept), tmp_path, env)
    assert_archived_once(load, Archive(kept))


def keep_closed(archive: Path, kept: Path) -> None:
    """Keep what logrotate is going to remove; a file with two names it would not rotate."""
    for path in Archive(archive.parent).files:
        if path != archive:
            with suppress(FileExistsError):
                os.link(path, kept / path.name)
