"""What the archive has received since the last save: read back up to what is known, or too old."""

import errno
import os
from collections.abc import Container
from pathlib import Path

import pytest
from archiving import START_MS, fill, line, open_archive

from tweetdock.keep.archive_format import pack


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tweets.jsonl.gz"


def recent(path: Path, known: Container[int] = (), since_ms: int = START_MS) -> list[int]:
    """The numbers of the lines that an archive opened now finds not to be known."""
    archive = open_archive(path)
    versions = list(archive.recent(lambda version: int(version[2:]) in known, since_ms))
    archive.close(START_MS)
    return sorted(int(version[2:]) for version in versions)


@pytest.fixture
def four_files(path: Path) -> Path:
    """Three closed files and the open one, each with three members of ten lines."""
    archive = open_archive(path)
    for number in range(0, 120, 10):
        archive.append(map(line, range(number, number + 10)))
        archive.flush(START_MS)
        if number % 30 == 20 and number < 90:
            target = path.with_name(f"{path.name}.{9 - number // 30}")
            path.rename(target)
            archive.flush(START_MS)
            os.utime(target, (number, number))
    archive.close(START_MS)
    return path


@pytest.mark.parametrize("saved", range(0, 130, 10))
def test_what_came_after_the_last_save_is_found_in_all_files(four_files: Path, saved: int) -> None:
    assert recent(four_files, range(saved)) == list(range(saved, 120))


def test_what_is_known_is_not_read_past(four_files: Path) -> None:
    assert recent(four_files, range(50, 60)) == list(range(60, 120))


def test_what_is_older_than_asked_for_ends_the_reading(four_files: Path) -> None:
    for since in (0, 1, 29, 30, 55, 89, 119, 120):
        found = recent(four_files, since_ms=START_MS + since)
        assert found == list(range(since // 10 * 10, 120))


def test_a_save_is_found_although_some_of_the_last_posts_before_it_are_forgotten(
    four_files: Path,
) -> None:
    """They leave the window, or go with a question that is not asked any more."""
    known = set(range(100)) - {95}
    assert recent(four_files, known) == [95, *range(100, 120)]


def test_what_came_after_a_save_is_known_although_the_clock_stepped_back(path: Path) -> None:
    """By time, the first member from before the step ended the reading: posts came twice."""
    archive = open_archive(path)
    for number in range(6):
        archive.append([line(number, START_MS + 3_600_000 * (number < 3))])
        archive.flush(START_MS)
    archive.close(START_MS)
    assert recent(path, range(3)) == [3, 4, 5]


def test_what_was_received_lately_is_known_in_spite_of_damage(path: Path) -> None:
    fill(path, range(10), range(10, 20), range(20, 30))
    data = bytearray(path.read_bytes())
    position = len(pack(b"".join(line(number).as_bytes() for number in range(10)))) + 60
    data[position] ^= 0xFF
    path.write_bytes(data)
    assert recent(path) == [*range(10), *range(20, 30)]


def test_a_file_that_vanishes_meanwhile_is_passed_over(path: Path) -> None:
    older = [path.with_name(f"tweets-2026112{number}.jsonl.gz") for number in range(2)]
    for number, file in enumerate([*older, path]):
        fill(file, range(number, number + 1))
    archive = open_archive(path)
    found = archive.recent(lambda _: False, START_MS)
    assert next(found) == "x:2"
    older[1].unlink()
    assert list(found) == ["x:0"]
    archive.close(START_MS)


def test_a_file_that_cannot_be_read_is_passed_over_with_a_warning(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    older = [path.with_name(f"{path.name}.{number}") for number in (2, 1)]
    for number, file in enumerate([*older, path]):
        fill(file, range(number, number + 1))
        os.utime(file, (number, number))
    real, bad = os.pread, older[1].stat().st_ino

    def pread(fd: int, size: int, position: int) -> bytes:
        if os.fstat(fd).st_ino == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, size, position)

    monkeypatch.setattr("os.pread", pread)
    assert recent(path) == [0, 2]
    assert f"{older[1]} cannot be read (Input/output error)" in caplog.text
