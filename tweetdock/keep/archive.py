"""The archive of raw posts: one file of gzip members that is readable whatever happens."""

import errno
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tweetdock.core.coverage import Spans
from tweetdock.core.errors import LineError, UnavailableError
from tweetdock.core.post import Span
from tweetdock.keep.archive_format import (
    ArchiveLine,
    ArchivePosition,
    Buffer,
    Covers,
    backward,
    glance,
    may_be_gzip,
    pack,
    write_note,
)
from tweetdock.keep.closed_files import ClosedFiles
from tweetdock.keep.files import bytes_of
from tweetdock.keep.open_file import OpenFile
from tweetdock.retry import TroubleLog
from tweetdock.settings.keeping import Rotation

log = logging.getLogger(__name__)

MEMBER_BYTES = 1_000_000  # of text, before it is packed
MOST_BYTES = 16_000_000  # of text in memory, while nothing can be written

FLUSH_SECONDS = 1.0
NOTE_SECONDS = 300.0
RETRY_SECONDS = 5.0
PATH_CHECK_SECONDS = 60.0  # between two looks at whether the file is still at its path


class _Waiting(NamedTuple):
    received_ms: int
    latest_ms: int  # the post is not of a later time, wherever our clock is
    text: bytes


class Backlog:
    """Lines and notes in memory, as many as `MOST_BYTES` of text.

    Beyond that new lines are dropped: a hole in the archive is one in its notes too. A source that
    looks back over it would call it complete, as its posts are known already and never come again;
    so no stretch is noted that begins before the end of the latest hole.

    blind_until_ms: that end; 0 if there is no hole.
    """

    def __init__(self) -> None:
        self.size = 0
        self.blind_until_ms = 0
        self._lines: deque[_Waiting] = deque()
        self._covers: Covers = {}
        self._unsafe = 0
        self._unsafe_ms = 0

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def first_ms(self) -> int:
        """When the line that waits longest was received."""
        return self._lines[0].received_ms

    @property
    def has_notes(self) -> bool:
        """Whether a stretch of time is to be noted."""
        return bool(self._covers)

    def add(self, lines: Iterable[ArchiveLine]) -> int:
        """Add lines; how many were dropped."""
        dropped = 0
        for line in lines:
            text = line.as_bytes()
            latest_ms = max(line.received_ms, line.at_ms)
            # After one line that found no room, a shorter one might: that would be out of order.
            if dropped or self.size + len(text) > MOST_BYTES:
                dropped += 1
                self.knows_nothing_before(latest_ms)
                continue
            self._lines.append(_Waiting(line.received_ms, latest_ms, text))
            self.size += len(text)
        return dropped

    def cover(self, source: str, span: Span) -> None:
        """Note that the lines up to here are all that `source` had in `span`."""
        spans = tuple(Spans((*self._covers.get(source, ()), self._clipped(span))))
        if spans:
            self._covers = {**self._covers, source: spans}

    def knows_nothing_before(self, ms: int) -> None:
        """Note no stretch, from now on, that begins before."""
        self.blind_until_ms = max(self.blind_until_ms, ms)

    def next_member(self) -> tuple[int, bytes, bytes]:
        """What the next member is to hold: a number of lines, their text, and the note.

        The last one only has a note: it speaks of all lines before it.
        """
        number = size = 0
        for line in self._lines:
            if number and size + len(line.text) > MEMBER_BYTES:
                break
            number, size = number + 1, size + len(line.text)
        text = b"".join(self._lines[index].text for index in range(number))
        note = write_note(self._covers)[0] if number == len(self._lines) else b""
        return number, text, note

    def written(self, number: int) -> None:
        """The next member, of that many lines, has been written."""
        if number == len(self._lines):
            self._covers = write_note(self._covers)[1]
        for _ in range(number):
            line = self._lines.popleft()
            self.size -= len(line.text)
            self._unsafe_ms = max(self._unsafe_ms, line.latest_ms)
        self._unsafe += number

    def synced(self) -> None:
        """What was written is past the disk's cache."""
        self._unsafe = self._unsafe_ms = 0

    def lost(self) -> int:
        """What was written since then may be gone: how many lines. It is not noted as seen."""
        number = self._unsafe
        self.knows_nothing_before(self._unsafe_ms)
        clipped = {
            source: tuple(Spans(map(self._clipped, of))) for source, of in self._covers.items()
        }
        self._covers = {source: spans for source, spans in clipped.items() if spans}
        self.synced()
        return number

    def _clipped(self, span: Span) -> Span:
        return Span(max(span.since_ms, self.blind_until_ms), span.until_ms)


