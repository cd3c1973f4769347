"""The archive: every line once, readable by zcat whatever happens to the daemon or the disk."""

import gzip
import logging
import math
import os
import shutil
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from archiving import START_MS, Watch, fill, line, numbers_in, open_archive
from profiles import is_thorough

from tweetdock.core.errors import UnavailableError
from tweetdock.core.post import Span
from tweetdock.keep.archive import MOST_BYTES
from tweetdock.keep.archive_format import backward, pack
from tweetdock.keep.closed_files import ClosedFiles, Manifest

DAY_MS = 86_400_000
MIDNIGHT_MS = START_MS - START_MS % DAY_MS + DAY_MS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tweets.jsonl.gz"


def closed(path: Path) -> list[Path]:
    """The closed files, oldest first."""
    return ClosedFiles(path).closed()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("a full disk needs root and mount, for a tmpfs of its own")
    if subprocess.run(mount, capture_output=True, timeout=30, check=False).returncode:
        pytest.skip("a full disk needs the permission to mount a tmpfs (CAP_SYS_ADMIN)")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True, timeout=30)


def random_padding(size: int) -> str:
    """Text that no compression makes smaller than half of it."""
    return os.urandom(size // 2).hex()


def test_lines_are_written_when_they_are_due(path: Path) -> None:
    watch = Watch()
    archive = open_archive(path, monotonic=watch)
    assert archive.due_seconds() == math.inf
    archive.append([line(1)])
    assert archive.due_seconds() == pytest.approx(1.0)
    watch.now += 0.75
    archive.append([line(2)])
    assert archive.due_seconds() == pytest.approx(0.25)
    watch.now += 1.0
    assert archive.due_seconds() == 0.0
    archive.flush(START_MS)
    assert archive.due_seconds() == math.inf
    assert numbers_in(path) == [1, 2]
    archive.close(START_MS)


def test_a_megabyte_of_text_is_due_at_once_and_no_member_is_larger(path: Path) -> None:
    archive = open_archive(path, monotonic=Watch())
    archive.append(line(number, padding="x" * 10_000) for number in range(250))
    assert archive.due_seconds() == 0.0
    archive.flush(START_MS)
    archive.close(START_MS)
    assert numbers_in(path) == list(range(250))
    sizes = [len(text) for _, text in backward(path.read_bytes())]
    assert len(sizes) == 3
    assert max(sizes) <= 1_000_000


def test_each_flush_is_one_member_that_zcat_reads_while_the_archive_is_open(path: Path) -> None:
    archive = open_archive(path)
    for number in range(5):
        archive.append([line(number)])
        archive.flush(START_MS)
        shown = subprocess.run(["zcat", str(path)], capture_output=True, check=True, timeout=30)
        assert shown.stdout.count(b"\n") == number + 1
    archive.close(START_MS)


def test_a_flush_with_nothing_to_write_writes_nothing(path: Path) -> None:
    fill(path, range(3))
    before = path.read_bytes()
    archive = open_archive(path)
    archive.flush(START_MS)
    assert archive.sync(START_MS)
    archive.close(START_MS)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in (1, 2))]
)
def test_a_file_cut_anywhere_is_gone_on_with_and_all_of_it_is_readable(
    path: Path, seed: int
) -> None:
    fill(path, range(3), range(3, 4), range(4, 9))
    whole = path.read_bytes()
    ends = [member.end or 0 for member, _ in backward(whole)][::-1]
    for length in range(seed, len(whole) + 1, 3):
        path.write_bytes(whole[:length])
        archive = open_archive(path)
        archive.append([line(100)])
        archive.close(START_MS)
        sure = [3, 4, 9][sum(end <= length for end in ends) - 1] if length >= ends[0] else 0
        assert numbers_in(path) == [*range(sure), 100]
        if length % 90 == seed:
            subprocess.run(["gzip", "-t", str(path)], check=True, timeout=30)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_torn_end_is_cut_off_and_told_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(path, range(10), range(10, 1000))
    path.write_bytes(path.read_bytes()[:-200])
    open_archive(path).close(START_MS)
    assert numbers_in(path) == list(range(10))
    assert "at the end of tweets.jsonl.gz were torn" in caplog.text


def test_zeros_that_a_power_cut_has_left_are_cut_off(path: Path) -> None:
    for whole in (range(0), range(5)):
        fill(path, whole)
        with path.open("ab") as file:
            file.write(bytes(5000))
        fill(path, range(5, 7))
        assert numbers_in(path) == [*whole, 5, 6]
        path.unlink()


