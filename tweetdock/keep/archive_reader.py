"""What can be read of a file of the archive: its lines, and what is damaged or not ours."""

import errno
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import TypeVar

from tweetdock.core.coverage import Spans
from tweetdock.core.errors import ArchiveError, LineError, TornError
from tweetdock.core.post import Span
from tweetdock.keep.archive_format import (
    END_OF_TIME_MS,
    ArchiveLine,
    Buffer,
    FoundLine,
    Heading,
    Member,
    backward,
    glance,
    may_be_gzip,
    read,
    read_note,
)
from tweetdock.keep.files import bytes_of

_Line = TypeVar("_Line", ArchiveLine, Heading | ArchiveLine)


class ArchiveReader:
    """A file to be gone through once, line by line; what it had in it is known after that.

    lines: how many were read. damaged: at how many places it is. foreign: lines that no TweetDock
    wrote. covers: which stretches of time it still has completely, for each source.
    first_ms, last_ms: when the first and the last line in time were received (Unix ms); None if
    there is none.
    """

    def __init__(self, path: Path, buffer: Buffer) -> None:
        self.path = path
        self.lines = self.damaged = self.foreign = 0
        self.covers: dict[str, Spans] = defaultdict(Spans)
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self._buffer = buffer
        self._is_torn = False
        self._trusted_ms = -inf

    def __iter__(self) -> Iterator[tuple[FoundLine, ArchiveLine]]:
        return self._read(lambda found: ArchiveLine.parse(found.text))

    def skim(self) -> None:
        """Go through all of it for what it has in it only: ten times as fast."""
        deque(self._read(_glance), maxlen=0)

    def _read(self, parse: Callable[[FoundLine], _Line]) -> Iterator[tuple[FoundLine, _Line]]:
        for found in read(self._buffer):
            if isinstance(found, Member):
                self._note(found)
            elif isinstance(found, TornError):
                self._note_damage()
            elif found.text.strip():
                try:
                    line = parse(found)
                except LineError:
                    self.foreign += found.is_sound
                    continue
                self._count(line.received_ms)
                if found.is_sound and self._trusted_ms == inf:
                    # Nothing that was lost can have been made after this was received; what a
                    # later note says of the time before may rest on what was lost.
                    self._trusted_ms = line.received_ms
                yield found, line

    def _count(self, received_ms: int) -> None:
        self.lines += 1
        if 0 <= received_ms < END_OF_TIME_MS:
            self.first_ms = min(self.first_ms or received_ms, received_ms)
            self.last_ms = max(self.last_ms or 0, received_ms)

    def _note_damage(self) -> None:
        # What looks like a member inside a torn one makes no second damaged place.
        self.damaged += not self._is_torn
        self._is_torn = True
        self._trusted_ms = inf

    def _note(self, member: Member) -> None:
        self._is_torn = False
        if self._trusted_ms == inf:
            return
        for source, spans in read_note(member.note).items():
            for since, until in spans:
                if until > self._trusted_ms:
                    self.covers[source].add(Span(int(max(since, self._trusted_ms)), until))


def _glance(found: FoundLine) -> Heading | ArchiveLine:
    # Of what may be garbled, the heading is not enough.
    return glance(found.text) if found.is_sound else ArchiveLine.parse(found.text)


@contextmanager
def opened(path: Path) -> Iterator[ArchiveReader]:
    """Open a file of the archive; ArchiveError if it is none or cannot be read, also later on."""
    try:
        with bytes_of(path) as buffer:
            if not may_be_gzip(buffer) and not any(backward(buffer)):
                raise ArchiveError(
                    f"{path} is no gzip file", "name archives as TweetDock writes them"
                )
            yield ArchiveReader(path, buffer)
    except OSError as error:
        # What goes wrong with the lines meanwhile is not about this file.
        if str(error.filename) != str(path):
            raise
        raise ArchiveError(f"{path} cannot be read: {error.strerror}") from error


def read_archives(
    paths: Iterable[Path], readers: list[ArchiveReader]
) -> Iterator[tuple[FoundLine, ArchiveLine]]:
    """The lines of files of archives, one after the other; `readers` is added the reader of each.

    Raises ArchiveError as `opened`.
    """
    for path in paths:
        with opened(path) as reader:
            yield from reader
            readers.append(reader)


def read_lines(path: Path) -> Iterator[bytes | TornError]:
    """The lines of any file, packed or not, without their ends; a TornError where it is damaged.

    Raises OSError if the file cannot be read.
    """
    # A pipe that nobody writes into would keep us waiting as soon as it is opened.
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "no file, but a pipe or a device")
    with bytes_of(path) as buffer:
        for found in read(buffer, is_gzip=may_be_gzip(buffer)):
            if isinstance(found, TornError):
                yield found
            elif isinstance(found, FoundLine):
                yield found.text
