"""Lines of any file, packed or plain: each once and whole, and a word in place of what is torn."""

import gzip
import os
import random
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.errors import TornError
from tweetdock.keep import archive_format
from tweetdock.keep.archive_reader import read_lines

LINES = [b'{"id": 1}', b"", b'{"id": "two"}', b"no JSON }", b'{"id": 3}']
# Some are as long as what is read or inflated at once.
written = st.lists(
    st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")) | st.just(b"x" * 70_000),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("read_lines") / "file"


def read(path: Path, content: bytes) -> list[bytes | str]:
    """What is found in a file of such content; the sentence of what is torn."""
    path.write_bytes(content)
    return [str(text) if isinstance(text, TornError) else text for text in read_lines(path)]


def found_in(content: bytes) -> list[bytes]:
    """The lines in the most obvious way."""
    lines = content.split(b"\n")
    return lines if lines[-1] else lines[:-1]


@given(written, st.booleans())
def test_a_plain_file_gives_its_lines(
    path: Path,
    lines: list[bytes],
    ends: bool,  # noqa: FBT001 - drawn
) -> None:
    content = b"\n".join(lines) + b"\n" * ends
    if not content.startswith(b"\x1f"):
        assert read(path, content) == found_in(content)


@given(written, st.lists(st.integers(0, 100_000), max_size=5), st.booleans())
def test_wherever_members_are_parted_the_lines_are_those_of_the_whole(
    path: Path,
    lines: list[bytes],
    places: list[int],
    ends: bool,  # noqa: FBT001 - drawn
) -> None:
    content = b"\n".join(line.replace(b"}", b"") for line in lines) + b"\n" * ends
    borders = [0, *sorted(place % (len(content) + 1) for place in places), len(content)]
    parts = [content[a:b] for a, b in pairwise(borders)]
    assert read(path, b"".join(gzip.compress(part, 1) for part in parts)) == found_in(content)


def test_a_line_over_two_members_is_one(path: Path) -> None:
    packed = gzip.compress(b'{"id": 1}\n{"id"') + gzip.compress(b': 2}\n{"id": 3}')
    assert read(path, packed) == [b'{"id": 1}', b'{"id": 2}', b'{"id": 3}']


def test_an_empty_file_has_no_line(path: Path) -> None:
    assert read(path, b"") == read(path, gzip.compress(b"")) == []


@pytest.mark.parametrize("level", [0, 9])
def test_cut_off_anywhere_it_gives_what_is_there_and_says_so(path: Path, level: int) -> None:
    first, second = (gzip.compress(b"\n".join(LINES) + b"\n", level) for _ in "12")
    for size in range(1, len(first + second)):
        *found, last = read(path, (first + second)[:size])
        if size == len(first):
            assert [*found, last] == LINES
            continue
        assert isinstance(last, str)
        assert "member" in last
        whole = LINES * (2 if size > len(first) else 1)
        assert found == whole[: len(found)]
        assert len(found) >= (len(LINES) if size > len(first) else 0)


def test_what_comes_behind_a_torn_member_is_read(path: Path) -> None:
    good = gzip.compress(b'{"id": 2}\n')
    torn = gzip.compress(b'{"id": 1}\n' * 9 + b'{"id', 0)
    broken = torn[:-1] + bytes([torn[-1] ^ 1])
    *lines, sentence, last = read(path, broken + good)
    assert lines == [b'{"id": 1}'] * 9
    assert "member at byte 0" in str(sentence)
    # The half line before the damage is not joined to the whole one behind it.
    assert last == b'{"id": 2}'


def test_any_damage_costs_lines_and_nothing_else(path: Path) -> None:
    dice = random.Random(5)
    content = gzip.compress(b"\n".join(LINES) + b"\n") * 3
    for _ in range(300):
        place = dice.randrange(3, len(content))
        damaged = content[:place] + bytes([dice.randrange(256)]) + content[place + 1 :]
        assert len(read(path, damaged)) <= 6 * len(LINES)


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_line_longer_than_any_document_is_left_out(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_packed: bool,  # noqa: FBT001 - a parameter
) -> None:
    monkeypatch.setattr(archive_format, "LONGEST_LINE", 1 << 20)
    content = b"before\n" + b"x" * (5 << 19) + b"\nafter\n"
    found = read(path, gzip.compress(content, 1) if is_packed else content)
    assert (found[0], found[-1]) == (b"before", b"after")
    assert found.count("a line of more than 1 MB") == len(found) - 3


def test_a_line_without_end_takes_little_memory(path: Path) -> None:
    """A file that was no recording took hundreds of megabytes before it was refused."""
    with path.open("wb") as file:
        file.truncate(64 << 20)
    tracemalloc.start()
    try:
        assert all(isinstance(text, TornError) or len(text) <= 8 << 20 for text in read_lines(path))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 30 << 20


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    """Opening a pipe into which nobody writes never ended."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(OSError, match="no file, but a pipe or a device"):
            list(read_lines(path))
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(OSError, match=r"directory"):
            list(read_lines(path))
