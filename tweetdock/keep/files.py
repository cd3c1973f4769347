"""Files: written so that they outlast a power cut, read without filling memory, locked, allowed."""

import errno
import fcntl
import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from tweetdock.core.errors import ArchiveError, TweetDockError, UnavailableError

_BLOCK = 1 << 18
_BLOCKS_KEPT = 4
_OVERLAP = 16  # what is looked for may lie across the end of a block


class FileBytes:
    """The bytes of an open file, of which little is held in memory; its size is taken once.

    Where the file was cut meanwhile, slices are short; a bad read raises OSError. A map of the file
    would kill the process in either case. What is looked for has 16 bytes at most.
    """

    def __init__(self, fd: int, path: Path | None = None) -> None:
        self._size = os.fstat(fd).st_size
        self._block = lru_cache(_BLOCKS_KEPT)(partial(_read_block, fd, path))

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, where: slice) -> bytes:
        start, stop, _ = where.indices(self._size)
        parts = []
        while start < stop:
            number, within = divmod(start, _BLOCK)
            end = min(_BLOCK, within + stop - start)
            parts.append(self._block(number)[within:end])
            start += end - within
        return b"".join(parts)

    def find(self, wanted: bytes, start: int) -> int:
        """Where it is first found at `start` or later; -1 if it is not."""
        for number in range(start // _BLOCK, -(-self._size // _BLOCK)):
            before = number * _BLOCK
            found = self._block(number).find(wanted, max(start - before, 0))
            if found >= 0:
                return before + found
        return -1

    def rfind(self, wanted: bytes, start: int, end: int) -> int:
        """Where it is last found, wholly between `start` and `end`; -1 if it is not."""
        for number in range((end - 1) // _BLOCK, start // _BLOCK - 1, -1):
            before = number * _BLOCK
            found = self._block(number).rfind(wanted, max(start - before, 0), end - before)
            if found >= 0:
                return before + found
        return -1


def _read_block(fd: int, path: Path | None, number: int) -> bytes:
    block = b""
    try:
        # Before a bad place, the system gives less than was asked for; it fails when asked again.
        while missing := _BLOCK + _OVERLAP - len(block):
            part = os.pread(fd, missing, number * _BLOCK + len(block))
            if not part:
                break
            block += part
    except OSError as error:
        error.filename = path and str(path)
        raise
    return block


@contextmanager
def bytes_of(path: Path) -> Iterator[FileBytes]:
    """The bytes of a file without holding them in memory."""
    with path.open("rb") as file:
        yield FileBytes(file.fileno(), path)


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
    sync_folder(path.parent)


def _opener(name: str, flags: int) -> int:
    return os.open(name, flags, 0o640)


def sync_folder(folder: Path) -> None:
    """See to it that a new name in a folder, or the end of one, outlasts a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


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


def nearest(path: Path) -> Path:
    """The path itself, or the nearest above it that is there."""
    whole = path.absolute()
    for place in (whole, *whole.parents):
        with suppress(OSError):  # a folder that we may not look into
            if place.exists():
                return path if place == whole else place
    return whole


def obstacle(folder: Path) -> str:
    """Why nothing can be written into a folder, or it cannot be made; empty if it can."""
    place = nearest(folder)
    if not place.is_dir():
        return f"{place} is no folder"
    if _may(place, os.W_OK | os.X_OK) and not _is_the_kernels(place):
        return ""
    what = "written to" if place == folder else f"written to, and {folder} is to be made in it"
    return f"{place} may not be {what}"


def file_obstacle(path: Path) -> str:
    """Why a file cannot be read and written; empty if it can, or is not there."""
    if not path.exists():
        return ""
    if not path.is_file():
        return f"{path} is no file"
    return "" if _may(path, os.R_OK | os.W_OK) else f"{path} may not be read and written"


def cure(path: Path, name: str, *, is_ours: bool = False) -> str:
    """How this user comes to use a folder or file that is set by a name.

    is_ours: nothing but TweetDock's own is in it. Of no other folder anybody is told to change
    the owner: it may be the system's.
    """
    place, me = nearest(path), os.geteuid()
    elsewhere = f"name another place with {name}"
    if not place.is_dir() and (place != path or not is_ours):
        return f"move that away, or {elsewhere}"
    if _is_the_kernels(place):
        return elsewhere
    if me == 0:
        return f"mount it for writing, or {elsewhere}"
    if place != path:
        return f"`sudo install -d -o {me} {quote(str(path))}` makes it; or {elsewhere}"
    owner = place.stat().st_uid
    if owner == me:
        return f"`chmod -R u+rwX {quote(str(place))}`, or {elsewhere}"
    theirs = (
        f"it belongs to {user(owner)}, and the doctor is {user(me)}: if TweetDock runs as "
        f"{user(owner)}, run the doctor so, too, by sudo; else "
    )
    if is_ours:
        return f"{theirs}`sudo chown -R {me} {quote(str(place))}`"
    return f"{theirs}{elsewhere}"


def file_cure(path: Path, name: str) -> str:
    """How this user comes to use a file of TweetDock's that is set by a name."""
    if not path.is_file():
        return f"move that away, or name another place with {name}"
    return cure(path, name, is_ours=True)


def device(path: Path) -> int:
    """The disk on which it is, or is to be; 0 if nobody knows."""
    try:
        return nearest(path).stat().st_dev
    except OSError:
        return 0


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=True)


def _is_the_kernels(place: Path) -> bool:
    # Root may do everything, it is said; but in /proc and /sys nothing can be made.
    is_closed = not place.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    return is_closed and os.statvfs(place).f_blocks == 0


def user(number: int) -> str:
    """The name of a user, or what stands for it."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"  # in a container it may have no name


@contextmanager
def new_file(output: Path, inputs: Sequence[Path] = (), *, force: bool = False) -> Iterator[Path]:
    """A path at which to write `output`, alone in a folder beside it.

    All that is in that folder in the end is moved beside `output`; after an error nothing is.
    force: `output` may exist and is replaced. Raises ArchiveError where it cannot be made, or if
    an input is none.
    """
    for path in inputs:
        _check_input(path)
    _check_output(output, inputs, force=force)
    try:
        with TemporaryDirectory(prefix=".tweetdock-", dir=output.parent) as folder:
            yield Path(folder, output.name)
            # In order of names: a file is in its place before its manifest.
            for path in sorted(Path(folder).iterdir()):
                _sync(path)
                path.replace(output.parent / path.name)
        sync_folder(output.parent)
    except TweetDockError:
        raise
    except OSError as error:
        raise ArchiveError(
            f"{output} cannot be written: {error.strerror or error}; name another place"
        ) from error


def _check_input(path: Path) -> None:
    if not path.exists():
        raise ArchiveError(f"{path} does not exist: check its name")
    # Neither can be read twice, as it has to be.
    if not path.is_file():
        raise ArchiveError(f"{path} is no file: name the files themselves")


def _check_output(output: Path, inputs: Sequence[Path], *, force: bool) -> None:
    if output.is_dir():
        raise ArchiveError(f"{output} is a folder: name a file")
    if not output.parent.is_dir():
        raise ArchiveError(f"the folder {output.parent} does not exist: make it first")
    if output.exists():
        if any(output.samefile(path) for path in inputs):
            raise ArchiveError(f"{output} is one of the files to be read: name another one")
        if not force:
            raise ArchiveError(
                f"{output} exists already: name another file, or replace it by --force"
            )


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
