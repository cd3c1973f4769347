"""The open file of an archive, to which whole members are appended, each wholly or not at all."""

import errno
import logging
import os
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from tweetdock.core.errors import LineError, UnavailableError
from tweetdock.keep.archive_format import (
    FoundLine,
    backward,
    glance,
    is_packed,
    read,
)
from tweetdock.keep.files import FileBytes, hold, is_at, sync_names, write_all

log = logging.getLogger(__name__)

_LARGEST_TORN = 4_000_000  # we write members of 1 MB of text; what is larger is somebody else's
_FULL = {errno.ENOSPC, errno.EDQUOT}


class OpenFile:
    """An open file, held against other daemons until it is closed; its torn end is cut off first.

    first_ms: when its first line was received; None if there is none.
    is_synced: whether all that is in it outlasts a power cut.
    Raises UnavailableError for what will not mend itself, OSError for a full disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # What a killed TweetDock has written last is in the disk's cache only.
        self.is_synced = False
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
        self.is_synced = False
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
        if not self.is_synced:
            os.fdatasync(self._fd)
            self.is_synced = True

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def cut_torn_end(fd: int, path: Path) -> None:
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
                cut_torn_end(fd, path)
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
