"""What the archive has received lately: which version of which post, read from its files."""

import logging
from collections.abc import Generator, Iterator
from pathlib import Path

from tweetdock.core.errors import LineError
from tweetdock.keep.archive_format import Buffer, backward, may_be_gzip
from tweetdock.keep.archive_line import glance
from tweetdock.keep.closed_files import Shelf
from tweetdock.keep.files import bytes_of
from tweetdock.keep.place import Place

log = logging.getLogger(__name__)


def recent(shelf: Shelf, place: Place | None, since_ms: int) -> Iterator[str]:
    """The versions of all lines on disk that were written after `place`.

    If that is in none of the files any more, those of the lines that were received at `since_ms`
    or later. No more is read than that takes: each file from its end, the newest first. A file
    that cannot be read is passed over.
    """
    paths = _newest_first(shelf)
    known = _find(place, paths) if place and place.path == str(shelf.path) else None
    for path in paths:
        # Logrotate may remove it meanwhile; and before the first post there is none.
        try:
            with bytes_of(path) as buffer:
                if place and known:
                    yield from _after(buffer, place.size if path == known else 0)
                    is_enough = path == known
                else:
                    is_enough = yield from _since(buffer, since_ms)
        except FileNotFoundError:
            is_enough = path == known
        except OSError as error:
            _warn(path, error)
            is_enough = path == known
        if is_enough:
            return


def _newest_first(shelf: Shelf) -> list[Path]:
    try:
        return [shelf.path, *reversed(shelf.closed())]
    except OSError as error:
        _warn(shelf.path.parent, error)
        return [shelf.path]


def _find(place: Place, paths: list[Path]) -> Path | None:
    for path in paths:
        try:
            if path.stat().st_ino != place.inode:
                continue
            with bytes_of(path) as buffer:
                # A removed file's number is given to a new one. Where no member can have ended
                # it is another file, or it was cut: then only time tells what is newer.
                is_end = len(buffer) >= place.size
                head = buffer[place.size : place.size + 3]
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
