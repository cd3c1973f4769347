"""The open file of an archive, to which whole members are appended, each wholly or not at all."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from tweetdock.core.errors import LineError, UnavailableError
from tweetdock.keep.archive_format import lines
from tweetdock.keep.archive_line import glance
from tweetdock.keep.files import FileBytes, sync_folder, write_all
from tweetdock.keep.lock import hold
from tweetdock.keep.tail import mend

_FULL = {errno.ENOSPC, errno.EDQUOT}
# A folder that we may not list, and file systems that know no such thing (CIFS, some of FUSE).
_UNSYNCABLE = {errno.EACCES, errno.EINVAL, errno.ENOTSUP}
_CURES = {
    errno.EACCES: "let the user that TweetDock runs as write there, or name another file",
    errno.EPERM: "let the user that TweetDock runs as write there, or name another file",
    errno.EROFS: "mount it for writing, or name another file",
    errno.EISDIR: "name a file in it",
    errno.EEXIST: "one of its folders is a file: name another one",
    errno.ENOTDIR: "one of its folders is a file: name another one",
    errno.EFBIG: "rename it, and set TWEETDOCK_ARCHIVE_ROTATE=100MB",
}


class Volume:
    """An open file, held against other daemons until it is closed; its torn end is mended first.

    first_ms: when its first line was received; None if there is none.
    is_whole: False once a member was written in part and could not be cut off again.
    is_synced: whether all that is in it outlasts a power cut.
    Raises UnavailableError for what will not mend itself, OSError for a full disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_whole = True
        # What a killed TweetDock has written last is in the disk's cache only.
        self.is_synced = False
        try:
            _make(path.parent)
            self._fd, self.first_ms = _open(path)
        except UnavailableError:
            raise
        except OSError as error:
            if error.errno in _FULL:
                raise
            cure = _CURES.get(error.errno or 0, "name another file")
            reason = error.strerror or str(error)
            raise UnavailableError(f"TWEETDOCK_ARCHIVE={path}: {reason}: {cure}") from error

    @property
    def stat(self) -> os.stat_result:
        """The file as it is, whatever it is called by now."""
        return os.fstat(self._fd)

    @property
    def is_in_place(self) -> bool:
        """Whether it is still what is found at its path, as far as that can be found out."""
        return _is_at(self.path, self.stat)

    def append(self, member: bytes, first_ms: int | None = None) -> None:
        """Write a member, whose first line was received at `first_ms`.

        When it raises OSError, the file is as before, or no longer `is_whole`.
        """
        size = self.stat.st_size
        self.is_synced = False
        try:
            write_all(self._fd, member)
        except OSError:
            self.is_whole = False
            os.ftruncate(self._fd, size)
            self.is_whole = True
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
        """Let go of the file; raises OSError if the disk has not taken all of it."""
        try:
            self.sync()
        finally:
            os.close(self._fd)


def _make(folder: Path) -> None:
    missing = [above for above in (folder, *folder.parents) if not above.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _sync_names(made.parent)


def _sync_names(folder: Path) -> None:
    try:
        sync_folder(folder)
    except OSError as error:
        if error.errno not in _UNSYNCABLE:
            raise


def _open(path: Path) -> tuple[int, int | None]:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    while True:
        fd = os.open(path, flags, 0o640)
        try:
            stat = _regular(fd, path)
            # Logrotate may rename it between the opening and the holding.
            hold(fd, path)
            if _is_at(path, stat):
                mend(fd, path)
                if not stat.st_size:
                    _sync_names(path.parent)
                return fd, _first_ms(fd, path)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _regular(fd: int, path: Path) -> os.stat_result:
    stat = os.fstat(fd)
    if not S_ISREG(stat.st_mode):
        raise UnavailableError(f"TWEETDOCK_ARCHIVE={path}: it is no file: name another one")
    return stat


def _is_at(path: Path, stat: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), stat)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        # A folder that cannot be entered now: what is open can be written all the same.
        return True


def _first_ms(fd: int, path: Path) -> int | None:
    for line in lines(FileBytes(fd, path)):
        if isinstance(line, bytes):
            with suppress(LineError):
                return glance(line)[0]
    return None
