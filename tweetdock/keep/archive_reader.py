"""What can be read of a file of the archive: its lines, and what is damaged or not ours."""

import errno
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

from tweetdock.core.coverage import Spans
from tweetdock.core.errors import ArchiveError, LineError, TornError
from tweetdock.core.post import Span
from tweetdock.keep.archive_format import (
    END_OF_TIME_MS,
    ArchiveLine,
    Buffer,
    Member,
    glance,
    lines,
    may_be_gzip,
    pieces,
    read_note,
)
from tweetdock.keep.files import bytes_of

LONGEST_DOCUMENT = 8 << 20  # bytes: a whole document may stand in one line
_LONGEST_LINE = 1 << 24
_TOO_LONG = b"!"  # begins no line of ours, whatever follows
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A line as it was read; `text` is all of it, byte for byte, without its end.

    is_sound: the check sum says that it is as it was written.
    """

    line: ArchiveLine
    text: bytes
    is_sound: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSummary:
    """How many lines were read from a file, at how many places it is damaged, what is not ours.

    knows_coverage: whether it says which stretches of time it has completely.
    """

    path: Path
    lines: int
    damaged: int
    foreign: int
    knows_coverage: bool


class ArchiveReader:
    """A file to be gone through once, line by line; `summary` and `covers` are known after that.

    covers: which stretches of time the file still has completely, for each source.
    """

    def __init__(self, path: Path, buffer: Buffer) -> None:
        self.path = path
        self.covers: dict[str, Spans] = defaultdict(Spans)
        self._buffer = buffer
        self._lines = self._foreign = self._damaged = 0
        self._knows_coverage = False
        self._trusted_ms = -inf
        # A member's check sum comes after its text: read everything once to know beforehand.
        ends = (piece for piece in pieces(buffer) if not isinstance(piece, bytes))
        self._are_sound = bytes(isinstance(end, Member) for end in ends)

    @property
    def is_gzip(self) -> bool:
        """Whether there is anything of a gzip file in it; an empty file has nothing to object."""
        return any(self._are_sound) or may_be_gzip(self._buffer)

    @property
    def summary(self) -> FileSummary:
        """What was read so far."""
        return FileSummary(
            path=self.path,
            lines=self._lines,
            damaged=self._damaged,
            foreign=self._foreign,
            knows_coverage=self._knows_coverage,
        )

    def __iter__(self) -> Iterator[ReadLine]:
        for text, is_sound in self._raw_lines():
            try:
                line = ArchiveLine.parse(text)
            except LineError:
                self._foreign += is_sound
                continue
            self._count(line.received_ms, is_sound=is_sound)
            yield ReadLine(line, text.removesuffix(b"\n"), is_sound)

    def times(self) -> Iterator[int]:
        """When each line was received, instead of the lines: ten times as fast."""
        for text, is_sound in self._raw_lines():
            try:
                # Of what may be cut off or garbled, the heading is not enough.
                if is_sound and text.endswith(b"\n"):
                    received_ms, _ = glance(text)
                else:
                    received_ms = ArchiveLine.parse(text).received_ms
            except LineError:
                self._foreign += is_sound
                continue
            self._count(received_ms, is_sound=is_sound)
            yield received_ms

    def _raw_lines(self) -> Iterator[tuple[bytes, bool]]:
        """What should be lines, with their ends, and whether each is sound."""
        are_sound = iter(self._are_sound)
        is_sound, was_sound = bool(next(are_sound, 0)), True
        rest = b""
        for piece in lines(self._buffer):
            if isinstance(piece, bytes):
                rest += piece
                if piece.endswith(b"\n"):
                    if rest.strip():
                        yield rest, is_sound
                    rest = b""
                elif len(rest) > _LONGEST_LINE:
                    rest = _TOO_LONG
                continue
            # Others divide a text anywhere, also amid a line, which goes on in the next member.
            if rest and (not is_sound or _is_line(rest)):
                yield rest, is_sound
                rest = b""
            if isinstance(piece, Member):
                self._note(piece.note)
            elif was_sound:
                # What looks like a member inside a torn one makes no second damaged place.
                self._damaged += 1
                self._trusted_ms = inf
            is_sound, was_sound = bool(next(are_sound, 0)), is_sound
        if rest.strip():
            yield rest, was_sound

    def _count(self, received_ms: int, *, is_sound: bool) -> None:
        self._lines += 1
        if is_sound and self._trusted_ms == inf:
            # Nothing that was lost can have been made after this was received; what a later
            # note says of the time before may rest on what was lost.
            self._trusted_ms = received_ms

    def _note(self, note: bytes) -> None:
        covers = read_note(note)
        self._knows_coverage |= bool(covers)
        if self._trusted_ms == inf:
            return
        for source, spans in covers.items():
            for since, until in spans:
                trusted = Span(int(max(since, self._trusted_ms)), until)
                # A gzip header has no check sum of its own.
                if 0 <= trusted.since_ms < until < END_OF_TIME_MS:
                    self.covers[source].add(trusted)


@contextmanager
def opened(path: Path) -> Iterator[ArchiveReader]:
    """Open a file of the archive; ArchiveError if it is none or cannot be read, also later on."""
    try:
        with bytes_of(path) as buffer:
            reader = ArchiveReader(path, buffer)
            if not reader.is_gzip:
                raise ArchiveError(
                    f"{path} is no gzip file: name archives as TweetDock writes them"
                )
            yield reader
    except OSError as error:
        # What goes wrong with the lines meanwhile is not about this file.
        if str(error.filename) != str(path):
            raise
        raise ArchiveError(f"{path} cannot be read: {error.strerror}") from error


def _is_line(text: bytes) -> bool:
    try:
        ArchiveLine.parse(text)
    except LineError:
        return False
    return True


def read_lines(path: Path) -> Iterator[bytes | TornError]:
    """The lines of a file, without their ends; a TornError in place of what is damaged.

    So is a line that is longer than any document. Raises OSError if the file cannot be read.
    """
    # A pipe that nobody writes into would keep us waiting as soon as it is opened.
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "no file, but a pipe or a device")
    with bytes_of(path) as buffer:
        rest = bytearray()
        for piece in pieces(buffer) if may_be_gzip(buffer) else _blocks(buffer):
            if isinstance(piece, bytes):
                head, end, tail = piece.rpartition(b"\n")
                if end:
                    yield from (bytes(rest) + head).split(b"\n")
                    rest.clear()
                rest += tail
                if len(rest) > LONGEST_DOCUMENT:
                    rest.clear()
                    yield TornError(f"a line of more than {LONGEST_DOCUMENT >> 20} MB")
                continue
            # A line may go on in the next member, but not past a torn one.
            if _is_whole(rest):
                yield bytes(rest)
                rest.clear()
            if isinstance(piece, TornError):
                rest.clear()
                yield piece
        if rest:
            yield bytes(rest)


def _blocks(buffer: Buffer) -> Iterator[bytes | Member | TornError]:
    for start in range(0, len(buffer), _BLOCK):
        yield buffer[start : start + _BLOCK]


def _is_whole(text: bytearray) -> bool:
    if not text.endswith(b"}"):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
