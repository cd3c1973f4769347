"""What the archive has received lately: which version of which post, read from its files."""

import logging
from collections.abc import Generator, Iterator
from pathlib import Path

from tweetdock.errors import LineError
from tweetdock.keep.disk import mapped
from tweetdock.keep.line import glance
from tweetdock.keep.members import backward
from tweetdock.keep.shelf import Shelf

log = logging.getLogger(__name__)


def recent(shelf: Shelf, since_ms: int) -> Iterator[str]:
    """The versions of all lines on disk that were received at `since_ms` or later.

    No more is read than that takes: each file from its end, until one reaches back far enough.
    """
    for path in (shelf.path, *reversed(shelf.closed())):
        try:
            if (yield from _recent_in(path, since_ms)):
                return
        except FileNotFoundError:
            # Logrotate may remove it meanwhile; and before the first post there is none.
            continue
        except OSError as error:
            log.warning("archive: %s cannot be read (%s)", path.name, error.strerror)


def _recent_in(path: Path, since_ms: int) -> Generator[str, None, bool]:
    """The same of one file; whether it reaches back far enough."""
    with mapped(path) as buffer:
        for _, text in backward(buffer):
            latest = None
            for line in text.split(b"\n"):
                try:
                    received_ms, version = glance(line)
                except LineError:
                    continue
                latest = max(latest or received_ms, received_ms)
                if received_ms >= since_ms:
                    yield version
            if latest is not None and latest < since_ms:
                return True
    return False