@pytest.mark.parametrize(
    "content",
    [
        b"someone's notes\n" * 100,
        b"PK\x03\x04" + b"z" * 5000,
        gzip.compress(b"someone's notes\n" * 100)[:-4],
        gzip.compress(os.urandom(5_000_000), 1)[:-4],
        pack(line(1).as_bytes()) + gzip.compress(b"a\n" * 99)[:-4],
    ],
    ids=["text", "zip", "torn gzip", "large torn gzip", "torn gzip behind ours"],
)
def test_a_file_of_somebody_else_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UnavailableError, match=f"TWEETDOCK_ARCHIVE={path}: .*not written by"):
        open_archive(path)
    assert path.read_bytes() == content


def test_a_whole_gzip_file_of_somebody_else_is_appended_to(path: Path) -> None:
    path.write_bytes(gzip.compress(b"theirs\n"))
    archive = open_archive(path)
    archive.append([line(1)])
    archive.close(START_MS)
    assert gzip.decompress(path.read_bytes()) == b"theirs\n" + line(1).as_bytes()


def test_what_cannot_be_an_archive_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="Is a directory; name another file"):
        open_archive(tmp_path)
    with pytest.raises(UnavailableError, match="it is no file"):
        open_archive(Path("/dev/null"))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UnavailableError, match="it is no file"):
        open_archive(tmp_path / "fifo")
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match=r"TWEETDOCK_ARCHIVE=.*; name another file"):
        open_archive(tmp_path / "file" / "tweets.jsonl.gz")


