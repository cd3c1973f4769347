"""What the disk may lose of the archive, and that the archive neither hides nor forgets it."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from archiving import START_MS, Watch, line, numbers_in, open_archive

from tweetdock.core.post import Span
from tweetdock.keep.archive import RETRY_SECONDS
from tweetdock.keep.closed_files import Manifest

HOUR = Span(START_MS - 3_600_000, START_MS + 60_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tweets.jsonl.gz"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The system calls of the archive as they come, each with what it was about."""
    made: list[tuple[str, str]] = []

    def record(name: str) -> None:
        real: Callable[..., object] = getattr(os, name)

        def recording(about: int | Path, *rest: object) -> object:
            fd = Path(f"/proc/self/fd/{about}")
            path = fd.readlink() if isinstance(about, int) else about
            done = real(about, *rest)
            made.append((name, str(path)))
            return done

        monkeypatch.setattr(os, name, recording)

    for name in ("write", "ftruncate", "fdatasync", "fsync", "rename"):
        record(name)
    return made


@contextmanager
def failing(call: str, error: int = errno.EIO) -> Iterator[None]:
    """A disk on which one system call fails."""

    def fail(*_: object) -> int:
        raise OSError(error, os.strerror(error))

    with pytest.MonkeyPatch.context() as disk:
        disk.setattr(os, call, fail)
        yield


def test_what_is_synced_is_past_the_cache_after_its_last_write(
    path: Path, calls: list[tuple[str, str]]
) -> None:
    archive = open_archive(path)
    for number in range(3):
        archive.append([line(number)])
        assert archive.sync(START_MS)
        of_file = [name for name, about in calls if about == str(path)]
        assert of_file[-2:] == ["write", "fdatasync"]
    archive.append([line(3)])
    archive.close(START_MS)
    assert calls[-2:] == [("write", str(path)), ("fdatasync", str(path))]


def test_what_a_killed_daemon_has_written_is_synced_by_the_next_one(
    path: Path, calls: list[tuple[str, str]]
) -> None:
    """It was read back, and the state saved as seen what was in the disk's cache only."""
    killed = open_archive(path)
    killed.append([line(1)])
    killed.flush(START_MS)
    there = path.with_name("copy.jsonl.gz")
    there.write_bytes(path.read_bytes())
    archive = open_archive(there)
    assert archive.sync(START_MS)
    assert calls[-1] == ("fdatasync", str(there))
    archive.close(START_MS)
    killed.close(START_MS)


def test_the_name_of_a_new_file_is_synced(path: Path, calls: list[tuple[str, str]]) -> None:
    for _ in range(2):
        open_archive(path).close(START_MS)
        assert ("fsync", str(path.parent)) in calls
        calls.clear()


def test_a_file_is_synced_before_it_is_renamed_and_then_both_names_are(
    path: Path, calls: list[tuple[str, str]]
) -> None:
    archive = open_archive(path, "10KB")
    while ("rename", str(path)) not in calls:
        calls.clear()
        archive.append([line(1, padding=os.urandom(4000).hex())])
        archive.flush(START_MS)
    wanted = [("fdatasync", str(path)), ("rename", str(path)), ("fsync", str(path.parent))]
    assert [call for call in calls if call in wanted] == wanted
    archive.close(START_MS)


