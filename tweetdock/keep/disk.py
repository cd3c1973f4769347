"""Files as they are to outlast a power cut, and as they are read without filling the memory."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path

from tweetdock.keep.members import Buffer


@contextmanager
def mapped(path: Path) -> Iterator[Buffer]:
    """The bytes of a file without holding them in memory."""
    with path.open("rb") as file, mapped_fd(file.fileno()) as buffer:
        yield buffer


@contextmanager
def mapped_fd(fd: int) -> Iterator[Buffer]:
    """The same of an open file, whatever it is called by now."""
    # An empty file cannot be mapped.
    if not os.fstat(fd).st_size:
        yield b""
        return
    try:
        buffer = mmap(fd, 0, access=ACCESS_READ)
    except ValueError as error:
        # On a 32-bit system that is so from 2 GB on.
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG)) from error
    with buffer:
        yield buffer


def write_all(fd: int, data: bytes) -> None:
    """Write to an open file; when it raises OSError, a part may have been written."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """See to it that a new name in a folder, or the end of one, outlasts a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
