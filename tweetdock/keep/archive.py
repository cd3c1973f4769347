"""The archive of raw posts: one file of gzip members that is readable whatever happens."""

import errno
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from tweetdock.core.coverage import Spans
from tweetdock.core.errors import LineError, UnavailableError
from tweetdock.core.post import Span
from tweetdock.keep.archive_format import (
    ArchiveLine,
    FoundLine,
    Heading,
    backward,
    glance,
    is_packed,
    notes,
    pack,
    read,
)
from tweetdock.keep.closed_files import ClosedFiles
from tweetdock.keep.files import FileBytes, bytes_of, hold, is_at, sync_names, write_all
from tweetdock.retry import TroubleLog
from tweetdock.settings.keeping import Rotation

log = logging.getLogger(__name__)

MEMBER_BYTES = 1_000_000  # of text, before it is packed
MOST_BYTES = 16_000_000  # of text in memory, while nothing can be written

FLUSH_SECONDS = 1.0
RETRY_SECONDS = 5.0

_LARGEST_TORN = 4_000_000  # we write members of 1 MB of text; what is larger is somebody else's
_FULL = {errno.ENOSPC, errno.EDQUOT}


class OpenFile:
    """An open file, held against other daemons until it is closed; its torn end is cut off first.

    first_ms: when its first line was received; None if there is none.
    Raises UnavailableError for what will not mend itself, OSError for a full disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # What a killed TweetDock has written last is in the disk's cache only.
        self._is_synced = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd, self.first_ms = _open(path)
        except UnavailableError:
            raise
        except OSError as error:
            if error.errno in _FULL:
                raise
            raise _refused(path, error.strerror or str(error)) from error

    @property
    def stat(self) -> os.stat_result:
        """The file as it is, whatever it is called by now."""
        return os.fstat(self._fd)

    @property
    def is_in_place(self) -> bool:
        """Whether it is still what is found at its path, as far as that can be found out."""
        return is_at(self.path, self.stat)

    def append(self, member: bytes, first_ms: int | None = None) -> None:
        """Write a member whose first line was received at `first_ms`.

        When it raises OSError, a part of it may be left; it is cut off when the file is opened.
        """
        size = self.stat.st_size
        self._is_synced = False
        try:
            write_all(self._fd, member)
        except OSError:
            # Nobody should find it torn while the disk is full.
            with suppress(OSError):
                os.ftruncate(self._fd, size)
            raise
        if self.first_ms is None:
            self.first_ms = first_ms

    def sync(self) -> None:
        """See to it that what was appended outlasts a power cut.

        When it raises OSError, what was appended since it last worked may be gone: the kernel
        keeps no page that it could not write, and says nothing of it when asked again.
        """
        if not self._is_synced:
            os.fdatasync(self._fd)
            self._is_synced = True

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def _cut_torn_end(fd: int, path: Path) -> None:
    """Make an open file, which is held, one to which a member can be appended.

    No gzip reader gets past a member that a kill, a power cut or a full disk has torn. What was in
    it was not saved as seen: the sources are asked for it again. Raises UnavailableError, and
    leaves all as it is, if the file is not ours.
    """
    if not S_ISREG(os.fstat(fd).st_mode):
        raise _refused(path, "it is no file")
    buffer = FileBytes(fd, path)
    end = next((member.end or 0 for member, _ in backward(buffer)), 0)
    size = len(buffer) - end
    if not size:
        return
    head = buffer[end : end + 16]
    # After a power cut, a file may end in zeros that were to become something.
    is_ours = is_packed(head) or not head.strip(b"\0")
    if not is_ours or size > _LARGEST_TORN:
        raise _refused(path, "its end was not written by TweetDock")
    log.warning("archive: %d bytes at the end of %s were torn, and are cut off", size, path.name)
    os.ftruncate(fd, end)


def _refused(path: Path, reason: str) -> UnavailableError:
    cure = "name another file, in a folder that TweetDock may write to"
    return UnavailableError(f"TWEETDOCK_ARCHIVE={path}: {reason}", cure)


def _open(path: Path) -> tuple[int, int | None]:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    while True:
        fd = os.open(path, flags, 0o640)
        try:
            stat = os.fstat(fd)
            # Logrotate may rename it between the opening and the holding.
            hold(fd, path)
            if is_at(path, stat):
                _cut_torn_end(fd, path)
                if not stat.st_size:
                    sync_names(path.parent)
                return fd, _first_ms(fd, path)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _first_ms(fd: int, path: Path) -> int | None:
    for found in read(FileBytes(fd, path)):
        if isinstance(found, FoundLine):
            with suppress(LineError):
                return glance(found.text).received_ms
    return None


class _Waiting(NamedTuple):
    received_ms: int
    text: bytes


class Archive:
    """The file at `path`, to which lines are appended, and those that it was before.

    One whole gzip member is written at a time, at most a second or 1 MB of text after the line
    came: a kill or a power cut costs that second, which the state, saved only after `sync`, asks
    the sources for again. Trouble with the disk never raises: lines wait in memory, up to 16 MB of
    text; those that come beyond that are dropped and counted, and no stretch of time that reaches
    back to them is noted as complete. `closed` is called when a file is not written to any more.
    All methods belong to one thread.

    blind_until_ms: no stretch is noted that begins before, as posts from then are known to the
    gauge and so will not come again, but are not here; the next start has to know it, too.
    Raises UnavailableError if it cannot be opened, unless for a full disk, which it waits out.
    """

    def __init__(
        self,
        path: Path,
        rotation: Rotation,
        closed: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._rotation = rotation
        self._closed = closed
        self._monotonic = monotonic
        self._closed_files = ClosedFiles(path)
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._covers: dict[str, Spans] = {}
        self._unsynced = self._lost = 0  # lines
        self._unsynced_until_ms = 0
        self.blind_until_ms = 0
        self._due = math.inf
        self._retry_at = -math.inf
        self._troubles = TroubleLog(log, "archive")
        self._rename_troubles = TroubleLog(log, "archive")
        self._open_file: OpenFile | None = None
        try:
            self._open_file = OpenFile(path)
        except UnavailableError:
            raise
        except OSError as error:
            self._fail(error)

    def append(self, lines: Iterable[ArchiveLine]) -> None:
        """Add lines, to be written soon."""
        for line in lines:
            text = line.as_bytes()
            # The post is not of a later time, wherever our clock is.
            latest_ms = max(line.received_ms, line.at_ms)
            if self._waiting_bytes + len(text) > MOST_BYTES:
                size = f"{MOST_BYTES // 1_000_000} MB"
                self._lose(1, latest_ms, f"{size} wait to be written: new posts are not archived")
            else:
                self._unsynced_until_ms = max(self._unsynced_until_ms, latest_ms)
                self._waiting.append(_Waiting(line.received_ms, text))
                self._waiting_bytes += len(text)
        if self._waiting:
            self._due = min(self._due, self._monotonic() + FLUSH_SECONDS)

    def cover(self, source: str, span: Span) -> None:
        """Note that the lines up to here are all that `source` had in `span`.

        That is written with the next lines, or as the file is closed; the state knows it sooner.
        """
        span = Span(max(span.since_ms, self.blind_until_ms), span.until_ms)
        if span.since_ms < span.until_ms:
            self._covers.setdefault(source, Spans()).add(span)

    def knows_nothing_before(self, ms: int) -> None:
        """The archive lacks posts from before that are known, so that they do not come again."""
        self.blind_until_ms = max(self.blind_until_ms, ms)

    def due_seconds(self) -> float:
        """In how many seconds `flush` is due; infinite while nothing waits."""
        now = self._monotonic()
        is_due = self._open_file is None or self._waiting_bytes >= MEMBER_BYTES
        return max(now if is_due else self._due, self._retry_at, now) - now

    def flush(self, now_ms: int) -> None:
        """Write all lines that wait, into a new file if the open one is full, renamed or removed.

        After a failure nothing is tried for some seconds. It does no harm to call it at any time;
        midnight or a rename on a quiet day is noticed by the next call.
        """
        if self._monotonic() >= self._retry_at:
            with self._noting_failure():
                self._write(now_ms)

    def sync(self, now_ms: int) -> bool:
        """Write all lines that wait, past the disk's cache; whether all outlast a power cut."""
        self.flush(now_ms)
        with self._noting_failure():
            if self._open_file is not None:
                self._sync(self._open_file)
            return not self._waiting
        return False

    def recent(self, is_known: Callable[[str], bool], since_ms: int) -> Iterator[str]:
        """The versions of lines on disk that are not known, as they came after the last save.

        Each file is read from its end, the newest first, up to a member of which all is known, or
        received before `since_ms`. A file that cannot be read is passed over.
        """
        paths = [self._path]
        with _passing_over(self._path.parent):
            paths += reversed(self._closed_files.named())
        for path in paths:
            with _passing_over(path), bytes_of(path) as buffer:
                for _, text in backward(buffer):
                    lines = _headings(text)
                    unknown = [one.version for one in lines if not is_known(one.version)]
                    is_old = all(one.received_ms < since_ms for one in lines)
                    if lines and (is_old or not unknown):
                        return
                    yield from unknown

    def close(self, now_ms: int) -> None:
        """Write what waits, also past the disk's cache, and close the file."""
        with self._noting_failure():
            self._write(now_ms)
            if self._open_file is not None:
                self._write_notes(self._open_file)
        if self._waiting:
            # They are asked for again: the state has never been ahead of the archive.
            log.error("archive: %d posts could not be written", len(self._waiting))
        self._close_file()

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._fail(error)

    def _write(self, now_ms: int) -> None:
        while True:
            open_file = self._open_file = self._open_file or OpenFile(self._path)
            # A new day begins with the line that waits longest.
            at_ms = self._waiting[0].received_ms if self._waiting else now_ms
            is_full = self._rotation.is_due(open_file.stat.st_size, open_file.first_ms, at_ms)
            if is_full and open_file.is_in_place:
                self._sync(open_file)  # a file with the name of a closed one is not synced again
                self._rename(now_ms)
            if not open_file.is_in_place:
                self._leave(open_file)
                continue
            if not self._waiting:
                break
            self._write_member(open_file)
            if not self._waiting:
                self._write_notes(open_file)
        self._due = math.inf
        self._succeed()

    def _write_member(self, open_file: OpenFile) -> None:
        number = size = 0
        for line in self._waiting:
            if number and size + len(line.text) > MEMBER_BYTES:
                break
            number, size = number + 1, size + len(line.text)
        text = b"".join(self._waiting[index].text for index in range(number))
        open_file.append(pack(text), self._waiting[0].received_ms)
        for _ in range(number):
            self._waiting.popleft()
        self._waiting_bytes -= size
        self._unsynced += number

    def _write_notes(self, open_file: OpenFile) -> None:
        """Write the notes; they speak of all lines before them."""
        for note in notes(self._covers):
            open_file.append(pack(b"", note))
        self._covers.clear()

    def _rename(self, now_ms: int) -> None:
        try:
            self._path.rename(self._closed_files.new_name(now_ms))
        except FileNotFoundError:
            pass  # logrotate was quicker
        except OSError as error:
            reason = f"{self._path.name} cannot be renamed ({error.strerror})"
            self._rename_troubles.failed(reason, FLUSH_SECONDS, needs_owner=True)
        else:
            self._rename_troubles.worked()

    def _leave(self, open_file: OpenFile) -> None:
        """Close a file that is at its path no more."""
        try:
            if not open_file.stat.st_nlink:
                log.warning("archive: %s was removed, a new one is begun", self._path.name)
            elif not self._waiting:
                self._write_notes(open_file)
        finally:
            self._close_file()
            self._closed()

    def _sync(self, open_file: OpenFile) -> None:
        try:
            open_file.sync()
        except OSError as error:
            # Of the same trouble with nothing written meanwhile, enough was said.
            if self._unsynced:
                reason = error.strerror or error
                how = f"the last posts written may be lost ({reason})"
                self._lose(self._unsynced, self._unsynced_until_ms, how)
                for spans in self._covers.values():
                    spans.forget_before(self.blind_until_ms)
            raise
        finally:
            self._unsynced = 0
        if not self._waiting:
            self._unsynced_until_ms = 0

    def _lose(self, number: int, latest_ms: int, how: str) -> None:
        """Count lines up to `latest_ms` that are not on the disk, and do not come again."""
        if not self._lost:
            log.error("archive: %s", how)
        self._lost += number
        self.knows_nothing_before(latest_ms)

    def _close_file(self) -> None:
        open_file, self._open_file = self._open_file, None
        if open_file is None:
            return
        with suppress(OSError):
            try:
                self._sync(open_file)
            finally:
                open_file.close()

    def _fail(self, error: OSError) -> None:
        self._retry_at = self._monotonic() + RETRY_SECONDS
        self._close_file()  # what was torn is cut off when it is opened
        reason = str(error)
        if not isinstance(error, UnavailableError):
            reason = f"{self._path} cannot be written: {os.strerror(error.errno or 0)}"
        self._troubles.failed(reason, RETRY_SECONDS, needs_owner=True)

    def _succeed(self) -> None:
        self._retry_at = -math.inf
        self._troubles.worked()
        if self._lost:
            log.error("archive: %d posts may be lost, and are not noted as seen", self._lost)
            self._lost = 0


@contextmanager
def _passing_over(path: Path) -> Iterator[None]:
    """Pass over what cannot be read, without a word if it is not there (any more)."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("archive: %s cannot be read (%s)", path, error.strerror or error)


def _headings(text: bytes) -> list[Heading]:
    found = []
    for line in text.split(b"\n"):
        with suppress(LineError):
            found.append(glance(line))
    return found