class Archive:
    """The file at `path`, to which lines are appended, and those that it was before.

    One whole gzip member is written at a time, at most a second or 1 MB of text after the line
    came: a kill or a power cut costs that second, which the state, saved only after `sync`, asks
    the sources for again. Trouble with the disk never raises: lines wait in memory, up to 16 MB of
    text; those that come beyond that are dropped and counted, and no stretch of time that reaches
    back to them is noted as complete. `closed` is called with each file that is not written to any
    more. All methods belong to one thread.

    Raises UnavailableError if it cannot be opened, unless for a full disk, which it waits out.
    """

    def __init__(
        self,
        path: Path,
        rotation: Rotation,
        closed: Callable[[Path], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._rotation = rotation
        self._closed = closed
        self._monotonic = monotonic
        self._closed_files = ClosedFiles(path)
        self._backlog = Backlog()
        self._due = self._note_due = math.inf
        self._retry_at = self._rotate_at = -math.inf
        self._check_at = monotonic() + PATH_CHECK_SECONDS
        self._is_away = self._owes_sync = self._has_lost = False
        self._dropped = 0
        self._troubles = TroubleLog(log, "archive")
        self._open_file: OpenFile | None = None
        try:
            self._open_file = OpenFile(path)
        except UnavailableError:
            raise
        except OSError as error:
            self._fail(error)

    def append(self, lines: Iterable[ArchiveLine]) -> None:
        """Add lines, to be written soon."""
        dropped = self._backlog.add(lines)
        if dropped and not self._dropped:
            size = f"{MOST_BYTES // 1_000_000} MB"
            log.error("archive: %s wait to be written: new posts are not archived", size)
        self._dropped += dropped
        if self._backlog:
            self._due = min(self._due, self._monotonic() + FLUSH_SECONDS)

    def cover(self, source: str, span: Span) -> None:
        """Note that the lines up to here are all that `source` had in `span`."""
        self._backlog.cover(source, span)
        if self._backlog.has_notes:
            self._note_due = min(self._note_due, self._monotonic() + NOTE_SECONDS)

    def due_seconds(self) -> float:
        """In how many seconds `flush` is due; infinite while nothing waits."""
        now = self._monotonic()
        is_due = self._open_file is None or self._backlog.size >= MEMBER_BYTES
        due = now if is_due else min(self._due, self._note_due)
        return max(due, self._retry_at, now) - now

    def knows_nothing_before(self, ms: int) -> None:
        """The archive lacks posts from before that are known, so that they do not come again."""
        self._backlog.knows_nothing_before(ms)

    @property
    def blind_until_ms(self) -> int:
        """No stretch is noted that begins before; the next start has to know it, too."""
        return self._backlog.blind_until_ms

    def flush(self, now_ms: int) -> None:
        """Write all lines that wait, and begin a new file if the rotation says so.

        After a failure nothing is tried for some seconds. It does no harm to call it at any time;
        the midnight of a quiet day is noticed by the next call.
        """
        now = self._monotonic()
        if now >= self._retry_at:
            with self._noting_failure():
                self._write(now_ms, with_notes=now >= self._note_due)

    def sync(self, now_ms: int) -> bool:
        """Write all lines that wait, past the disk's cache; whether all outlast a power cut.

        If some that were written may be lost, it says so once.
        """
        self._owes_sync = True
        self.flush(now_ms)
        has_lost, self._has_lost = self._has_lost, False
        # A file that was closed is past the cache, or was lost.
        is_safe = self._open_file is None or self._open_file.is_synced
        return is_safe and not self._backlog and not has_lost

    def reopen(self, now_ms: int) -> None:
        """Write what waits, and go on in the file that is at the path now, a new one if none is."""
        self._is_away = False
        with self._noting_failure():
            # What is written into a file that was deleted is lost.
            if self._open_file is not None and self._open_file.stat.st_nlink:
                self._write(now_ms, with_notes=not self._open_file.is_in_place)
        with self._noting_failure():
            if self._open_file is None or not self._open_file.is_in_place:
                self._leave_renamed_file()
                self._write(now_ms)

    @property
    def position(self) -> ArchivePosition | None:
        """The end of the open file, up to which all is written; None while no file is open."""
        try:
            stat = self._open_file.stat if self._open_file is not None else None
        except OSError:
            return None
        return stat and ArchivePosition(str(self._path), stat.st_ino, stat.st_size)

    def recent(self, position: ArchivePosition | None, since_ms: int) -> Iterator[str]:
        """The versions of all lines on disk that were written after `position`.

        If that is in none of the files any more, those of the lines that were received at
        `since_ms` or later. No more is read than that takes: each file from its end, the newest
        first. A file that cannot be read is passed over.
        """
        paths = _newest_first(self._closed_files)
        known = None
        if position and position.path == str(self._path):
            known = _find(position, paths)
        for path in paths:
            is_enough = path == known
            # Logrotate may remove it meanwhile; and before the first post there is none.
            try:
                with suppress(FileNotFoundError), bytes_of(path) as buffer:
                    if position and known:
                        yield from _after(buffer, position.size if path == known else 0)
                    else:
                        is_enough = yield from _since(buffer, since_ms)
            except OSError as error:
                _warn(path, error)
            if is_enough:
                return

    def close(self, now_ms: int) -> None:
        """Write what waits, also past the disk's cache, and close the file."""
        with self._noting_failure():
            self._write(now_ms, with_notes=True)
        if self._backlog:
            # They are asked for again: the state has never been ahead of the archive.
            log.error("archive: %d posts could not be written", len(self._backlog))
        self._close_file()

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._fail(error)

    def _write(self, now_ms: int, *, with_notes: bool = False) -> None:
        self._check_path()
        open_file = self._open_file = self._open_file or OpenFile(self._path)
        open_file = self._rotate(open_file, now_ms)
        while self._backlog:
            self._write_member(open_file)
            open_file = self._rotate(open_file, now_ms)
        if with_notes and self._backlog.has_notes:
            self._write_member(open_file)
        if self._owes_sync:
            self._sync(open_file)
            self._owes_sync = False
        self._succeed()

    def _sync(self, open_file: OpenFile) -> None:
        try:
            open_file.sync()
        except OSError as error:
            self._lose(error)
            raise
        self._backlog.synced()

    def _lose(self, error: OSError) -> None:
        self._has_lost = True
        # Of the same trouble with nothing written meanwhile, enough was said.
        if number := self._backlog.lost():
            reason = error.strerror or error
            log.error("archive: the last %d posts written may be lost (%s)", number, reason)

    def _write_member(self, open_file: OpenFile) -> None:
        first_ms = self._backlog.first_ms if self._backlog else None
        number, text, note = self._backlog.next_member()
        open_file.append(pack(text, note), first_ms)
        self._backlog.written(number)
        if not self._backlog:
            self._due = math.inf
        if not self._backlog.has_notes:
            self._note_due = math.inf

    def _rotate(self, open_file: OpenFile, now_ms: int) -> OpenFile:
        """The file to go on with: a new one if that is due before the line that waits longest."""
        at_ms = self._backlog.first_ms if self._backlog else now_ms
        is_due = self._rotation.is_due(open_file.stat.st_size, open_file.first_ms, at_ms)
        if not is_due or self._monotonic() < self._rotate_at or not open_file.is_in_place:
            return open_file
        if not self._backlog and self._backlog.has_notes:
            self._write_member(open_file)
        # A file with the name of a closed one is not synced again; a loss is noted.
        with suppress(OSError):
            self._sync(open_file)
        target = self._closed_files.new_name(now_ms)
        try:
            self._path.rename(target)
        except FileNotFoundError:
            return open_file  # logrotate was quicker; its SIGHUP is on the way
        except OSError as error:
            log.error("archive: %s cannot be renamed (%s)", self._path.name, error.strerror)  # noqa: TRY400 - the owner is to act, not to debug
            self._rotate_at = self._monotonic() + PATH_CHECK_SECONDS
            return open_file
        self._close_file()
        self._closed(target)
        self._open_file = OpenFile(self._path)
        return self._open_file

    def _check_path(self) -> None:
        """Notice that the file was removed or renamed and no SIGHUP came."""
        open_file, now = self._open_file, self._monotonic()
        if open_file is None or (open_file.stat.st_nlink and now < self._check_at):
            return
        self._check_at = now + PATH_CHECK_SECONDS
        was_away, self._is_away = self._is_away, not open_file.is_in_place
        # Logrotate renames it a moment before it sends SIGHUP: only the second check counts.
        if self._is_away and (was_away or not open_file.stat.st_nlink):
            log.warning("archive: %s was removed or renamed, a new one is begun", self._path.name)
            self._leave_renamed_file()

    def _leave_renamed_file(self) -> None:
        """Close a file that is not at the path any more, wherever it is now."""
        self._is_away = False
        if self._open_file is None:
            return
        stat = self._open_file.stat
        self._close_file()
        path = self._closed_files.find(stat)
        if path is not None:
            self._closed(path)

    def _close_file(self) -> None:
        open_file, self._open_file = self._open_file, None
        if open_file is None:
            return
        try:
            open_file.close()
        except OSError as error:
            self._lose(error)
        else:
            self._backlog.synced()

    def _fail(self, error: OSError) -> None:
        self._retry_at = self._monotonic() + RETRY_SECONDS
        is_gone = error.errno == errno.ESTALE
        if self._open_file is not None and (is_gone or not self._open_file.is_whole):
            # It is mended when it is opened.
            self._close_file()
        reason = str(error)
        if not isinstance(error, UnavailableError):
            reason = f"{self._path} cannot be written: {os.strerror(error.errno or 0)}"
        self._troubles.failed(reason, RETRY_SECONDS, needs_owner=True)

    def _succeed(self) -> None:
        self._retry_at = -math.inf
        self._troubles.worked()
        if self._dropped:
            log.error("archive: %d posts were not archived, nor noted as seen", self._dropped)
            self._dropped = 0


def _newest_first(closed_files: ClosedFiles) -> list[Path]:
    try:
        return [closed_files.path, *reversed(closed_files.closed())]
    except OSError as error:
        _warn(closed_files.path.parent, error)
        return [closed_files.path]


def _find(position: ArchivePosition, paths: list[Path]) -> Path | None:
    for path in paths:
        try:
            if path.stat().st_ino != position.inode:
                continue
            with bytes_of(path) as buffer:
                # A removed file's number is given to a new one. Where no member can have ended
                # it is another file, or it was cut: then only time tells what is newer.
                is_end = len(buffer) >= position.size
                head = buffer[position.size : position.size + 3]
                return path if is_end and may_be_gzip(head) else None
        except FileNotFoundError:
            continue
        except OSError as error:
            _warn(path, error)
    return None


def _after(buffer: Buffer, size: int) -> Iterator[str]:
    for member, text in backward(buffer):
        if member.start < size:
            return
        for _, version in _glances(text):
            yield version


def _since(buffer: Buffer, since_ms: int) -> Generator[str, None, bool]:
    """The versions of what was received since; whether the file reaches back far enough."""
    for _, text in backward(buffer):
        latest = None
        for received_ms, version in _glances(text):
            latest = max(latest or received_ms, received_ms)
            if received_ms >= since_ms:
                yield version
        if latest is not None and latest < since_ms:
            return True
    return False


def _glances(text: bytes) -> Iterator[tuple[int, str]]:
    for line in text.split(b"\n"):
        try:
            yield glance(line)
        except LineError:
            continue


def _warn(path: Path, error: OSError) -> None:
    log.warning("archive: %s cannot be read (%s)", path, error.strerror or error)
