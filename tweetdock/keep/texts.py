"""The lines of any file that may hold posts: packed or plain, whole or cut off by a crash."""

import errno
import json
from collections.abc import Iterator
from pathlib import Path

from tweetdock.core.errors import TornError
from tweetdock.keep.archive_format import Buffer, Member, may_be_gzip, pieces
from tweetdock.keep.files import bytes_of

LONGEST = 8 << 20  # bytes: a whole document may stand in one line
_BLOCK = 1 << 16


def texts(path: Path) -> Iterator[bytes | TornError]:
    """The lines of a file, without their ends; a TornError in place of what is damaged.

    So is a line that is longer than any document. Raises OSError if the file cannot be read.
    """
    # A pipe that nobody writes into would keep us waiting as soon as it is opened.
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "no file, but a pipe or a device")
    with bytes_of(path) as buffer:
        rest = bytearray()
        for piece in pieces(buffer) if may_be_gzip(buffer) else _blocks(buffer):
            if isinstance(piece, bytes):
                head, end, tail = piece.rpartition(b"\n")
                if end:
                    yield from (bytes(rest) + head).split(b"\n")
                    rest.clear()
                rest += tail
                if len(rest) > LONGEST:
                    rest.clear()
                    yield TornError(f"a line of more than {LONGEST >> 20} MB")
                continue
            # A line may go on in the next member, but not past a torn one.
            if _is_whole(rest):
                yield bytes(rest)
                rest.clear()
            if isinstance(piece, TornError):
                rest.clear()
                yield piece
        if rest:
            yield bytes(rest)


def _blocks(buffer: Buffer) -> Iterator[bytes | Member | TornError]:
    for start in range(0, len(buffer), _BLOCK):
        yield buffer[start : start + _BLOCK]


def _is_whole(text: bytearray) -> bool:
    if not text.endswith(b"}"):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
