"""The shelf: which files are an archive's, in which order, and which are still written to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from archiving import START_MS, fill, line, open_archive

from tweetdock.errors import UnavailableError
from tweetdock.keep.lock import Lock, is_held
from tweetdock.keep.shelf import Shelf

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
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "tweets.jsonl.gz")


def put(shelf: Shelf, name: str, at: int = 0) -> Path:
    path = shelf.path.with_name(name)
    path.touch()
    os.utime(path, ns=(at, at))
    return path


def test_closed_files_are_known_by_their_names_and_come_oldest_first(shelf: Shelf) -> None:
    put(shelf, shelf.path.name)
    for name in OTHERS:
        put(shelf, name)
    wanted = [put(shelf, name, at) for at, name in enumerate(CLOSED)]
    shelf.path.with_name("tweets-20261122.jsonl.gz").mkdir()
    assert shelf.closed() == wanted


def test_files_of_the_same_moment_are_in_the_order_of_their_names(shelf: Shelf) -> None:
    assert shelf.closed() == []
    wanted = [put(shelf, name) for name in sorted(CLOSED, reverse=True)]
    assert shelf.closed() == sorted(wanted)


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "missing" / "tweets.jsonl.gz")
    assert shelf.closed() == []
    shelf.sweep()


@pytest.mark.parametrize("name", ["archive", "tweets.gz", "a.b.c.gz", "x+y(1).jsonl.gz"])
def test_every_name_of_an_archive_has_names_for_its_closed_files(tmp_path: Path, name: str) -> None:
    shelf = Shelf(tmp_path / name)
    closed = [put(shelf, shelf.new_name(START_MS).name, at) for at in range(3)]
    put(shelf, name)
    assert len(set(closed)) == 3
    assert shelf.closed() == closed


def test_a_new_name_is_the_moment_and_never_taken(shelf: Shelf) -> None:
    assert shelf.new_name(START_MS).name == "tweets-20261121T065536Z.jsonl.gz"
    put(shelf, "tweets-20261121T065536Z.jsonl.gz")
    assert shelf.new_name(START_MS).name == "tweets-20261121T065536Z-1.jsonl.gz"
    shelf.path.with_name("tweets-20261121T065536Z-1.jsonl.gz").symlink_to("nowhere")
    assert shelf.new_name(START_MS).name == "tweets-20261121T065536Z-2.jsonl.gz"


def test_a_renamed_file_is_not_closed_while_a_daemon_writes_to_it(shelf: Shelf) -> None:
    archive = open_archive(shelf.path)
    archive.append([line(1)])
    renamed = shelf.path.rename(shelf.path.with_name(CLOSED[0]))
    assert shelf.closed() == []
    archive.reopen(START_MS)
    assert shelf.closed() == [renamed]
    archive.close(START_MS)


def test_a_file_is_found_wherever_it_was_moved_in_its_folder(shelf: Shelf) -> None:
    fill(shelf.path, range(3))
    stat = shelf.path.stat()
    assert shelf.find(stat) == shelf.path
    moved = shelf.path.rename(shelf.path.with_name("anything"))
    put(shelf, shelf.path.name)
    assert shelf.find(stat) == moved
    moved.rename(shelf.path)
    shelf.path.unlink()
    assert shelf.find(stat) is None


def test_a_sweep_removes_the_manifests_of_files_that_are_gone_and_nothing_else(
    shelf: Shelf,
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
        put(shelf, name)
    shelf.sweep()
    assert {path.name for path in shelf.path.parent.iterdir()} == set(keep)


def test_a_lock_is_held_by_one_until_it_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(path)
    assert is_held(path)
    with pytest.raises(UnavailableError, match=f"{path} is in use by another TweetDock"):
        Lock(path)
    lock.close()
    assert not is_held(path)
    assert path.stat().st_mode & 0o777 == 0o600
    Lock(path).close()


HOLDING = """
import sys
from pathlib import Path
from tweetdock.keep.lock import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UnavailableError):
            Lock(path)
        other.kill()
        other.wait(30)
    Lock(path).close()
