"""Which files are an archive's, in which order, and which are still written to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from archiving import START_MS, line, open_archive

from tweetdock.core.errors import UnavailableError
from tweetdock.keep.closed_files import ClosedFiles
from tweetdock.keep.files import Lock, is_held

CLOSED = [
    "tweets-20261121T065536Z.jsonl.gz",
    "tweets-20261121T065536.jsonl.gz",
    "tweets-20261121T065536Z-1.jsonl.gz",
    "tweets-20261121.jsonl.gz",
    "tweets-20261121-1732172136.jsonl.gz",
    "tweets.jsonl.gz-20261121",
    "tweets.jsonl.gz.1",
    "tweets.jsonl.gz.12",
]
OTHERS = [
    "tweets.jsonl.gz.salvaged",
    "tweets-20261121T065536Z.jsonl.gz.manifest.json",
    "tweets-20261121T065536Z.jsonl.gz.manifest.json.tmp",
    "tweets-old.jsonl.gz",
    "tweets-2026.jsonl.gz",
    "tweets-20261121T065536Z.jsonl.gz.part",
    "other-20261121T065536Z.jsonl.gz",
    "tweets-20261121T065536Z.csv.gz",
    "tweets.jsonl.gz.1.gz",
    "mytweets-20261121.jsonl.gz",
]


@pytest.fixture
def closed_files(tmp_path: Path) -> ClosedFiles:
    return ClosedFiles(tmp_path / "tweets.jsonl.gz")


def put(closed_files: ClosedFiles, name: str, at: int = 0) -> Path:
    path = closed_files.path.with_name(name)
    path.touch()
    os.utime(path, ns=(at, at))
    return path


def test_closed_files_are_known_by_their_names_and_come_oldest_first(
    closed_files: ClosedFiles,
) -> None:
    put(closed_files, closed_files.path.name)
    for name in OTHERS:
        put(closed_files, name)
    wanted = [put(closed_files, name, at) for at, name in enumerate(CLOSED)]
    closed_files.path.with_name("tweets-20261122.jsonl.gz").mkdir()
    assert closed_files.closed() == wanted


def test_files_of_the_same_moment_are_in_the_order_of_their_names(
    closed_files: ClosedFiles,
) -> None:
    assert closed_files.closed() == []
    wanted = [put(closed_files, name) for name in sorted(CLOSED, reverse=True)]
    assert closed_files.closed() == sorted(wanted)


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    closed_files = ClosedFiles(tmp_path / "missing" / "tweets.jsonl.gz")
    assert closed_files.closed() == []
    closed_files.sweep()


@pytest.mark.parametrize("name", ["archive", "tweets.gz", "a.b.c.gz", "x+y(1).jsonl.gz"])
def test_every_name_of_an_archive_has_names_for_its_closed_files(tmp_path: Path, name: str) -> None:
    closed_files = ClosedFiles(tmp_path / name)
    closed = [put(closed_files, closed_files.new_name(START_MS).name, at) for at in range(3)]
    put(closed_files, name)
    assert len(set(closed)) == 3
    assert closed_files.closed() == closed


def test_a_new_name_is_the_moment_and_never_taken(closed_files: ClosedFiles) -> None:
    assert closed_files.new_name(START_MS).name == "tweets-20261121T065536Z.jsonl.gz"
    put(closed_files, "tweets-20261121T065536Z.jsonl.gz")
    assert closed_files.new_name(START_MS).name == "tweets-20261121T065536Z-1.jsonl.gz"
    closed_files.path.with_name("tweets-20261121T065536Z-1.jsonl.gz").symlink_to("nowhere")
    assert closed_files.new_name(START_MS).name == "tweets-20261121T065536Z-2.jsonl.gz"


def test_a_renamed_file_is_not_closed_while_a_daemon_writes_to_it(
    closed_files: ClosedFiles,
) -> None:
    archive = open_archive(closed_files.path)
    archive.append([line(1)])
    renamed = closed_files.path.rename(closed_files.path.with_name(CLOSED[0]))
    assert closed_files.closed() == []
    archive.flush(START_MS)
    assert closed_files.closed() == [renamed]
    archive.close(START_MS)


LOOKING = """
import logging, os, sys
from pathlib import Path
from tweetdock.keep.closed_files import ClosedFiles, ClosedFilesThread
# Root may read anything; a folder above this one may not be everybody's.
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
closed_files = ClosedFiles(Path("tweets.jsonl.gz"))
thread = ClosedFilesThread(closed_files, 1, lambda: thread.stop())
thread.run()
"""


def test_a_file_that_may_not_be_read_is_left_alone_and_told_of_once(
    closed_files: ClosedFiles, tmp_path: Path
) -> None:
    """One such file kept the daemon from starting, and every other file from being looked after."""
    files = [put(closed_files, name, at) for at, name in enumerate(CLOSED[:3])]
    tmp_path.chmod(0o777)
    for path in files:
        path.chmod(0o644)
    files[1].chmod(0)
    words = [sys.executable, "-c", LOOKING, str(tmp_path)]
    root = Path(__file__).parent.parent
    # Who measures coverage must not follow: it could not write here.
    done = subprocess.run(
        words,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (said,) = done.stdout.splitlines()
    assert said.startswith(f"ERROR archive files: [Errno 13] Permission denied: '{CLOSED[1]}'")
    described = {path.name for path in tmp_path.iterdir()} - set(CLOSED)
    assert described == {f"{CLOSED[0]}.manifest.json", f"{CLOSED[2]}.manifest.json"}


def test_a_link_that_leads_nowhere_is_passed_over(closed_files: ClosedFiles) -> None:
    closed_files.path.with_name(CLOSED[0]).symlink_to(CLOSED[0])
    there = put(closed_files, CLOSED[1])
    assert closed_files.closed() == [there]


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    no_folder = put(ClosedFiles(tmp_path / "a"), "file")
    with pytest.raises(NotADirectoryError):
        ClosedFiles(no_folder / "tweets.jsonl.gz").closed()


def test_a_sweep_removes_the_manifests_of_files_that_are_gone_and_nothing_else(
    closed_files: ClosedFiles,
) -> None:
    there, gone = CLOSED[0], CLOSED[1]
    keep = [
        there,
        f"{there}.manifest.json",
        "other-20261121.jsonl.gz.manifest.json",
        "manifest.json",
        f"{gone}.tmp",
    ]
    for name in [*keep, f"{gone}.manifest.json", f"{gone}.manifest.json.tmp"]:
        put(closed_files, name)
    # One that cannot be removed hinders no other.
    folders = [
        closed_files.path.with_name(f"{name}.manifest.json") for name in (CLOSED[2], CLOSED[3])
    ]
    for folder in folders:
        folder.mkdir()
    closed_files.sweep()
    for folder in folders:
        folder.rmdir()
    assert {path.name for path in closed_files.path.parent.iterdir()} == set(keep)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_lock_is_held_by_one_until_it_lets_go(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "lock"
    path.touch() if kind == "file" else path.mkdir()
    lock = Lock(path)
    assert is_held(path)
    with pytest.raises(UnavailableError, match=f"{path} is in use by another TweetDock"):
        Lock(path)
    lock.close()
    assert not is_held(path)


HOLDING = """
import sys
from pathlib import Path
from tweetdock.keep.files import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UnavailableError):
            Lock(tmp_path)
        other.kill()
        other.wait(30)
    Lock(tmp_path).close()
