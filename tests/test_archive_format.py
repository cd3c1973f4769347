"""Members of a gzip file: readable by everybody, found whole between torn ones."""

import gzip
import io
import os
import subprocess
import sys
import tracemalloc
import zlib
from collections import Counter
from itertools import accumulate
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.errors import TornError
from tweetdock.keep.archive_format import (
    FoundLine,
    Member,
    backward,
    is_packed,
    may_be_gzip,
    pack,
    read,
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
    assert b"".join(member) == text
    assert member.note == note
    assert member.end == 6 + len(packed)


def test_a_file_of_other_people_with_a_name_a_comment_and_a_check_sum_is_read() -> None:
    file = io.BytesIO()
    with gzip.GzipFile("a name", "wb", fileobj=file) as other:
        other.write(b"theirs\n")
    packed = file.getvalue()
    assert b"".join(Member(packed, 0)) == b"theirs\n"
    # Flags: check sum of the header and comment beside the name that is there.
    odd = packed[:3] + bytes([8 | 16 | 2]) + packed[4:17] + b"comment\0"
    odd += (zlib.crc32(odd) & 0xFFFF).to_bytes(2, "little") + packed[17:]
    assert b"".join(Member(odd, 0)) == b"theirs\n"
    assert Member(odd, 0).note == b""


def members_of(buffer: bytes) -> list[Member]:
    return [found for found in read(buffer) if isinstance(found, Member)]


def text_of(buffer: bytes) -> bytes:
    """All lines that are there, with an end each."""
    found = [one for one in read(buffer) if isinstance(one, FoundLine)]
    return b"".join(line.text + b"\n" for line in found)


@pytest.mark.parametrize("length", range(len(FILE) + 1))
def test_a_file_cut_anywhere_is_whole_up_to_its_last_whole_member(length: int) -> None:
    cut = FILE[:length]
    whole = max(end for end in ENDS if end <= length)
    assert next((member.end for member, _ in backward(cut)), 0) == whole
    assert is_packed(cut[whole:])
    assert [member.end for member in members_of(cut)] == ENDS[1 : ENDS.index(whole) + 1]
    torn = [found for found in read(cut) if isinstance(found, TornError)]
    assert len(torn) == (whole < length)
    assert b"".join(TEXTS).startswith(text_of(cut))


@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_one_wrong_byte_hides_no_other_member(place: int, flip: int) -> None:
    wrong = FILE[:place] + bytes([FILE[place] ^ flip]) + FILE[place + 1 :]
    hurt = next(number for number, end in enumerate(ENDS[1:]) if place < end)
    others = {number for number in range(len(MEMBERS)) if number != hurt}
    assert {ENDS[number] for number in others} <= {member.start for member in members_of(wrong)}
    assert {ENDS[number] for number in others} <= {member.start for member, _ in backward(wrong)}


@pytest.mark.parametrize(
    "theirs", [gzip.compress(b"a"), b"PK\x03\x04", bytes(20)], ids=["gzip", "zip", "zeros"]
)
def test_what_others_have_packed_is_known_as_theirs(theirs: bytes) -> None:
    assert not is_packed(theirs)


def test_backward_brings_the_last_member_first() -> None:
    assert [text for _, text in backward(FILE)] == TEXTS[::-1]


def test_the_text_before_an_error_is_read() -> None:
    """Up to 64 KB of good text was kept by zlib when an error came behind it."""
    text = b"".join(b"line %d\n" % number for number in range(20_000))
    packed = pack(text)
    place = len(packed) * 9 // 10
    zeros = packed[:place] + bytes(len(packed) - place)
    *good, last = read(zeros)
    assert isinstance(last, TornError)
    assert not any(found.is_sound for found in good if isinstance(found, FoundLine))
    assert text_of(zeros)[: len(text) * 8 // 10] == text[: len(text) * 8 // 10]


@given(st.binary(max_size=2000))
def test_bytes_of_any_kind_are_no_reason_to_fail(data: bytes) -> None:
    for found in read(b"\x1f\x8b\x08" + data):
        assert isinstance(found, FoundLine | Member | TornError)
    list(backward(data))


@given(st.lists(st.lists(st.sampled_from([b"", b"a", b"line", b"\n"])).map(b"".join)))
def test_lines_come_in_order_and_each_member_after_its_own(contents: list[bytes]) -> None:
    whole = [content + b"\n" * (not content.endswith(b"\n")) for content in contents]
    expected: list[bytes | None] = []
    for text in whole:
        expected += [*text.splitlines(), None]
    found = read(b"".join(map(pack, whole)))
    assert [one.text if isinstance(one, FoundLine) else None for one in found] == expected


def test_of_a_torn_member_no_half_line_is_given() -> None:
    torn = pack(os.urandom(50).hex().encode() + b"\nrest")[:-9]
    line, error = read(torn)
    assert isinstance(line, FoundLine)
    assert (len(line.text), line.is_sound) == (100, False)
    assert isinstance(error, TornError)


def test_a_member_of_any_size_is_read_in_little_memory() -> None:
    """Others pack a whole archive into one member, whose check sum comes last."""
    line = b"x" * 999 + b"\n"
    packed = gzip.compress(line * 100_000, 1)
    tracemalloc.start()
    found = Counter(type(one) for one in read(packed))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 30_000_000
    assert found == {FoundLine: 100_000, Member: 1}


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


def test_a_bad_read_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(FILE)
    fd = os.open(path, os.O_WRONLY)
    try:
        with pytest.raises(OSError, match=f"Bad file descriptor: '{path}'"):
            list(read(FileBytes(fd, path)))
    finally:
        os.close(fd)


CUTTING = """
import os, sys
from pathlib import Path
from tweetdock.core.errors import TornError
from tweetdock.keep.files import bytes_of
from tweetdock.keep.archive_format import backward, pack, read
path = Path(sys.argv[1])
member = pack(os.urandom(400_000).replace(b"\\n", b"") + b"\\n")
for length in (0, len(member), 3 * len(member) + 1000):
    path.write_bytes(member * 20)
    with bytes_of(path) as forward, bytes_of(path) as back:
        found = read(forward)
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
