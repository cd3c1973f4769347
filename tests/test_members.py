"""Members of a gzip file: readable by everybody, found whole between torn ones."""

import gzip
import io
import subprocess
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.errors import TornError
from tweetdock.keep.members import Member, backward, pack, pieces, whole_end

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
