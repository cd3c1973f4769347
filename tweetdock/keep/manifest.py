"""What is in a closed file of the archive, kept beside it as `<file>.manifest.json`."""

import json
import os
import socket
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from tweetdock.core.post import Span
from tweetdock.core.times import parse_ms, rfc3339
from tweetdock.keep.archive_note import END_OF_TIME_MS, Covers
from tweetdock.keep.archive_reader import Contents
from tweetdock.keep.files import bytes_of, replace

SUFFIX = ".manifest.json"
_PIECE = 1 << 18


def is_untouched(path: Path, stat: os.stat_result) -> bool:
    """Whether nothing happened to a file since its manifest was written, not even a rename.

    Raises OSError if it has none.
    """
    return stat.st_ctime_ns < manifest_path(path).stat().st_mtime_ns


def manifest_path(path: Path) -> Path:
    """Where the manifest of a file is kept."""
    return path.with_name(path.name + SUFFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in a file, as found by reading all of it.

    file: its name.
    bytes, sha256: of the file as it is on disk.
    lines: how many lines of an archive are in it.
    first_ms, last_ms: when the first and the last of them in time were received (Unix ms); None
        if there is none.
    covers: which stretches of time it has completely, for each source, as a merge lists them.
    host: the machine that wrote it.
    damaged: at how many places it is torn.
    offloaded: the address at which a true copy was seen; empty as long as there is none.
    """

    file: str
    bytes: int
    sha256: str
    lines: int
    first_ms: int | None
    last_ms: int | None
    covers: Covers
    host: str
    damaged: int
    offloaded: str = ""

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read a file from end to end; raises OSError if it cannot be read."""
        first_ms = last_ms = None
        digest = sha256()
        with bytes_of(path) as buffer:
            size = len(buffer)
            for start in range(0, size, _PIECE):
                digest.update(buffer[start : start + _PIECE])
            contents = Contents(path, buffer)
            for ms in contents.times():
                if 0 <= ms < END_OF_TIME_MS:
                    first_ms = ms if first_ms is None else min(first_ms, ms)
                    last_ms = ms if last_ms is None else max(last_ms, ms)
        return cls(
            file=path.name,
            bytes=size,
            sha256=digest.hexdigest(),
            lines=contents.tally.lines,
            first_ms=first_ms,
            last_ms=last_ms,
            covers={source: tuple(spans) for source, spans in contents.covers.items()},
            host=socket.gethostname(),
            damaged=contents.tally.damaged,
        )

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The manifest beside a file; None if there is none that fits it."""
        try:
            found = json.loads(manifest_path(path).read_bytes())
            manifest = cls._from_json(found)
            size = path.stat().st_size
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return manifest if manifest.bytes == size else None

    @classmethod
    def _from_json(cls, found: dict[str, Any]) -> Self:
        return cls(
            file=str(found["file"]),
            bytes=int(found["bytes"]),
            sha256=str(found["sha256"]),
            lines=int(found["lines"]),
            first_ms=found["first"] and parse_ms(found["first"]),
            last_ms=found["last"] and parse_ms(found["last"]),
            covers={
                source: tuple(Span(parse_ms(since), parse_ms(until)) for since, until in spans)
                for source, spans in found["covers"].items()
            },
            host=str(found["host"]),
            damaged=int(found["damaged"]),
            offloaded=str(found["offloaded"]),
        )

    def as_json(self) -> str:
        """The manifest as text, with times in RFC 3339."""
        found = {
            "file": self.file,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "lines": self.lines,
            "first": None if self.first_ms is None else rfc3339(self.first_ms),
            "last": None if self.last_ms is None else rfc3339(self.last_ms),
            "covers": {
                source: [[rfc3339(since), rfc3339(until)] for since, until in spans]
                for source, spans in self.covers.items()
            },
            "host": self.host,
            "damaged": self.damaged,
            "offloaded": self.offloaded,
        }
        return json.dumps(found, indent=2) + "\n"

    def write(self, path: Path) -> None:
        """Keep it beside the file `path`, whole or not at all, also through a power cut."""
        replace(manifest_path(path), self.as_json().encode())
