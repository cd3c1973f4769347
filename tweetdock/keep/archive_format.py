"""The archive's format: lines and notes of what is complete, in gzip members (RFC 1952)."""

import json
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from tweetdock.core.errors import LineError, TornError
from tweetdock.core.post import Post, Raw, Span
from tweetdock.core.times import parse_ms, rfc3339
from tweetdock.keep.files import FileBytes

_MAGIC = b"\x1f\x8b\x08"  # gzip, deflated
# Flags, no time, no hints, unknown system: what Python's own gzip and the command write differs.
_PLAIN, _NOTED = (_MAGIC + flags + bytes(5) + b"\xff" for flags in (b"\0", b"\4"))
# Of the extra field: its length, our mark in it, length of the note.
_NOTE_HEAD, _NOTE_ID = struct.Struct("<H2sH"), b"TD"
_TAIL = struct.Struct("<II")  # CRC-32 and length of the text
_PIECE = 1 << 12  # of which at most 4 MB come
_BLOCK = 1 << 18
_MOST_HELD = 1 << 22  # of text; we write members of 1 MB
_MOST_SPANS = 1000  # about 35 bytes each: far from the 65,531 that a gzip header has room for

LONGEST_LINE = 8 << 20  # bytes: a whole document may stand in one line

_HEADING = re.compile(
    rb'\{"received": "(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)", "source": "[^"\\]*", '
    rb'"version": ("(?:[^"\\]|\\.)*"), '
)

END_OF_TIME_MS = 253_402_300_800_000  # the year 10000, which RFC 3339 cannot write

Covers = Mapping[str, tuple[Span, ...]]
Buffer = bytes | FileBytes


def pack(text: bytes, note: bytes = b"") -> bytes:
    """A whole member; `note` goes into its extra field, which `zcat` does not show."""
    head = _PLAIN
    if note:
        head = _NOTED + _NOTE_HEAD.pack(len(note) + 4, _NOTE_ID, len(note)) + note
    deflated = zlib.compress(text, 6, wbits=-zlib.MAX_WBITS)
    return head + deflated + _TAIL.pack(zlib.crc32(text), len(text) & 0xFFFFFFFF)


def is_packed(head: bytes) -> bool:
    """Whether these bytes, as far as they go, may begin a member that `pack` has made."""
    head = head[: len(_PLAIN)]
    return _PLAIN.startswith(head) or _NOTED.startswith(head)


class Member:
    """The gzip member that begins at `start`; iterating inflates it piece by piece.

    end: where the member ended, known once it has been read to the end.
    Iterating raises TornError where there is no whole member.
    """

    def __init__(self, buffer: Buffer, start: int) -> None:
        self._buffer = buffer
        self.start = start
        self.end: int | None = None

    def __iter__(self) -> Iterator[bytes]:
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        position = self.start
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
            yield text
        self.end = position - len(inflater.unused_data)

    @property
    def note(self) -> bytes:
        """What `pack` was given; empty in other people's files."""
        at = self.start + len(_NOTED) + _NOTE_HEAD.size
        head = self._buffer[self.start : at]
        if not head.startswith(_NOTED) or head[12:14] != _NOTE_ID:
            return b""
        return self._buffer[at : at + int.from_bytes(head[14:], "little")]


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
        member = Member(buffer, start)
        try:
            text = b"".join(member)
        except TornError:
            end = start + len(_MAGIC) - 1
        else:
            yield member, text
            end = start


class FoundLine(NamedTuple):
    """A line without its end; is_sound: the check sum says that it is as it was written."""

    text: bytes
    is_sound: bool


def read(buffer: Buffer, *, is_gzip: bool = True) -> Iterator[FoundLine | Member | TornError]:
    """Everything readable, in order: the lines of each member, then the member itself.

    In place of what is torn comes its TornError, and reading goes on at the next member; so it
    does in place of a line that is longer than any document.
    """
    rest = b""
    for text, end in _parts(buffer) if is_gzip else _blocks(buffer):
        is_sound = not isinstance(end, TornError)
        *whole, rest = (rest + text).split(b"\n")
        for line in whole:
            yield FoundLine(line, is_sound)
        if len(rest) > LONGEST_LINE:
            rest = b""
            yield TornError(f"a line of more than {LONGEST_LINE >> 20} MB")
        if end is None:
            continue
        # Others divide a text anywhere, also amid a line, which goes on in the next member; but
        # not past a torn one.
        if not is_sound:
            rest = b""
        yield end
    if rest:
        yield FoundLine(rest, is_sound=True)


def _parts(buffer: Buffer) -> Iterator[tuple[bytes, Member | TornError | None]]:
    """The text of each member with what it ends in; None: there is more of it than is held."""
    position = 0
    while 0 <= position < len(buffer):
        member, text = Member(buffer, position), bytearray()
        # Its check sum comes last; a larger member is somebody else's.
        try:
            for piece in member:
                text += piece
                if len(text) > _MOST_HELD:
                    yield bytes(text), None
                    text.clear()
        except TornError as error:
            yield bytes(text), error
            position = buffer.find(_MAGIC, position + 1)
        else:
            yield bytes(text), member
            position = member.end or len(buffer)


def _blocks(buffer: Buffer) -> Iterator[tuple[bytes, None]]:
    for start in range(0, len(buffer), _BLOCK):
        yield buffer[start : start + _BLOCK], None


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
    def parse(cls, text: bytes) -> Self:
        """The line that was written as `text`; raises LineError for what is none."""
        try:
            found, sent = _parse(text.decode().strip())
            raw = Raw(_text(found, "version"), sent, _post(found))
            return cls(parse_ms(_text(found, "received")), _text(found, "source"), raw)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise LineError("not a line of a TweetDock archive") from error


def _parse(text: str) -> tuple[dict[str, Any], str]:
    """What a line says beside the post, and the post, to the letter if the line is as we wrote it.

    Raises ValueError, TypeError, KeyError or RecursionError for what is none.
    """
    beside, comma, sent = text.partition(', "post": ')
    if comma:
        with suppress(ValueError):
            json.loads(sent[:-1])
            return json.loads(f"{beside}{text[-1:]}"), sent[:-1]
    found = json.loads(text)
    return found, json.dumps(found["post"])


class Heading(NamedTuple):
    """When a line was received (Unix ms), and its post's version."""

    received_ms: int
    version: str


def glance(text: bytes) -> Heading:
    """What a line begins with; raises LineError.

    Of a line as we write it, which need not be whole, the post is not parsed: that takes ten
    times as long.
    """
    try:
        if match := _HEADING.match(text):
            return Heading(parse_ms(match[1].decode()), str(json.loads(match[2])))
    except ValueError as error:
        raise LineError("not a line of a TweetDock archive") from error
    line = ArchiveLine.parse(text)
    return Heading(line.received_ms, line.raw.version)


def _post(found: dict[str, Any]) -> Post | None:
    if found["key"] is None:
        return None
    created_ms = parse_ms(_text(found, "created"))
    return Post(_text(found, "key"), _text(found, "author"), created_ms)


def _text(found: dict[str, Any], name: str) -> str:
    if not isinstance(text := found[name], str):
        raise TypeError(name)
    return text


def notes(covers: Mapping[str, Iterable[Span]]) -> Iterator[bytes]:
    """Which stretches are complete, by source, in as many notes as it takes."""
    spans = [(source, span) for source, of in covers.items() for span in of]
    for start in range(0, len(spans), _MOST_SPANS):
        noted = defaultdict(list)
        for source, span in spans[start : start + _MOST_SPANS]:
            noted[source].append(span)
        yield json.dumps({"covers": noted}).encode()


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
