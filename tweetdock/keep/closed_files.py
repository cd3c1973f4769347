"""The files of one archive in their folder: the open one, and those that were closed."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from stat import S_ISREG

from tweetdock.keep.lock import is_held
from tweetdock.keep.manifest import SUFFIX

log = logging.getLogger(__name__)

_STAMP = r"-[0-9]{8}(T[0-9]{6}Z?)?(-[0-9]+)?"


class Shelf:
    """The files of the archive whose open one is `path`.

    Of `tweets.jsonl.gz`, closed ones are named `tweets-20261121T065536Z.jsonl.gz`, by us or by
    logrotate with `dateext` and `extension`, or as a plain logrotate does: `tweets.jsonl.gz.1`,
    `tweets.jsonl.gz-20261121`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._suffix = "".join(path.suffixes[-2:])
        self._stem = path.name.removesuffix(self._suffix)
        name, stem, suffix = map(re.escape, (path.name, self._stem, self._suffix))
        self._refused: frozenset[str] = frozenset()
        self._closed_name = re.compile(rf"{stem}{_STAMP}{suffix}|{name}({_STAMP}|\.[0-9]+)")

    def closed(self) -> list[Path]:
        """The files that nobody writes to any more, the one written last at the end.

        One that cannot be opened is left out, and told of once. Raises OSError if the folder cannot
        be read.
        """
        found, refused = [], set()
        for entry in self._entries():
            if not self._closed_name.fullmatch(entry.name) or entry.name == self.path.name:
                continue
            try:
                stat, path = entry.stat(), self.path.with_name(entry.name)
                # One that logrotate has renamed is held until we are told to reopen.
                if S_ISREG(stat.st_mode) and not is_held(path):
                    found.append((stat.st_mtime_ns, path))
            except FileNotFoundError:
                # It may be renamed or removed meanwhile.
                continue
            except OSError as error:
                refused.add(entry.name)
                if entry.name not in self._refused:
                    _warn(entry.name, error)
        self._refused = frozenset(refused)
        return [path for _, path in sorted(found)]

    def new_name(self, now_ms: int) -> Path:
        """A name that is free, for the open file when it is closed at `now_ms`."""
        stamp = f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%dT%H%M%SZ}"
        for number in count():
            more = f"-{number}" if number else ""
            path = self.path.with_name(f"{self._stem}-{stamp}{more}{self._suffix}")
            if not os.path.lexists(path):
                return path
        raise AssertionError

    def find(self, stat: os.stat_result) -> Path | None:
        """What a file is called now, wherever logrotate may have moved it in the folder.

        None if it is not there any more, or the folder cannot be read.
        """
        with suppress(OSError):
            for entry in self._entries():
                if entry.inode() == stat.st_ino and os.path.samestat(entry.stat(), stat):
                    return self.path.with_name(entry.name)
        return None

    def sweep(self) -> None:
        """Remove the manifests of files that are gone; OSError, in the end, if one remains."""
        failure: OSError | None = None
        names = {entry.name for entry in self._entries()}
        for found in names:
            name, _, _ = found.partition(SUFFIX)
            if not found.endswith((SUFFIX, f"{SUFFIX}.tmp")) or name in names:
                continue
            if self._closed_name.fullmatch(name):
                try:
                    self.path.with_name(found).unlink(missing_ok=True)
                except OSError as error:
                    failure = error
        if failure:
            raise failure

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        with suppress(FileNotFoundError), os.scandir(self.path.parent) as entries:
            yield from list(entries)


def _warn(name: str, error: OSError) -> None:
    cure = "move it away, and look after the disk"
    if isinstance(error, PermissionError):
        cure = "let the user that TweetDock runs as read it"
    log.warning("archive: %s is left alone: %s; %s", name, error.strerror, cure)