def test_missing_folders_are_made_and_the_file_is_not_for_everybody(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "tweets.jsonl.gz"
    open_archive(path).close(START_MS)
    assert path.stat().st_mode & 0o137 == 0


def test_two_daemons_cannot_have_the_same_archive(path: Path) -> None:
    archive = open_archive(path)
    with pytest.raises(UnavailableError, match=f"{path} is in use by another TweetDock"):
        open_archive(path)
    archive.append([line(1)])
    archive.close(START_MS)
    fill(path, range(2, 3))
    assert numbers_in(path) == [1, 2]


def test_notes_say_what_has_been_seen_once_its_lines_are_written(path: Path) -> None:
    archive = open_archive(path)
    archive.append([line(1)])
    archive.cover("x", Span(0, 10))
    archive.cover("x", Span(10, 20))
    archive.cover("bluesky", Span(5, 6))
    archive.cover("x", Span(30, 30))
    archive.flush(START_MS)
    assert Manifest.of(path).covers == {"x": (Span(0, 20),), "bluesky": (Span(5, 6),)}
    archive.cover("x", Span(20, 40))
    archive.flush(START_MS)
    assert Manifest.of(path).covers["x"] == (Span(0, 20),)
    archive.append([line(2)])
    archive.flush(START_MS)
    assert archive.due_seconds() == math.inf
    assert Manifest.of(path).covers["x"] == (Span(0, 40),)
    archive.cover("x", Span(50, 60))
    archive.close(START_MS)
    assert Manifest.of(path).covers["x"] == (Span(0, 40), Span(50, 60))
    assert numbers_in(path) == [1, 2]


def test_notes_that_do_not_fit_into_one_member_come_with_the_next(path: Path) -> None:
    archive = open_archive(path)
    spans = [Span(START_MS + 10 * number, START_MS + 10 * number + 5) for number in range(1100)]
    for span in spans:
        archive.cover("x", span)
    for number in range(3):
        archive.append([line(number)])
        archive.flush(START_MS)
    archive.close(START_MS)
    assert Manifest.of(path).covers["x"] == tuple(spans)


def test_a_file_of_its_size_is_closed_and_a_new_one_begun(path: Path) -> None:
    archive = open_archive(path, "10KB")
    for number in range(30):
        archive.append([line(number, padding=random_padding(2000))])
        archive.flush(START_MS)
    archive.close(START_MS)
    files = closed(path)
    assert files[0].name == "tweets-20261121T065536Z.jsonl.gz"
    assert files[1].name == "tweets-20261121T065536Z-1.jsonl.gz"
    assert len(files) > 2
    assert all(10_000 <= file.stat().st_size < 13_000 for file in files)
    assert [number for file in (*files, path) for number in numbers_in(file)] == list(range(30))


def test_a_day_begins_with_a_new_file(path: Path) -> None:
    archive = open_archive(path, "daily")
    archive.append([line(1, MIDNIGHT_MS - 5)])
    archive.flush(MIDNIGHT_MS - 1)
    assert closed(path) == []
    archive.append([line(2, MIDNIGHT_MS + 5)])
    archive.flush(MIDNIGHT_MS + 900)
    assert list(map(numbers_in, [*closed(path), path])) == [[1], [2]]
    # A quiet day, with a second in which the day ends.
    archive.append([line(3, MIDNIGHT_MS + DAY_MS - 3), line(4, MIDNIGHT_MS + DAY_MS + 3)])
    archive.flush(MIDNIGHT_MS + DAY_MS + 500)
    assert [numbers_in(file) for file in closed(path)] == [[1], [2, 3, 4]]
    archive.append([line(5, MIDNIGHT_MS + DAY_MS + 800)])
    archive.flush(MIDNIGHT_MS + DAY_MS + 900)
    assert len(closed(path)) == 2
    archive.cover("x", Span(1, 2))
    archive.flush(MIDNIGHT_MS + 2 * DAY_MS)
    assert numbers_in(closed(path)[2]) == [5]
    assert Manifest.of(closed(path)[2]).covers == {"x": (Span(1, 2),)}
    archive.close(MIDNIGHT_MS + 2 * DAY_MS)


def test_a_day_that_ended_while_we_were_away_is_closed_by_the_next_flush(path: Path) -> None:
    fill(path, range(3))
    archive = open_archive(path, "daily")
    archive.flush(MIDNIGHT_MS)
    archive.close(MIDNIGHT_MS)
    assert list(map(numbers_in, closed(path))) == [[0, 1, 2]]


def test_logrotate_renames_and_the_next_flush_begins_the_new_file(path: Path) -> None:
    archive = open_archive(path)
    archive.append([line(1)])
    archive.flush(START_MS)
    archive.cover("x", Span(1, 2))
    renamed = path.rename(path.with_name("tweets-20261121.jsonl.gz"))
    assert closed(path) == []
    archive.flush(START_MS)
    assert closed(path) == [renamed]
    assert Manifest.of(renamed).covers == {"x": (Span(1, 2),)}
    archive.append([line(2)])
    path.rename(path.with_name("tweets-20261122.jsonl.gz"))
    archive.flush(START_MS)
    archive.close(START_MS)
    assert (numbers_in(renamed), numbers_in(path)) == ([1], [2])


def test_a_file_that_was_deleted_is_begun_anew_without_losing_what_waits(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = open_archive(path)
    archive.append([line(1)])
    path.unlink()
    archive.flush(START_MS)
    assert numbers_in(path) == [1]
    archive.close(START_MS)
    assert closed(path) == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_storm_of_renames_loses_and_doubles_no_line(path: Path) -> None:
    archive = open_archive(path, "10KB")
    is_over = threading.Event()

    def rename() -> None:
        renamed = 0
        while renamed < 200:
            try:
                path.rename(path.with_name(f"{path.name}.{renamed}"))
                renamed += 1
            except FileNotFoundError:
                is_over.wait(0.0002)
        is_over.set()

    renamer = threading.Thread(target=rename)
    renamer.start()
    number = 0
    while not is_over.is_set():
        archive.append(map(line, range(number, number + 3), [START_MS] * 3))
        number += 3
        (archive.flush, archive.sync)[number % 2](START_MS)
    renamer.join(30)
    archive.flush(START_MS)
    archive.close(START_MS)
    files = list(path.parent.iterdir())
    assert len(files) > 200
    found = sorted(number for file in files for number in numbers_in(file))
    assert found == list(range(number))


def test_a_full_disk_stops_nothing_and_nothing_is_lost(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, watch = small_disk / "tweets.jsonl.gz", Watch()
    archive = open_archive(path, monotonic=watch)
    caplog.set_level(logging.INFO)
    for number in range(100):
        archive.append([line(number, padding=random_padding(8000))])
        archive.cover("x", Span(START_MS + number, START_MS + number + 1))
        archive.flush(START_MS)
        watch.now += 10
    assert not archive.sync(START_MS)
    written = numbers_in(path)
    assert written == list(range(len(written)))
    assert 20 < len(written) < 60
    assert Manifest.of(path).covers == {"x": (Span(START_MS, START_MS + len(written)),)}
    assert 0 < archive.due_seconds() <= 5.0
    subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True, timeout=30)
    watch.now += 5
    assert archive.due_seconds() == 0.0
    assert archive.sync(START_MS)
    archive.close(START_MS)
    assert numbers_in(path) == list(range(100))
    assert Manifest.of(path).covers == {"x": (Span(START_MS, START_MS + 100),)}
    begin, end = caplog.records
    assert begin.levelno == logging.ERROR
    assert "cannot be written: No space left on device; next try in 5 s" in begin.getMessage()
    assert end.levelno == logging.INFO


WRITING = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from archiving import START_MS, line, open_archive
archive = open_archive(Path(sys.argv[1]), "20KB")
first = int(sys.argv[2])
for number in range(first, first + 1_000_000, 10):
    archive.append(line(more, padding="x" * 500) for more in range(number, number + 10))
    if archive.sync(START_MS):
        print(number + 9, flush=True)
"""


def test_a_kill_loses_nothing_that_was_synced_and_doubles_nothing(path: Path) -> None:
    root = Path(__file__).parent.parent
    sure: set[int] = set()
    for turn in range(5 if is_thorough() else 2):
        first = turn * 1_000_000
        words = [sys.executable, "-c", WRITING, str(path), str(first)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=root) as daemon:
            assert daemon.stdout is not None
            for _ in range(20 + turn):
                daemon.stdout.readline()
            daemon.kill()
            *_, last = [first + 9, *map(int, daemon.stdout.read().split())]
        sure.update(range(first, last + 1))
    open_archive(path).close(START_MS)
    found = [number for file in path.parent.iterdir() for number in numbers_in(file)]
    assert len(found) == len(set(found))
    assert sure <= set(found)


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, "tests")
from archiving import START_MS, Watch, line, open_archive
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
path, watch = Path(sys.argv[1]), Watch()
archive = open_archive(path, monotonic=watch)
for number in range(600):
    archive.append([line(number)])
    watch.now += 10
    archive.flush(START_MS)
print(archive.sync(START_MS))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
watch.now += 10
print(archive.sync(START_MS))
archive.close(START_MS)
"""


def test_a_member_that_fits_only_in_part_is_cut_off_again(path: Path) -> None:
    root = Path(__file__).parent.parent
    words = [sys.executable, "-c", LIMITED, str(path)]
    run = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=root, check=False)
    assert run.stdout == "False\nTrue\n", run.stderr
    assert numbers_in(path) == list(range(600))


def test_what_is_more_than_memory_may_hold_is_dropped_counted_and_not_noted(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, watch = small_disk / "tweets.jsonl.gz", Watch()
    (small_disk / "filler").write_bytes(bytes(190_000))
    archive = open_archive(path, monotonic=watch)
    # Half of it can be compressed to nothing, so that it finds room later.
    tracemalloc.start()
    for number in range(25):
        archive.append([line(number, padding="x" * 995_000)])
        archive.cover("x", Span(START_MS + number - 1, START_MS + number))
        watch.now += 10
        if number == 0:
            archive.append([line(99, padding=random_padding(100_000))])
        archive.flush(START_MS)
    assert tracemalloc.get_traced_memory()[0] < MOST_BYTES * 1.2
    tracemalloc.stop()
    (small_disk / "filler").unlink()
    watch.now += 10
    archive.flush(START_MS)
    archive.append([line(50)])
    archive.cover("x", Span(START_MS - 3_600_000, START_MS + 50))
    archive.close(START_MS)
    kept = numbers_in(path)
    assert kept == [0, 99, *range(1, 15), 50] or kept == [0, 99, *range(1, 16), 50]
    last = kept[-2] + 1
    before, after = Span(START_MS - 1, START_MS + last - 1), Span(START_MS + 24, START_MS + 50)
    assert Manifest.of(path).covers == {"x": (before, after)}
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert sum("16 MB wait to be written" in error for error in errors) == 1
    assert f"archive: {25 - last} posts may be lost, and are not noted as seen" in errors


def test_a_folder_that_takes_no_new_file_is_waited_for(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch()
    archive = open_archive(path, monotonic=watch)
    archive.append([line(1)])
    path.rename(path.with_name("tweets.jsonl.gz.1"))
    path.mkdir()
    archive.flush(START_MS)
    archive.append([line(2)])
    archive.flush(START_MS)
    assert not archive.sync(START_MS)
    assert "Is a directory; name another file" in caplog.text
    path.rmdir()
    watch.now += archive.due_seconds()
    assert archive.sync(START_MS)
    archive.close(START_MS)
    assert numbers_in(path) == [1, 2]


def test_posts_that_could_not_be_written_by_the_end_are_counted(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = open_archive(path)
    path.unlink()
    path.mkdir()
    archive.append(map(line, range(3)))
    archive.close(START_MS)
    assert "archive: 3 posts could not be written" in caplog.text


def test_a_file_that_cannot_be_renamed_is_gone_on_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, watch = tmp_path / f"{'t' * 240}.gz", Watch()
    archive = open_archive(path, "10KB", monotonic=watch)
    for number in range(20):
        archive.append([line(number, padding=random_padding(5000))])
        archive.flush(START_MS)
        watch.now += 5
    archive.close(START_MS)
    assert numbers_in(path) == list(range(20))
    (message,) = caplog.messages
    assert "cannot be renamed (File name too long)" in message
