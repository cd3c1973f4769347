"""The closed files of an archive: their names, what each contains, and what is done with them."""

import json
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import file_digest
from itertools import count
from pathlib import Path
from typing import Self

from tweetdock.core.post import Span
from tweetdock.core.times import parse_ms, rfc3339
from tweetdock.keep.archive_format import Covers
from tweetdock.keep.archive_reader import ArchiveReader
from tweetdock.keep.files import FileBytes, is_held, replace
from tweetdock.retry import TroubleLog, backoff

log = logging.getLogger(__name__)

MANIFEST_SUFFIX = ".manifest.json"
FIRST_SECONDS = 5.0
CAP_SECONDS = 600.0

_STAMP = r"-[0-9]{8}(T[0-9]{6}Z?)?(-[0-9]+)?"  # in the name of a closed file


def is_untouched(path: Path, stat: os.stat_result) -> bool:
    """Whether nothing happened to a file since its manifest was written, not even a rename.

    Raises OSError if it has none.
    """
    return stat.st_ctime_ns < manifest_path(path).stat().st_mtime_ns


def manifest_path(path: Path) -> Path:
    """Where the manifest of a file is kept."""
    return path.with_name(path.name + MANIFEST_SUFFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in a file, as found by reading all of it.

    file: its name.
    bytes, sha256: of the file as it is on disk.
    lines: how many lines of an archive are in it.
    first, last: when the first and the last of them in time were received (RFC 3339); None if
        there is none.
    covers: which stretches of time it has completely, for each source, as a merge lists them.
    host: the machine that wrote it.
    damaged: at how many places it is torn.
    offloaded: the address at which a true copy was seen; empty as long as there is none.
    """

    file: str
    bytes: int
    sha256: str
    lines: int
    first: str | None
    last: str | None
    covers: Covers
    host: str
    damaged: int
    offloaded: str = ""

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read a file from end to end; raises OSError if it cannot be read."""
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
            buffer = FileBytes(file.fileno(), path)
            reader = ArchiveReader(path, buffer)
            reader.skim()
        return cls(
            file=path.name,
            bytes=len(buffer),
            sha256=digest,
            lines=reader.lines,
            first=None if reader.first_ms is None else rfc3339(reader.first_ms),
            last=None if reader.last_ms is None else rfc3339(reader.last_ms),
            covers={source: tuple(spans) for source, spans in reader.covers.items()},
            host=socket.gethostname(),
            damaged=reader.damaged,
        )

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The manifest beside a file; None if there is none that fits it."""
        try:
            found = json.loads(manifest_path(path).read_bytes())
            covers = {
                source: tuple(Span(parse_ms(since), parse_ms(until)) for since, until in spans)
                for source, spans in found["covers"].items()
            }
            manifest = cls(**found | {"covers": covers})
            size = path.stat().st_size
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return manifest if manifest.bytes == size else None

    def write(self, path: Path) -> None:
        """Keep it beside the file `path`, whole or not at all, also through a power cut."""
        covers = {
            source: [[rfc3339(ms) for ms in span] for span in spans]
            for source, spans in self.covers.items()
        }
        text = json.dumps(asdict(self) | {"covers": covers}, indent=2)
        replace(manifest_path(path), f"{text}\n".encode())


class ClosedFiles:
    """The files of the archive whose open one is `path`.

    Of `tweets.jsonl.gz`, closed ones are named `tweets-20261121T065536Z.jsonl.gz`, by us or by
    logrotate with `dateext` and `extension`, or as a plain logrotate does: `tweets.jsonl.gz.1`,
    `tweets.jsonl.gz-20261121`. stem: what all names begin with, as `tweets`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._suffix = "".join(path.suffixes[-2:])
        self.stem = path.name.removesuffix(self._suffix)
        name, stem, suffix = map(re.escape, (path.name, self.stem, self._suffix))
        self._closed_name = re.compile(rf"{stem}{_STAMP}{suffix}|{name}({_STAMP}|\.[0-9]+)")

    def closed(self) -> list[Path]:
        """The files that nobody writes to any more, the one written last at the end.

        Raises OSError if the folder cannot be read.
        """
        return [path for path in self.named() if _is_free(path)]

    def named(self) -> list[Path]:
        """Those that are closed by their names, as `closed`, also if they are still worked on."""
        found = []
        for entry in self._entries():
            if self._closed_name.fullmatch(entry.name) and entry.name != self.path.name:
                with suppress(OSError):  # it may be removed meanwhile
                    if entry.is_file():
                        found.append((entry.stat().st_mtime_ns, self.path.with_name(entry.name)))
        return [path for _, path in sorted(found)]

    def new_name(self, now_ms: int) -> Path:
        """A name that is free, for the open file when it is closed at `now_ms`."""
        stamp = f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%dT%H%M%SZ}"
        for number in count():
            more = f"-{number}" if number else ""
            path = self.path.with_name(f"{self.stem}-{stamp}{more}{self._suffix}")
            if not os.path.lexists(path):
                return path
        raise AssertionError

    def sweep(self) -> None:
        """Remove the manifests of files that are gone; raises OSError as `closed`."""
        names = {entry.name for entry in self._entries()}
        for found in names:
            name, mark, end = found.partition(MANIFEST_SUFFIX)
            is_manifest = mark and end in ("", ".tmp")
            if is_manifest and name not in names and self._closed_name.fullmatch(name):
                with suppress(OSError):
                    self.path.with_name(found).unlink()

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        with suppress(FileNotFoundError), os.scandir(self.path.parent) as entries:
            yield from list(entries)


