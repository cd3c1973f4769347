"""What the archive has received lately: by the position where it was saved, and else by time."""

import errno
import os
from pathlib import Path

import pytest
from archiving import START_MS, fill, line, open_archive

from tweetdock.keep.archive import Archive
from tweetdock.keep.archive_format import ArchivePosition, pack
from tweetdock.keep.closed_files import ClosedFiles
from tweetdock.settings.keeping import Rotation


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tweets.jsonl.gz"


def recent(path: Path, position: ArchivePosition | None, since_ms: int) -> list[int]:
    """The numbers of the lines that an archive opened now finds to be recent, in their order."""
    archive = open_archive(path)
    versions = list(archive.recent(position, since_ms))
    archive.close(START_MS)
    return sorted(int(version.removeprefix("x:")) for version in versions)


def test_what_was_received_lately_is_known_again_from_all_files(path: Path) -> None:
    archive = open_archive(path)
    for number in range(0, 100, 10):
        archive.append(map(line, range(number, number + 10)))
        archive.flush(START_MS)
        if number % 30 == 20:
            target = path.with_name(f"tweets-20261121T00000{number // 30}Z.jsonl.gz")
            path.rename(target)
            archive.reopen(START_MS)
            # Written when its last line was received, as real ones are.
            received_ns = (START_MS + number + 9) * 1_000_000
            os.utime(target, ns=(received_ns, received_ns))
    assert len(ClosedFiles(path).closed()) == 3
    for since in (0, 1, 29, 30, 55, 89, 90, 99, 100):
        versions = list(archive.recent(None, START_MS + since))
        assert sorted(versions) == sorted(f"x:{number}" for number in range(since, 100))
    archive.close(START_MS)


def test_what_was_received_lately_is_known_in_spite_of_damage(path: Path) -> None:
    fill(path, range(10), range(10, 20), range(20, 30))
    data = bytearray(path.read_bytes())
    position = len(pack(b"".join(line(number).as_bytes() for number in range(10)))) + 60
    data[position] ^= 0xFF
    path.write_bytes(data)
    archive = Archive(path, Rotation(), lambda: None)
    found = list(archive.recent(None, START_MS))
    archive.close(START_MS)
    assert sorted(found) == sorted(f"x:{number}" for number in [*range(10), *range(20, 30)])


def test_a_file_that_vanishes_while_what_was_received_lately_is_read_is_passed_over(
    path: Path,
) -> None:
    older = [path.with_name(f"tweets-2026112{number}.jsonl.gz") for number in range(2)]
    for number, file in enumerate([*older, path]):
        fill(file, range(number, number + 1))
    archive = open_archive(path)
    found = archive.recent(None, START_MS)
    assert next(found) == "x:2"
    older[1].unlink()
    assert list(found) == ["x:0"]
    archive.close(START_MS)


def test_what_was_written_after_a_place_is_known_although_the_clock_stepped_back(
    path: Path,
) -> None:
    """By time, the first member from before the step ended the reading: posts came twice."""
    archive = open_archive(path)
    for number in range(3):
        archive.append([line(number, START_MS + 3_600_000)])
        archive.flush(START_MS)
    position = archive.position
    for number in range(3, 6):
        archive.append([line(number, START_MS)])
        archive.flush(START_MS)
    archive.close(START_MS)
    assert recent(path, position, START_MS + 3_600_000) == [3, 4, 5]


def test_files_that_were_begun_after_a_place_are_known_wholly_and_older_ones_not_at_all(
    path: Path,
) -> None:
    positions: list[ArchivePosition | None] = []
    archive = open_archive(path)
    for number in range(9):
        archive.append([line(number)])
        archive.flush(START_MS)
        positions.append(archive.position)
        if number % 3 == 1:
            path.rename(path.with_name(f"{path.name}.{9 - number}"))
            archive.reopen(START_MS)
            os.utime(path.with_name(f"{path.name}.{9 - number}"), (number, number))
    archive.close(START_MS)
    for number, position in enumerate(positions):
        assert recent(path, position, START_MS + 100) == list(range(number + 1, 9))


def test_a_place_whose_file_vanishes_meanwhile_ends_what_is_recent(path: Path) -> None:
    older = [path.with_name(f"tweets-2026112{number}.jsonl.gz") for number in range(2)]
    for number, file in enumerate([*older, path]):
        fill(file, range(number, number + 1))
    archive = open_archive(path)
    found = archive.recent(ArchivePosition(str(path), older[1].stat().st_ino, 0), START_MS)
    assert next(found) == "x:2"
    older[1].unlink()
    assert list(found) == []
    archive.close(START_MS)


def test_a_place_that_is_in_no_file_any_more_is_replaced_by_the_time(path: Path) -> None:
    fill(path, range(10), range(10, 20))
    stat = path.stat()
    elsewhere = [
        ArchivePosition(str(path), stat.st_ino + 1, 0),
        # The number of a removed file is given to a new one.
        ArchivePosition(str(path), stat.st_ino, stat.st_size - 30),
        ArchivePosition(str(path), stat.st_ino, stat.st_size + 1),
        ArchivePosition("/elsewhere/tweets.jsonl.gz", stat.st_ino, 0),
    ]
    for position in elsewhere:
        assert recent(path, position, START_MS + 17) == [17, 18, 19]
    assert recent(path, ArchivePosition(str(path), stat.st_ino, stat.st_size), START_MS) == []


def test_a_file_that_was_cut_before_the_place_has_nothing_after_it(path: Path) -> None:
    fill(path, range(10), range(10, 20))
    archive = open_archive(path)
    position = archive.position
    archive.close(START_MS)
    path.write_bytes(path.read_bytes()[:-40])
    assert recent(path, position, START_MS + 20) == []


def test_the_place_is_none_while_no_file_is_open(path: Path) -> None:
    archive = open_archive(path)
    stat = path.stat()
    assert archive.position == ArchivePosition(str(path), stat.st_ino, 0)
    path.unlink()
    path.mkdir()
    archive.reopen(START_MS)
    assert archive.position is None
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
    assert recent(path, None, START_MS) == [0, 2]
    assert f"{older[1]} cannot be read (Input/output error)" in caplog.text
    caplog.clear()
    assert recent(path, ArchivePosition(str(path), bad, 0), START_MS) == [0, 2]
    assert f"{older[1]} cannot be read (Input/output error)" in caplog.text
