"""Files: read without filling memory, written to outlast a power cut, locked by one TweetDock."""

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tweetdock.core.errors import ArchiveError, TweetDockError, UnavailableError

_LOOKING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_BLOCK = 1 << 16  # so much is searched at once
# A folder that we may not list, and file systems that know no such thing (CIFS, some of FUSE).
_UNSYNCABLE = {errno.EACCES, errno.EINVAL, errno.ENOTSUP}


class FileBytes:
    """The bytes of an open file, of which little is held in memory; its size is taken once.

    Where the file was cut meanwhile, slices are short; a bad read raises OSError. A map of the file
    would kill the process in either case.
    """

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._path = path
        self._size = os.fstat(fd).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, where: slice) -> bytes:
        start, stop, _ = where.indices(self._size)
        found = b""
        try:
            # Before a bad place, the system gives less than was asked for; it fails when asked
            # again.
            while part := os.pread(self._fd, max(0, stop - start), start):
                found += part
                start += len(part)
        except OSError as error:
            error.filename = str(self._path)
            raise
        return found

    def find(self, wanted: bytes, start: int) -> int:
        """Where it is first found at `start` or later; -1 if it is not."""
        for begin in range(start, self._size, _BLOCK):
            # It may lie across the end of a block.
            found = self[begin : begin + _BLOCK + len(wanted) - 1].find(wanted)
            if found >= 0:
                return begin + found
        return -1

    def rfind(self, wanted: bytes, start: int, end: int) -> int:
        """Where it is last found, wholly between `start` and `end`; -1 if it is not."""
        for stop in range(end, start, -_BLOCK):
            begin = max(start, stop - _BLOCK)
            found = self[begin : min(end, stop + len(wanted) - 1)].rfind(wanted)
            if found >= 0:
                return begin + found
        return -1


@contextmanager
def bytes_of(path: Path) -> Iterator[FileBytes]:
    """The bytes of a file without holding them in memory."""
    with path.open("rb") as file:
        yield FileBytes(file.fileno(), path)


def hold(fd: int, path: Path) -> None:
    """Lock an open file until it is closed; UnavailableError if another one holds it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UnavailableError(
            f"{path} is in use by another TweetDock",
            "stop that one, or name another TWEETDOCK_STATE_DIR or TWEETDOCK_ARCHIVE",
        ) from error


class Lock:
    """A file or folder that belongs to one TweetDock, until it is closed or killed.

    Raises UnavailableError as `hold`, another OSError if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, _LOOKING)
        try:
            hold(self._fd, path)
        except OSError:
            self.close()
            raise

    def is_of(self, path: Path) -> bool:
        """Whether what is at that path now is what was locked."""
        return is_at(path, os.fstat(self._fd))

    def close(self) -> None:
        """Release it."""
        os.close(self._fd)


def is_held(path: Path) -> bool:
    """Whether a TweetDock holds a file or folder; raises OSError if it cannot be opened."""
    fd = os.open(path, _LOOKING)
    try:
        # Shared: two who only look do not see each other.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def write_all(fd: int, data: bytes) -> None:
    """Write to an open file; when it raises OSError, a part may have been written."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; like the archive, it is not for everybody to read."""
    temporary = path.with_name(path.name + ".tmp")
    # One that a power cut has left may be for everybody.
    temporary.unlink(missing_ok=True)
    with open(temporary, "wb", opener=_opener) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_names(path.parent)


def _opener(name: str, flags: int) -> int:
    return os.open(name, flags, 0o640)


def sync_names(folder: Path) -> None:
    """See to it that the names in a folder outlast a power cut, if it can be seen to."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in _UNSYNCABLE:
            raise


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def is_at(path: Path, stat: os.stat_result) -> bool:
    """Whether an open file is still what is found at its path, as far as can be found out."""
    try:
        return os.path.samestat(path.stat(), stat)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        # A folder that cannot be entered now: what is open can be written all the same.
        return True


@contextmanager
def new_file(output: Path, inputs: Sequence[Path] = (), *, force: bool = False) -> Iterator[Path]:
    """A path at which to write `output`, alone in a folder beside it.

    All that is in that folder in the end is moved beside `output`; after an error nothing is.
    force: `output` may exist and is replaced. Raises ArchiveError where it cannot be made, or if
    an input is none.
    """
    for path in inputs:
        if not path.is_file():  # it is read twice, which a pipe cannot be
            raise ArchiveError(f"there is no file {path}", "check its name")
        if output.exists() and output.samefile(path):
            raise ArchiveError(f"{output} is one of the files to be read", "name another one")
    if output.exists() and not (force and output.is_file()):
        raise ArchiveError(
            f"{output} exists already", "name another file, or replace a file by --force"
        )
    try:
        with TemporaryDirectory(prefix=".tweetdock-", dir=output.parent) as folder:
            yield Path(folder, output.name)
            # In order of names: a file is in its place before its manifest.
            for path in sorted(Path(folder).iterdir()):
                _sync(path)
                path.replace(output.parent / path.name)
        sync_names(output.parent)
    except TweetDockError:
        raise
    except OSError as error:
        raise ArchiveError(
            f"{output} cannot be written: {error.strerror or error}", "name another place"
        ) from error
