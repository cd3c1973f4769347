"""The archive's format: lines and notes of what is complete, in gzip members (RFC 1952)."""

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

from tweetdock.core.errors import LineError, TornError
from tweetdock.core.post import Post, Raw, Span
from tweetdock.core.times import parse_ms, rfc3339

_MAGIC = b"\x1f\x8b\x08"  # gzip, deflated
_HEAD = struct.Struct("<3sBIBB")  # magic, flags, time, extra flags, system
_TAIL = struct.Struct("<II")  # CRC-32 and length of the text
_HEADER_CRC, _EXTRA, _NAME, _COMMENT = 2, 4, 8, 16
_UNKNOWN_SYSTEM = 255
_NOTE_ID = b"TD"
_NOTE_HEAD = struct.Struct("<2sH")
_LONGEST_NOTE = 0xFFFF - _NOTE_HEAD.size
_PIECE = 1 << 16
_LONGEST = 1 << 24

_HEADING = re.compile(
    rb'\{"received": "(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)", "source": "[^"\\]*", '
    rb'"version": ("(?:[^"\\]|\\.)*"), '
)

END_OF_TIME_MS = 253_402_300_800_000  # the year 10000, which RFC 3339 cannot write
_MOST_SPANS = 1000  # about 35 bytes each: far from the 65,531 that a note may have

Covers = Mapping[str, tuple[Span, ...]]


class Buffer(Protocol):
    """What is read here: bytes in memory, or those of a file."""

    def __len__(self) -> int: ...
    def __getitem__(self, where: slice, /) -> bytes: ...
    def find(self, wanted: bytes, start: int, /) -> int:
        """Where it is first found at `start` or later; -1 if it is not."""

    def rfind(self, wanted: bytes, start: int, end: int, /) -> int:
        """Where it is last found, wholly between `start` and `end`; -1 if it is not."""


def pack(text: bytes, note: bytes = b"", level: int = 6) -> bytes:
    """A whole member; `note` goes into its extra field, which `zcat` does not show.

    Raises ValueError if the note is longer than a gzip header can hold, 65,531 bytes.
    """
    if len(note) > _LONGEST_NOTE:
        raise ValueError(f"a note of {len(note)} bytes does not fit into a gzip header")
    extra = _NOTE_HEAD.pack(_NOTE_ID, len(note)) + note if note else b""
    head = _HEAD.pack(_MAGIC, _EXTRA if extra else 0, 0, 0, _UNKNOWN_SYSTEM)
    if extra:
        head += struct.pack("<H", len(extra)) + extra
    deflated = zlib.compress(text, level, wbits=-zlib.MAX_WBITS)
    return head + deflated + _TAIL.pack(zlib.crc32(text), len(text) & 0xFFFFFFFF)


class Member:
    """The member that begins at `start` of `buffer`; iterating inflates it piece by piece.

    note: what `pack` was given; empty in other people's files.
    end: where the member ended, known once it has been read to the end.
    Raises TornError if there is none, and on iterating if it is not whole.
    """

    def __init__(self, buffer: Buffer, start: int) -> None:
        self._buffer = buffer
        self.start = start
        self.end: int | None = None
        try:
            magic, flags, *_ = _HEAD.unpack(buffer[start : start + _HEAD.size])
            if magic != _MAGIC:
                raise TornError(f"no gzip member at byte {start}")
            self.note, self._deflated_at = self._read_options(flags, start + _HEAD.size)
        except (struct.error, IndexError) as error:
            raise TornError(f"the gzip member at byte {start} is cut off") from error

    def __iter__(self) -> Iterator[bytes]:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        position, crc, length = self._deflated_at, 0, 0
        while not inflater.eof:
            piece = self._buffer[position : position + _PIECE]
            if not piece:
                raise TornError(f"the gzip member at byte {self.start} is cut off")
            before = inflater.copy()
            try:
                text = inflater.decompress(piece)
            except zlib.error as error:
                yield _inflate_up_to_the_error(before, piece)
                raise TornError(f"the gzip member at byte {self.start}: {error}") from error
            position += len(piece)
            crc, length = zlib.crc32(text, crc), length + len(text)
            if text:
                yield text
        position -= len(inflater.unused_data)
        end = position + _TAIL.size
        if self._buffer[position:end] != _TAIL.pack(crc, length & 0xFFFFFFFF):
            raise TornError(f"the gzip member at byte {self.start} has a wrong check sum")
        self.end = end

    def read(self) -> bytes:
        """The whole text."""
        return b"".join(self)

    def _read_options(self, flags: int, position: int) -> tuple[bytes, int]:
        note = b""
        if flags & _EXTRA:
            (size,) = struct.unpack("<H", self._buffer[position : position + 2])
            extra = self._buffer[position + 2 : position + 2 + size]
            if extra[:2] == _NOTE_ID:
                note = extra[_NOTE_HEAD.size :]
            position += 2 + size
        for flag in (_NAME, _COMMENT):
            if flags & flag:
                position = self._buffer.find(b"\0", position) + 1
                if not position:
                    raise IndexError
        return note, position + (2 if flags & _HEADER_CRC else 0)


def _inflate_up_to_the_error(inflater: "zlib._Decompress", piece: bytes) -> bytes:
    text = b""
    # zlib keeps to itself what it has made out of a piece before the error: byte by byte it comes.
    with suppress(zlib.error):
        for number in range(len(piece)):
            text += inflater.decompress(piece[number : number + 1])
    return text


