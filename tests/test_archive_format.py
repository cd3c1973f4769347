"""Members of a gzip file: readable by everybody, found whole between torn ones."""

import gzip
import io
import os
import subprocess
import sys
from itertools import accumulate
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.errors import TornError
from tweetdock.keep.archive_format import (
    Member,
    backward,
    lines,
    may_be_gzip,
    pack,
    pieces,
    whole_end,
)
from tweetdock.keep.files import FileBytes, bytes_of

TEXTS = [b"one\n" * 20, b"", b"two, which is longer\n" * 30, b"three\n"]
MEMBERS = [pack(text, f"note {number}".encode()) for number, text in enumerate(TEXTS)]
FILE = b"".join(MEMBERS)
ENDS = [0, *accumulate(map(len, MEMBERS))]

texts = st.lists(st.binary(max_size=3000), max_size=6)


@given(texts, st.binary(max_size=500))
def test_every_gzip_reader_reads_what_is_packed(contents: list[bytes], note: bytes) -> None:
    packed = b"".join(pack(text, note) for text in contents)
    assert gzip.decompress(packed) == b"".join(contents)


def test_zcat_shows_the_text_and_not_the_notes(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(FILE)
    run = subprocess.run(["zcat", str(path)], capture_output=True, check=True, timeout=30)
    assert run.stdout == b"".join(TEXTS)
    assert run.stderr == b""


@given(st.binary(max_size=200_000), st.binary(max_size=500))
def test_a_member_tells_its_text_its_note_and_its_end(text: bytes, note: bytes) -> None:
    packed = pack(text, note)
    member = Member(b"before" + packed + b"after", 6)
    assert member.read() == text
    assert member.note == note
    assert member.end == 6 + len(packed)


def test_a_note_may_be_as_long_as_a_header_can_hold_and_no_longer() -> None:
    assert Member(pack(b"", b"n" * 65_531), 0).note == b"n" * 65_531
    with pytest.raises(ValueError, match="65532 bytes does not fit"):
        pack(b"", b"n" * 65_532)


def test_a_file_of_other_people_with_a_name_a_comment_and_a_check_sum_is_read() -> None:
    file = io.BytesIO()
    with gzip.GzipFile("a name", "wb", fileobj=file) as other:
        other.write(b"theirs\n")
    packed = file.getvalue()
    assert Member(packed, 0).read() == b"theirs\n"
    # Flags: check sum of the header and comment beside the name that is there.
    odd = packed[:3] + bytes([8 | 16 | 2]) + packed[4:17] + b"comment\0" + b"cc" + packed[17:]
    assert Member(odd, 0).read() == b"theirs\n"
    assert Member(odd, 0).note == b""


@pytest.mark.parametrize("length", range(len(FILE) + 1))
def test_a_file_cut_anywhere_is_whole_up_to_its_last_whole_member(length: int) -> None:
    cut = FILE[:length]
    whole = max(end for end in ENDS if end <= length)
    assert whole_end(cut) == whole
    found = list(pieces(cut))
    assert [piece.end for piece in found if isinstance(piece, Member)] == ENDS[
        1 : ENDS.index(whole) + 1
    ]
    assert sum(isinstance(piece, TornError) for piece in found) == (whole < length)
    text = b"".join(piece for piece in found if isinstance(piece, bytes))
    assert b"".join(TEXTS).startswith(text)


@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_one_wrong_byte_hides_no_other_member(place: int, flip: int) -> None:
    wrong = FILE[:place] + bytes([FILE[place] ^ flip]) + FILE[place + 1 :]
    hurt = next(number for number, end in enumerate(ENDS[1:]) if place < end)
    others = {number for number in range(len(MEMBERS)) if number != hurt}
    forward = {piece.start for piece in pieces(wrong) if isinstance(piece, Member)}
    assert {ENDS[number] for number in others} <= forward
    assert {ENDS[number] for number in others} <= {member.start for member, _ in backward(wrong)}


def test_backward_brings_the_last_member_first() -> None:
    assert [text for _, text in backward(FILE)] == TEXTS[::-1]


def test_the_text_before_an_error_is_read() -> None:
    """Up to 64 KB of good text was by zlib when an error came behind it."""
    text = b"".join(b"line %d\n" % number for number in range(20_000))
    packed = pack(text)
    place = len(packed) * 9 // 10
    zeros = packed[:place] + bytes(len(packed) - place)
    *good, last = pieces(zeros)
    assert isinstance(last, TornError)
    read = b"".join(piece for piece in good if isinstance(piece, bytes))
    assert len(read) > len(text) * 8 // 10
    assert read[: len(text) * 8 // 10] == text[: len(text) * 8 // 10]


@given(st.binary(max_size=2000))
def test_bytes_of_any_kind_are_no_reason_to_fail(data: bytes) -> None:
    for piece in pieces(b"\x1f\x8b\x08" + data):
        assert isinstance(piece, bytes | Member | TornError)
    list(backward(data))


@given(st.lists(st.lists(st.sampled_from([b"", b"a", b"line", b"\n"])).map(b"".join)))
def test_lines_come_with_their_ends_and_each_member_after_its_own(contents: list[bytes]) -> None:
    found = list(lines(b"".join(map(pack, contents))))
    expected: list[bytes | None] = []
    for text in contents:
        expected += [*text.splitlines(keepends=True), None]
    assert [line if isinstance(line, bytes) else None for line in found] == expected


def test_the_rest_of_a_torn_member_comes_before_its_error() -> None:
    torn = pack(os.urandom(50).hex().encode() + b"\nrest")[:-9]
    first, rest, error = lines(torn)
    assert isinstance(first, bytes)
    assert first.endswith(b"\n")
    assert isinstance(rest, bytes)
    assert b"rest".startswith(rest)
    assert isinstance(error, TornError)


def test_a_line_without_an_end_comes_in_parts() -> None:
    text = b"x" * 20_000_000
    *parts, member = lines(pack(text + b"\nlast\n"))
    texts = [part for part in parts if isinstance(part, bytes)]
    assert b"".join(texts) == text + b"\nlast\n"
    assert texts[-1] == b"last\n"
    assert isinstance(member, Member)


def test_gzip_is_known_by_as_much_of_its_beginning_as_there_is() -> None:
    assert all(may_be_gzip(FILE[:length]) for length in range(6))
    assert not any(map(may_be_gzip, (b"\0", b"\x1f\x8b\x09", b"{")))


BLOCK = 1 << 18


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of three blocks and a little more, with something to find across their ends."""
    content = bytearray(Random(1).randbytes(3 * BLOCK + 5).replace(b"\0", b"\1"))
    for at in (0, BLOCK - 2, BLOCK - 1, 2 * BLOCK, 3 * BLOCK + 2):
        content[at : at + 3] = b"\0\0\0"
    path = tmp_path_factory.mktemp("large") / "file"
    path.write_bytes(content)
    return path


places = st.builds(
    lambda block, offset: max(block * BLOCK + offset, 0), st.integers(0, 3), st.integers(-5, 9)
)


@given(places, places)
def test_the_bytes_of_a_file_are_sliced_and_searched_like_bytes(
    large: Path, start: int, end: int
) -> None:
    content = large.read_bytes()
    with bytes_of(large) as found:
        assert len(found) == len(content)
        assert found[start:end] == content[start:end]
        for wanted in (b"\0", b"\0\0\0", content[BLOCK - 7 : BLOCK + 9], b"not there"):
            assert found.find(wanted, start) == content.find(wanted, start)
            assert found.rfind(wanted, start, min(end, len(content))) == content.rfind(
                wanted, start, end
            )


def test_a_file_without_a_byte_is_one_too(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    with bytes_of(path) as found:
        assert (len(found), found[0:10]) == (0, b"")
        assert (found.find(b"x", 0), found.rfind(b"x", 0, 0)) == (-1, -1)
        assert whole_end(found) == 0


def test_a_bad_read_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(FILE)
    fd = os.open(path, os.O_WRONLY)
    try:
        with pytest.raises(OSError, match=f"Bad file descriptor: '{path}'"):
            list(pieces(FileBytes(fd, path)))
    finally:
        os.close(fd)


CUTTING = """
import os, sys
from pathlib import Path
from tweetdock.core.errors import TornError
from tweetdock.keep.files import bytes_of
from tweetdock.keep.archive_format import Member, backward, pack, pieces
path = Path(sys.argv[1])
member = pack(os.urandom(400_000))
for length in (0, len(member), 3 * len(member) + 1000):
    path.write_bytes(member * 20)
    with bytes_of(path) as forward, bytes_of(path) as back:
        found = pieces(forward)
        next(found)
        os.truncate(path, length)
        *_, last = found
        assert isinstance(last, TornError), last
        assert len(list(backward(back))) == length // len(member)
print("alive")
"""


def test_a_file_that_is_cut_while_it_is_read_is_torn_and_kills_nobody(tmp_path: Path) -> None:
    """A map of it, of which a part had gone, ended the daemon by SIGBUS."""
    words = [sys.executable, "-c", CUTTING, str(tmp_path / "file")]
    house = Path(__file__).parent.parent
    done = subprocess.run(words, capture_output=True, text=True, cwd=house, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")
