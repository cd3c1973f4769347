"""The thread of the closed files: they are described, copied, and the oldest of them removed."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from archiving import START_MS, fill, line, open_archive

from tweetdock.core.errors import OffloadError
from tweetdock.keep import closed_files as closed_files_module
from tweetdock.keep.closed_files import ClosedFiles, ClosedFilesThread, Manifest, manifest_path
from tweetdock.threads import Crash, WatchedThread

LIMIT = 20.0


class Watched:
    """A thread at work; each of its turns is waited for by its `offload`."""

    def __init__(
        self, closed_files: ClosedFiles, keep: int, *, offloads: bool, waits: bool
    ) -> None:
        self.turns = threading.Semaphore(0)
        self.may_go_on = threading.Event()
        if not waits:
            self.may_go_on.set()
        self.fails = 0
        self.work: Callable[[], None] = lambda: None
        self.crashes: list[Crash] = []
        offload = self._offload if offloads else None
        self.closed_files_thread = ClosedFilesThread(closed_files, keep, offload)
        self._watched = WatchedThread("archive", self.closed_files_thread.run, self.crashes.append)

    def _offload(self) -> None:
        self.work()
        self.turns.release()
        assert self.may_go_on.wait(LIMIT)
        if self.fails:
            self.fails -= 1
            raise OffloadError("there is no bucket posts", needs_owner=True)

    def turn(self) -> None:
        assert self.turns.acquire(timeout=LIMIT)

    def stop(self) -> None:
        self.may_go_on.set()
        self.closed_files_thread.stop()
        assert self._watched.join(LIMIT)
        assert self.crashes == []


@pytest.fixture
def closed_files(tmp_path: Path) -> ClosedFiles:
    return ClosedFiles(tmp_path / "tweets.jsonl.gz")


@pytest.fixture
def watch(closed_files: ClosedFiles) -> Iterator[Callable[..., Watched]]:
    """Start a thread, which is stopped in the end."""
    started: list[Watched] = []

    def start(keep: int = 0, *, offloads: bool = True, waits: bool = False) -> Watched:
        started.append(Watched(closed_files, keep, offloads=offloads, waits=waits))
        return started[-1]

    yield start
    for watched in started:
        watched.stop()


def close_file(closed_files: ClosedFiles, number: int) -> Path:
    """A closed file with one line."""
    path = closed_files.path.with_name(f"tweets-2026112{number}.jsonl.gz")
    fill(path, range(number, number + 1))
    os.utime(path, ns=(number, number))
    return path


class LogListener(logging.Handler):
    """Waits for a sentence in the log."""

    def __init__(self) -> None:
        super().__init__()
        self._said: list[str] = []
        self._news = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._news:
            self._said.append(record.getMessage())
            self._news.notify_all()

    def wait_for(self, words: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: any(words in said for said in self._said), LIMIT)

    def count(self, words: str) -> int:
        with self._news:
            return sum(words in said for said in self._said)


@pytest.fixture
def listener(caplog: pytest.LogCaptureFixture) -> Iterator[LogListener]:
    caplog.set_level(logging.INFO)
    one = LogListener()
    logging.getLogger("tweetdock").addHandler(one)
    yield one
    logging.getLogger("tweetdock").removeHandler(one)


def test_every_closed_file_gets_its_manifest_at_the_start(
    closed_files: ClosedFiles, watch: Callable[..., Watched], listener: LogListener
) -> None:
    paths = [close_file(closed_files, number) for number in range(3)]
    fill(closed_files.path, range(9))
    gone = manifest_path(closed_files.path.with_name("tweets-20261119.jsonl.gz"))
    gone.touch()
    watch().turn()
    assert [Manifest.read(path) for path in paths] == [Manifest.of(path) for path in paths]
    assert Manifest.read(closed_files.path) is None
    assert not gone.exists()
    assert listener.count(
        "archive: tweets-20261121.jsonl.gz closed: "
        "1 lines, 2026-11-21T06:55:36.001Z to 2026-11-21T06:55:36.001Z"
    )


def test_a_file_that_the_archive_closes_is_noticed(
    closed_files: ClosedFiles, watch: Callable[..., Watched]
) -> None:
    watched = watch()
    watched.turn()
    archive = open_archive(closed_files.path, "10KB", closed=watched.closed_files_thread.wake)
    archive.append([line(1, padding=os.urandom(10_000).hex())])
    archive.flush(START_MS)
    watched.turn()
    (path,) = closed_files.closed()
    manifest = Manifest.read(path)
    assert manifest is not None
    assert manifest.lines == 1
    archive.close(START_MS)


def test_a_notice_during_a_turn_is_for_the_next_one(
    closed_files: ClosedFiles, watch: Callable[..., Watched]
) -> None:
    watched = watch(waits=True)
    watched.turn()
    path = close_file(closed_files, 1)
    watched.closed_files_thread.wake()
    watched.may_go_on.set()
    watched.turn()
    assert Manifest.read(path) is not None


def test_a_manifest_that_is_there_is_not_made_again(
    closed_files: ClosedFiles, watch: Callable[..., Watched], listener: LogListener
) -> None:
    path = close_file(closed_files, 1)
    manifest = replace(Manifest.of(path), offloaded="s3://bucket")
    manifest.write(path)
    watch().turn()
    assert Manifest.read(path) == manifest
    assert not listener.count("closed")


def test_what_fails_is_tried_again_until_it_works(
    watch: Callable[..., Watched], listener: LogListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_files_module, "FIRST_SECONDS", 0.01)
    watched = watch(waits=True)
    watched.fails = 3
    watched.may_go_on.set()
    for _ in range(4):
        watched.turn()
    listener.wait_for("archive files: back after")
    assert listener.count("archive files: there is no bucket posts; next try") == 1


def test_the_oldest_files_beyond_those_to_keep_are_removed(
    closed_files: ClosedFiles, watch: Callable[..., Watched], listener: LogListener
) -> None:
    paths = [close_file(closed_files, number) for number in range(5)]
    watch(keep=2, offloads=False)
    listener.wait_for("archive: tweets-20261122.jsonl.gz removed: 2 newer ones are kept")
    assert closed_files.closed() == paths[3:]
    assert listener.count("removed") == 3
    kept = {path for path in closed_files.path.parent.iterdir() if path.suffix == ".json"}
    assert kept == {manifest_path(path) for path in paths[3:]}


def test_a_file_of_which_no_copy_was_seen_is_never_removed(
    closed_files: ClosedFiles, watch: Callable[..., Watched], listener: LogListener
) -> None:
    paths = [close_file(closed_files, number) for number in range(5)]
    watched = watch(keep=1)

    def offload_two() -> None:
        for path in paths[1:3]:
            manifest = Manifest.read(path)
            assert manifest is not None
            replace(manifest, offloaded="s3://bucket").write(path)

    watched.turn()
    watched.work = offload_two
    watched.closed_files_thread.wake()
    watched.turn()
    listener.wait_for("tweets-20261122.jsonl.gz removed")
    assert closed_files.closed() == [paths[0], *paths[3:]]


def test_one_bad_file_hinders_no_other_and_is_told_once(
    closed_files: ClosedFiles, watch: Callable[..., Watched], listener: LogListener
) -> None:
    bad, good = close_file(closed_files, 1), close_file(closed_files, 2)
    # A folder where the manifest's temporary file would be.
    obstacle = manifest_path(bad).with_name(manifest_path(bad).name + ".tmp")
    obstacle.mkdir()
    watched = watch()
    watched.turn()
    listener.wait_for("archive files: ")
    assert Manifest.read(good) is not None
    watched.closed_files_thread.wake()
    watched.turn()
    obstacle.rmdir()
    watched.closed_files_thread.wake()
    watched.turn()
    listener.wait_for("archive files: back")
    assert Manifest.read(bad) is not None
    assert listener.count("Is a directory") == 1


def test_a_file_that_cannot_be_removed_hinders_no_other(
    closed_files: ClosedFiles, watch: Callable[..., Watched], listener: LogListener
) -> None:
    paths = [close_file(closed_files, number) for number in range(4)]
    # Folders where manifests would be: these cannot be written, nor removed.
    for path in paths[:2]:
        manifest_path(path).mkdir()
    watch(keep=1, offloads=False)
    listener.wait_for(", and 3 more; next try in ")
    assert closed_files.closed() == paths[3:]
    assert not manifest_path(paths[2]).exists()


def test_a_torn_file_is_told_of(
    closed_files: ClosedFiles, watch: Callable[..., Watched], listener: LogListener
) -> None:
    path = close_file(closed_files, 1)
    path.write_bytes(path.read_bytes()[:-5])
    watch().turn()
    assert listener.count("archive: tweets-20261121.jsonl.gz is damaged at 1 places") == 1


def test_a_stop_is_at_once_whether_it_waits_or_works(
    closed_files: ClosedFiles, watch: Callable[..., Watched]
) -> None:
    waiting, working = watch(), watch(waits=True)
    working.turn()
    waiting.turn()
    paths = [close_file(closed_files, number) for number in range(5)]
    waiting.stop()
    working.closed_files_thread.stop()
    working.stop()
    assert closed_files.closed() == paths
    assert all(Manifest.read(path) is None for path in paths)


def test_a_thread_that_was_stopped_before_it_began_does_nothing(closed_files: ClosedFiles) -> None:
    path = close_file(closed_files, 1)
    closed_files_thread = ClosedFilesThread(closed_files, 1, None)
    closed_files_thread.stop()
    closed_files_thread.run()
    assert Manifest.read(path) is None