def may_be_gzip(buffer: Buffer) -> bool:
    """Whether it begins as every gzip file does, as far as it goes; an empty one does."""
    return _MAGIC.startswith(buffer[: len(_MAGIC)])


def backward(buffer: Buffer) -> Iterator[tuple[Member, bytes]]:
    """Whole members with their texts, the last first, wherever they are between torn ones."""
    end = len(buffer)
    while (start := buffer.rfind(_MAGIC, 0, end)) >= 0:
        # Three bytes may be found in anything: it is a member if its check sum is right.
        try:
            member = Member(buffer, start)
            text = member.read()
        except TornError:
            end = start + len(_MAGIC) - 1
            continue
        yield member, text
        end = start


def whole_end(buffer: Buffer) -> int:
    """Where the last whole member ends; 0 if there is none.

    What comes after it, torn by a kill, a power cut or a full disk, must be cut off before
    another member is appended: no gzip reader gets past it.
    """
    for member, _ in backward(buffer):
        return member.end or 0
    return 0


def pieces(buffer: Buffer) -> Iterator[bytes | Member | TornError]:
    """Everything readable, in order: each member's pieces of text, then the member itself.

    In place of what is torn comes its TornError, and reading goes on at the next member.
    """
    position = 0
    while position < len(buffer):
        try:
            member = Member(buffer, position)
            yield from member
        except TornError as error:
            yield error
            position = buffer.find(_MAGIC, position + 1)
            if position < 0:
                return
        else:
            yield member
            position = member.end or len(buffer)


def lines(buffer: Buffer) -> Iterator[bytes | Member | TornError]:
    """The same with the lines of each member, with their ends, in place of its pieces.

    The last line of a member may have no end; one of more than 16 MB comes in several parts.
    """
    rest = b""
    for piece in pieces(buffer):
        if isinstance(piece, bytes):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line + b"\n"
            if len(rest) <= _LONGEST:
                continue
        if rest:
            yield rest
            rest = b""
        if not isinstance(piece, bytes):
            yield piece


@dataclass(frozen=True, slots=True)
class ArchiveLine:
    """One raw post of one source, and when it was received (Unix ms).

    As text it is one JSON object: `received` and `created` (RFC 3339), `source`, `version`, `key`,
    `author`, and last `post`, as the network sent it. Of a post that could not be made out, `key`,
    `author` and `created` are null.
    """

    received_ms: int
    source: str
    raw: Raw

    @property
    def at_ms(self) -> int:
        """When the post was made; when it was received if that could not be made out."""
        return self.received_ms if self.raw.post is None else self.raw.post.created_ms

    def as_text(self) -> str:
        """The line, without its end."""
        post = self.raw.post
        beside = {
            "received": rfc3339(self.received_ms),
            "source": self.source,
            "version": self.raw.version,
            "key": post and post.key,
            "author": post and post.author,
            "created": post and rfc3339(post.created_ms),
        }
        return f'{json.dumps(beside)[:-1]}, "post": {self.raw.text}}}'

    def as_bytes(self) -> bytes:
        """The line as it stands in a file, with its end."""
        # Half a surrogate pair, which JSON allows and UTF-8 does not, stays the escape it was.
        return self.as_text().encode("utf-8", "backslashreplace") + b"\n"

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """The line that was written as `text`; raises LineError for what is none."""
        try:
            found = json.loads(text)
            raw = Raw(_text(found, "version"), json.dumps(found["post"]), _post(found))
            return cls(parse_ms(_text(found, "received")), _text(found, "source"), raw)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise LineError("not a line of a TweetDock archive") from error


def glance(text: bytes) -> tuple[int, str]:
    """When a line was received (Unix ms) and its post's version; raises LineError.

    Of a line as we write it, which need not be whole, the post is not parsed: that takes ten
    times as long.
    """
    try:
        if match := _HEADING.match(text):
            return parse_ms(match[1].decode()), str(json.loads(match[2]))
    except ValueError as error:
        raise LineError("not a line of a TweetDock archive") from error
    line = ArchiveLine.parse(text)
    return line.received_ms, line.raw.version


def _post(found: dict[str, Any]) -> Post | None:
    if found["key"] is None:
        return None
    created_ms = parse_ms(_text(found, "created"))
    return Post(_text(found, "key"), _text(found, "author"), created_ms)


def _text(found: dict[str, Any], name: str) -> str:
    if not isinstance(text := found[name], str):
        raise TypeError(name)
    return text


def write_note(covers: Covers) -> tuple[bytes, Covers]:
    """A note of as much as fits into one, no bytes if there is nothing, and what did not fit."""
    room = _MOST_SPANS
    noted: dict[str, tuple[Span, ...]] = {}
    rest: dict[str, tuple[Span, ...]] = {}
    for source, spans in covers.items():
        if spans[:room]:
            noted[source] = spans[:room]
        if spans[room:]:
            rest[source] = spans[room:]
        room -= len(spans[:room])
    return json.dumps({"covers": noted}).encode() if noted else b"", rest


def read_note(note: bytes) -> Covers:
    """What a note says; nothing if it is none of ours."""
    try:
        found = json.loads(note)["covers"]
        return {
            source: tuple(Span(int(since), int(until)) for since, until in spans)
            for source, spans in found.items()
            # A gzip header has no check sum of its own: what is no time is damage.
            if all(0 <= since < until < END_OF_TIME_MS for since, until in spans)
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


class ArchivePosition(NamedTuple):
    """An end of the archive: the path it was opened at, the file's inode, and its size."""

    path: str
    inode: int
    size: int
