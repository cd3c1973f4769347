"""The caretaker: closed files are described, copied, and the oldest of them removed."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from archiving import START_MS, fill, line, open_archive

from tweetdock.keep.closed_files import ClosedFiles, ClosedFilesThread, Manifest, manifest_path
from tweetdock.threads import Crash, WatchedThread

LIMIT = 20.0


class Watched:
    """A caretaker at work; each of its turns is waited for by its `offload`."""

    def __init__(self, shelf: ClosedFiles, keep: int, *, offloads: bool, waits: bool) -> None:
        self.turns = threading.Semaphore(0)
        self.may_go_on = threading.Event()
        if not waits:
            self.may_go_on.set()
        self.again: list[float | None] = []
        self.work: Callable[[], None] = lambda: None
        self.crashes: list[Crash] = []
        offload = self._offload if offloads else None
        self.caretaker = ClosedFilesThread(shelf, keep, offload)
        self._companion = WatchedThread("caretaker", self.caretaker.run, self.crashes.append)

    def _offload(self) -> float | None:
        self.work()
        self.turns.release()
        assert self.may_go_on.wait(LIMIT)
        return self.again.pop(0) if self.again else None

    def turn(self) -> None:
        assert self.turns.acquire(timeout=LIMIT)

    def stop(self) -> None:
        self.may_go_on.set()
        self.caretaker.stop()
        assert self._companion.join(LIMIT)
        assert self.crashes == []


@pytest.fixture
def shelf(tmp_path: Path) -> ClosedFiles:
    return ClosedFiles(tmp_path / "tweets.jsonl.gz")


@pytest.fixture
def watch(shelf: ClosedFiles) -> Iterator[Callable[..., Watched]]:
    """Start a caretaker, which is stopped in the end."""
    started: list[Watched] = []

    def start(keep: int = 0, *, offloads: bool = True, waits: bool = False) -> Watched:
        started.append(Watched(shelf, keep, offloads=offloads, waits=waits))
        return started[-1]

    yield start
    for watched in started:
        watched.stop()


def close_file(shelf: ClosedFiles, number: int) -> Path:
    """A closed file with one line."""
    path = shelf.path.with_name(f"tweets-2026112{number}.jsonl.gz")
    fill(path, range(number, number + 1))
    os.utime(path, ns=(number, number))
    return path


class Ear(logging.Handler):
    """Waits for a sentence in the log."""

    def __init__(self) -> None:
        super().__init__()
        self._said: list[str] = []
        self._news = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._news:
            self._said.append(record.getMessage())
            self._news.notify_all()

    def hear(self, words: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: any(words in said for said in self._said), LIMIT)

    def heard(self, words: str) -> int:
        with self._news:
            return sum(words in said for said in self._said)


@pytest.fixture
def ear(caplog: pytest.LogCaptureFixture) -> Iterator[Ear]:
    caplog.set_level(logging.INFO)
    listener = Ear()
    logging.getLogger("tweetdock").addHandler(listener)
    yield listener
    logging.getLogger("tweetdock").removeHandler(listener)


def test_every_closed_file_gets_its_manifest_at_the_start(
    shelf: ClosedFiles, watch: Callable[..., Watched], ear: Ear
) -> None:
    paths = [close_file(shelf, number) for number in range(3)]
    fill(shelf.path, range(9))
    gone = manifest_path(shelf.path.with_name("tweets-20261119.jsonl.gz"))
    gone.touch()
    watch().turn()
    assert [Manifest.read(path) for path in paths] == [Manifest.of(path) for path in paths]
    assert Manifest.read(shelf.path) is None
    assert not gone.exists()
    assert ear.heard(
        "archive: tweets-20261121.jsonl.gz closed: "
        "1 lines, 2026-11-21T06:55:36.001Z to 2026-11-21T06:55:36.001Z"
    )


def test_a_file_that_the_archive_closes_is_noticed(
    shelf: ClosedFiles, watch: Callable[..., Watched]
) -> None:
    watched = watch()
    watched.turn()
    archive = open_archive(shelf.path, "10KB", closed=watched.caretaker.notice)
    archive.append([line(1, padding=os.urandom(10_000).hex())])
    archive.flush(START_MS)
    watched.turn()
    (path,) = shelf.closed()
    manifest = Manifest.read(path)
    assert manifest is not None
    assert manifest.lines == 1
    archive.close(START_MS)


def test_a_notice_during_a_turn_is_for_the_next_one(
    shelf: ClosedFiles, watch: Callable[..., Watched]
) -> None:
    watched = watch(waits=True)
    watched.turn()
    path = close_file(shelf, 1)
    watched.caretaker.notice(path)
    watched.may_go_on.set()
    watched.turn()
    assert Manifest.read(path) is not None


def test_a_manifest_that_is_there_is_not_made_again(
    shelf: ClosedFiles, watch: Callable[..., Watched], ear: Ear
) -> None:
    path = close_file(shelf, 1)
    manifest = replace(Manifest.of(path), offloaded="s3://bucket")
    manifest.write(path)
    watch().turn()
    assert Manifest.read(path) == manifest
    assert not ear.heard("closed")


def test_what_is_not_done_is_tried_again_after_the_seconds_that_were_asked_for(
    watch: Callable[..., Watched],
) -> None:
    watched = watch(waits=True)
    watched.turn()
    watched.again = [0.0, 0.01, None]
    watched.may_go_on.set()
    watched.turn()
    watched.turn()


def test_the_oldest_files_beyond_those_to_keep_are_removed(
    shelf: ClosedFiles, watch: Callable[..., Watched], ear: Ear
) -> None:
    paths = [close_file(shelf, number) for number in range(5)]
    watch(keep=2, offloads=False)
    ear.hear("archive: tweets-20261122.jsonl.gz removed: 2 newer ones are kept")
    assert shelf.closed() == paths[3:]
    assert ear.heard("removed") == 3
    kept = {path for path in shelf.path.parent.iterdir() if path.suffix == ".json"}
    assert kept == {manifest_path(path) for path in paths[3:]}


def test_a_file_of_which_no_copy_was_seen_is_never_removed(
    shelf: ClosedFiles, watch: Callable[..., Watched], ear: Ear
) -> None:
    paths = [close_file(shelf, number) for number in range(5)]
    watched = watch(keep=1)

    def offload_two() -> None:
        for path in paths[1:3]:
            manifest = Manifest.read(path)
            assert manifest is not None
            replace(manifest, offloaded="s3://bucket").write(path)

    watched.turn()
    watched.work = offload_two
    watched.caretaker.notice(paths[0])
    watched.turn()
    ear.hear("tweets-20261122.jsonl.gz removed")
    assert shelf.closed() == [paths[0], *paths[3:]]


def test_one_bad_file_hinders_no_other_and_is_told_once(
    shelf: ClosedFiles, watch: Callable[..., Watched], ear: Ear
) -> None:
    bad, good = close_file(shelf, 1), close_file(shelf, 2)
    # A folder where the manifest's temporary file would be.
    obstacle = manifest_path(bad).with_name(manifest_path(bad).name + ".tmp")
    obstacle.mkdir()
    watched = watch()
    watched.turn()
    ear.hear("archive files: ")
    assert Manifest.read(good) is not None
    watched.caretaker.notice(bad)
    watched.turn()
    obstacle.rmdir()
    watched.caretaker.notice(bad)
    watched.turn()
    ear.hear("archive files: back")
    assert Manifest.read(bad) is not None
    assert ear.heard("Is a directory") == 1


def test_a_file_that_cannot_be_removed_hinders_no_other(
    shelf: ClosedFiles, watch: Callable[..., Watched], ear: Ear
) -> None:
    paths = [close_file(shelf, number) for number in range(4)]
    # Folders where manifests would be: these cannot be written, nor removed.
    for path in paths[:2]:
        manifest_path(path).mkdir()
    watch(keep=1, offloads=False)
    ear.hear(", and 3 more; next try in ")
    assert shelf.closed() == paths[3:]
    assert not manifest_path(paths[2]).exists()


def test_a_torn_file_is_told_of(
    shelf: ClosedFiles, watch: Callable[..., Watched], ear: Ear
) -> None:
    path = close_file(shelf, 1)
    path.write_bytes(path.read_bytes()[:-5])
    watch().turn()
    assert ear.heard("archive: tweets-20261121.jsonl.gz is damaged at 1 places") == 1


def test_a_stop_is_at_once_whether_it_waits_or_works(
    shelf: ClosedFiles, watch: Callable[..., Watched]
) -> None:
    waiting, working = watch(), watch(waits=True)
    working.turn()
    waiting.turn()
    paths = [close_file(shelf, number) for number in range(5)]
    waiting.stop()
    working.caretaker.stop()
    working.stop()
    assert shelf.closed() == paths
    assert all(Manifest.read(path) is None for path in paths)


def test_a_caretaker_that_was_stopped_before_it_began_does_nothing(shelf: ClosedFiles) -> None:
    path = close_file(shelf, 1)
    caretaker = ClosedFilesThread(shelf, 1, None)
    caretaker.stop()
    caretaker.run()
    assert Manifest.read(path) is None
