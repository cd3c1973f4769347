"""What is in a closed file of the archive, kept beside it as `<file>.manifest.json`."""

import json
import socket
from collections import defaultdict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from tweetdock.errors import LineError, TornError
from tweetdock.keep.disk import mapped, replace
from tweetdock.keep.line import glance
from tweetdock.keep.members import Member, pieces
from tweetdock.keep.note import END_OF_TIME_MS, Covers, read_note, united
from tweetdock.post import Span
from tweetdock.timestamps import parse_ms, rfc3339

SUFFIX = ".manifest.json"


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
    covers: which stretches of time it has completely, for each source.
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
        contents = _Contents()
        with mapped(path) as buffer:
            digest = sha256(buffer).hexdigest()
            size = len(buffer)
            for piece in pieces(buffer):
                contents.take(piece)
            contents.finish()
        return cls(
            file=path.name,
            bytes=size,
            sha256=digest,
            lines=contents.lines,
            first_ms=contents.first_ms,
            last_ms=contents.last_ms,
            covers={source: united(spans) for source, spans in contents.covers.items()},
            host=socket.gethostname(),
            damaged=contents.damaged,
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


class _Contents:
    """What has been found in a file so far."""

    def __init__(self) -> None:
        self.lines = 0
        self.damaged = 0
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self.covers: dict[str, list[Span]] = defaultdict(list)
        self._rest = b""
        self._is_torn = False

    def take(self, piece: bytes | Member | TornError) -> None:
        if isinstance(piece, bytes):
            *lines, self._rest = (self._rest + piece).split(b"\n")
            for line in lines:
                self._count(line)
        elif isinstance(piece, Member):
            self._is_torn = False
            for source, spans in read_note(piece.note).items():
                self.covers[source].extend(spans)
        else:
            # What looks like a member inside a torn one makes no second torn place.
            self.damaged += not self._is_torn
            self._is_torn = True
            self._rest = b""

    def finish(self) -> None:
        # The last line of other people's files may have no end.
        self._count(self._rest)

    def _count(self, line: bytes) -> None:
        try:
            ms, _ = glance(line)
        except LineError:
            return
        self.lines += 1
        if not 0 <= ms < END_OF_TIME_MS:
            return
        self.first_ms = ms if self.first_ms is None else min(self.first_ms, ms)
        self.last_ms = ms if self.last_ms is None else max(self.last_ms, ms)