def _is_free(path: Path) -> bool:
    with suppress(OSError):  # whoever wants to read it says so
        return not is_held(path)  # one that logrotate has renamed is held until the next line
    return True


class ClosedFilesThread:
    """Describes, off-loads and removes closed files, in a thread of its own.

    `run` is called in that thread, `wake` and `stop` in any other. What fails is tried again.

    keep: how many closed files stay, the latest; 0 for all. With `offload` only those go of
    which a true copy was seen elsewhere.
    offload: brings there what it can; raises OSError, in the end, if that is not all.
    """

    def __init__(
        self, closed_files: ClosedFiles, keep: int, offload: Callable[[], None] | None
    ) -> None:
        self._closed_files = closed_files
        self._keep = keep
        self._offload = offload
        self._stopping = threading.Event()
        self._waking = threading.Event()
        self._errors: list[OSError] = []
        self._trouble = TroubleLog(log, "archive files")

    def wake(self) -> None:
        """A file was closed."""
        self._waking.set()

    def stop(self) -> None:
        """Let `run` come to its end."""
        self._stopping.set()
        self._waking.set()

    def run(self) -> None:
        """Do what is to be done with the files now and whenever one is closed, until stopped."""
        delays = backoff(FIRST_SECONDS, CAP_SECONDS)
        while True:
            # First of all: a file that is closed from here on is for the next time.
            self._waking.clear()
            if self._stopping.is_set():
                return
            self._errors.clear()
            self._do_all()
            again = None
            if self._errors:
                again = next(delays)
                needs_owner = any(getattr(e, "needs_owner", True) for e in self._errors)
                self._trouble.failed(_sentence(self._errors), again, needs_owner=needs_owner)
            else:
                delays = backoff(FIRST_SECONDS, CAP_SECONDS)
                self._trouble.worked()
            self._waking.wait(again)

    def _do_all(self) -> None:
        """Do all that is to be done. One bad file hinders no other."""
        with self._collecting_errors():
            for path in self._closed_files.closed():
                if self._stopping.is_set():
                    return
                with self._collecting_errors():
                    self._describe(path)
            self._closed_files.sweep()
        if self._offload:
            with self._collecting_errors():
                self._offload()
        if self._keep and not self._stopping.is_set():
            with self._collecting_errors():
                for path in self._closed_files.closed()[: -self._keep]:
                    with self._collecting_errors():
                        self._remove(path)

    @contextmanager
    def _collecting_errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            # Renamed or removed meanwhile: there is nothing to do, or it is closed anew.
            pass
        except OSError as error:
            self._errors.append(error)

    def _describe(self, path: Path) -> None:
        if Manifest.read(path) is not None:
            return
        manifest = Manifest.of(path)
        manifest.write(path)
        extent = f"{manifest.lines} lines"
        if manifest.lines:
            extent += f", {manifest.first} to {manifest.last}"
        log.info("archive: %s closed: %s", path.name, extent)
        if manifest.damaged:
            log.warning("archive: %s is damaged at %d places", path.name, manifest.damaged)

    def _remove(self, path: Path) -> None:
        if self._offload:
            manifest = Manifest.read(path)
            is_safe = manifest is not None and manifest.offloaded != ""
            if not is_safe or not is_untouched(path, path.stat()):
                return
        path.unlink(missing_ok=True)
        manifest_path(path).unlink(missing_ok=True)
        log.info("archive: %s removed: %d newer ones are kept", path.name, self._keep)


def _sentence(errors: Sequence[OSError]) -> str:
    more = f", and {len(errors) - 1} more" if errors[1:] else ""
    return f"{errors[0]}{more}"
