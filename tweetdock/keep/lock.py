"""Locks: a file belongs to one TweetDock at a time."""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from tweetdock.core.errors import UnavailableError

STATE_LOCK = "lock"  # in the folder of the state


def hold(fd: int, path: Path) -> None:
    """Lock an open file until it is closed; UnavailableError if another one holds it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UnavailableError(f"{path} is in use by another TweetDock") from error


def is_held(path: Path) -> bool:
    """Whether a TweetDock holds the file; raises OSError if it cannot be opened."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


class Lock:
    """A file that exists only to be locked; a kill releases it too.

    Raises OSError if it cannot be had, also for a link: the folder's owner must not mislead root.
    """

    def __init__(self, path: Path) -> None:
        self._fd = _open(path)
        try:
            hold(self._fd, path)
        except OSError:
            os.close(self._fd)
            raise

    def close(self) -> None:
        """Release it."""
        os.close(self._fd)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        try:
            return os.open(path, flags | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OSError(errno.ELOOP, "its lock is a link", str(path)) from error
            raise
    if os.geteuid() == 0:
        # What root made by sudo must not shut out the service whose folder it is. What was there
        # before may be any file, under one more name, and is not given away.
        folder = path.parent.stat()
        with suppress(OSError):  # there are file systems without owners
            os.fchown(fd, folder.st_uid, folder.st_gid)
    return fd
