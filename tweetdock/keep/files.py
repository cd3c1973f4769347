"""Files as they are to outlast a power cut, and as they are read without filling the memory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path

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

    def __getitem__(self, place: slice) -> bytes:
        start, stop, _ = place.indices(self._size)
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
            place = self._block(number).find(wanted, max(start - before, 0))
            if place >= 0:
                return before + place
        return -1

    def rfind(self, wanted: bytes, start: int, end: int) -> int:
        """Where it is last found, wholly between `start` and `end`; -1 if it is not."""
        for number in range((end - 1) // _BLOCK, start // _BLOCK - 1, -1):
            before = number * _BLOCK
            place = self._block(number).rfind(wanted, max(start - before, 0), end - before)
            if place >= 0:
                return before + place
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