def test_a_folder_that_cannot_be_synced_is_good_enough(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", refuse)
    archive = open_archive(path)
    archive.append([line(1)])
    assert archive.sync(START_MS)
    archive.close(START_MS)
    assert numbers_in(path) == [1]


def test_what_could_not_be_synced_is_said_to_be_lost_and_never_noted(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel drops the pages that it could not write, and says yes the next time."""
    watch = Watch()
    archive = open_archive(path, monotonic=watch)
    archive.append([line(0)])
    archive.cover("x", Span(HOUR.since_ms, START_MS - 500))
    assert archive.sync(START_MS)
    archive.append([line(10), line(20)])
    archive.flush(START_MS)
    archive.cover("x", Span(START_MS - 500, START_MS + 15))
    with failing("fdatasync"):
        for _ in range(3):
            assert not archive.sync(START_MS)
            watch.now += RETRY_SECONDS
    assert caplog.text.count("the last posts written may be lost (Input/output error)") == 1
    assert archive.blind_until_ms == START_MS + 20
    assert archive.sync(START_MS)
    assert "archive: 2 posts may be lost" in caplog.text
    archive.append([line(30)])
    archive.cover("x", HOUR)
    archive.close(START_MS)
    assert numbers_in(path) == [0, 10, 20, 30]
    kept = (Span(HOUR.since_ms, START_MS - 500), Span(START_MS + 20, HOUR.until_ms))
    assert Manifest.of(path).covers == {"x": kept}


@pytest.mark.parametrize("is_renamed", [True, False], ids=["logrotate", "rotation"])
def test_a_file_whose_end_the_disk_did_not_take_is_not_passed_off_as_safe(
    path: Path, caplog: pytest.LogCaptureFixture, *, is_renamed: bool
) -> None:
    """With the file let go of, nothing was left that could have said no."""
    archive = open_archive(path, "" if is_renamed else "20KB")
    archive.append([line(1, padding=os.urandom(10_000).hex())])
    archive.flush(START_MS)
    archive.append([line(2, padding=os.urandom(10_000).hex())])
    with failing("fdatasync"):
        if is_renamed:
            path.rename(path.with_name("tweets.jsonl.gz.1"))
        archive.flush(START_MS)
    assert "the last posts written may be lost" in caplog.text
    archive.cover("x", HOUR)
    archive.close(START_MS)
    covers = [Manifest.of(file).covers for file in path.parent.iterdir()]
    assert sorted(covers, key=len) == [{}, {"x": (Span(START_MS + 2, HOUR.until_ms),)}]


def test_no_note_reaches_back_over_what_was_dropped(path: Path) -> None:
    """A look-back covers the hour, but what was dropped is known and does not come again."""
    watch = Watch()
    archive = open_archive(path, monotonic=watch)
    with failing("write"):
        for number in range(25):
            archive.append([line(number, padding="x" * 1_000_000)])
            archive.flush(START_MS)
        archive.append([])
        archive.append([line(100)])
        archive.cover("x", HOUR)
        assert not archive.sync(START_MS)
    watch.now += RETRY_SECONDS
    assert archive.sync(START_MS)
    archive.append([line(1000)])
    archive.cover("x", HOUR)
    archive.close(START_MS)
    dropped = {line(number).at_ms for number in set(range(25)) - set(numbers_in(path))}
    assert len(dropped) > 5
    for since_ms, until_ms in Manifest.of(path).covers["x"]:
        assert not any(since_ms < at_ms <= until_ms for at_ms in dropped)
        assert until_ms == HOUR.until_ms


def test_an_archive_that_was_switched_on_later_notes_nothing_from_before(path: Path) -> None:
    archive = open_archive(path)
    archive.knows_nothing_before(START_MS)
    archive.knows_nothing_before(START_MS - 1000)
    archive.cover("bluesky", Span(HOUR.since_ms, START_MS))
    archive.cover("x", HOUR)
    archive.close(START_MS)
    assert Manifest.of(path).covers == {"x": (Span(START_MS, HOUR.until_ms),)}


def test_a_file_that_its_server_has_forgotten_is_opened_again(path: Path) -> None:
    watch = Watch()
    archive = open_archive(path, monotonic=watch)
    archive.append([line(1)])
    with failing("fstat", errno.ESTALE):
        archive.flush(START_MS)
    watch.now += archive.due_seconds()
    assert archive.sync(START_MS)
    archive.close(START_MS)
    assert numbers_in(path) == [1]


def test_a_file_that_is_left_on_a_full_disk_is_told_of_all_the_same(path: Path) -> None:
    """It had no manifest and was not sent off, which would have made room."""
    told: list[bool] = []
    archive = open_archive(path, closed=lambda: told.append(True))
    archive.append([line(1)])
    assert archive.sync(START_MS)
    archive.cover("x", HOUR)
    path.rename(path.with_name("tweets.jsonl.gz.1"))
    with failing("write", errno.ENOSPC):
        archive.flush(START_MS)
    assert told
    archive.close(START_MS)


def test_a_disk_that_is_full_at_the_start_is_waited_for(path: Path) -> None:
    watch = Watch()
    with failing("open", errno.ENOSPC):
        archive = open_archive(path, monotonic=watch)
        archive.append([line(1)])
        assert not archive.sync(START_MS)
    watch.now += archive.due_seconds()
    assert archive.sync(START_MS)
    archive.close(START_MS)
    assert numbers_in(path) == [1]


LOCKED_OUT = """
import os, sys
from pathlib import Path
sys.path.insert(0, "tests")
from archiving import START_MS, Watch, line, open_archive
folder, watch = Path(sys.argv[1]), Watch()
if os.geteuid() == 0:
    os.chown(folder, 65534, 65534)
    os.chdir(folder)
    os.seteuid(65534)
archive = open_archive(Path("in/tweets.jsonl.gz"), "10KB", monotonic=watch)
for number in range(10):
    os.chmod("in", 0o755 if number % 3 == 0 else 0)
    archive.append([line(number, padding=os.urandom(2000).hex())])
    archive.flush(START_MS)
    watch.now += 100
    print(archive.sync(START_MS))
    list(archive.recent(lambda _: False, 0))
os.chmod("in", 0o755)
archive.close(START_MS)
"""


def test_a_folder_that_cannot_be_entered_any_more_stops_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-c", LOCKED_OUT, str(tmp_path)]
    root = Path(__file__).parent.parent
    run = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=root, check=False)
    assert run.returncode == 0, run.stderr
    assert set(run.stdout.splitlines()) == {"True"}
    found = sorted(number for file in (tmp_path / "in").iterdir() for number in numbers_in(file))
    assert found == list(range(10))


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.EACCES], ids=os.strerror)
@pytest.mark.parametrize("call", ["fstat", "stat", "scandir", "rename", "open", "pread", "close"])
def test_no_trouble_with_the_disk_leaves_the_archive(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    watch = Watch()
    archive = open_archive(path, "10KB", monotonic=watch)

    def fail(*about: object, **_: object) -> None:
        if call == "close":
            real_close(*about)  # type: ignore[arg-type]
        raise OSError(error, os.strerror(error))

    real_close = os.close
    for number in range(8):
        with monkeypatch.context() as disk:
            if number % 2:
                disk.setattr(os, call, fail)
            archive.append([line(number, padding=os.urandom(3000).hex())])
            archive.cover("x", Span(START_MS, START_MS + number))
            archive.flush(START_MS)
            archive.flush(START_MS)
            list(archive.recent(lambda _: False, 0))
            archive.sync(START_MS)
        watch.now += 100
    path.rename(path.with_name("tweets.jsonl.gz.1"))
    with monkeypatch.context() as disk:
        disk.setattr(os, call, fail)
        archive.flush(START_MS)
    watch.now += 100
    assert archive.sync(START_MS) or archive.sync(START_MS)
    archive.close(START_MS)
    found = sorted(number for file in path.parent.iterdir() for number in numbers_in(file))
    assert found == list(range(8))
