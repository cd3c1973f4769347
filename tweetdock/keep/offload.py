"""Closed files of the archive on their way into a bucket: sent, seen there, then let go."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import file_digest
from io import BufferedReader
from pathlib import Path

from tweetdock.core.errors import ArchiveError, OffloadError, UnavailableError
from tweetdock.keep.bucket import Bucket
from tweetdock.keep.closed_files import (
    MANIFEST_SUFFIX,
    ClosedFiles,
    Manifest,
    is_untouched,
    manifest_path,
)
from tweetdock.keep.lock import hold, is_held

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one file.

    url: where a true copy of it is; empty if `trouble`, a sentence, says why there is none.
    was_there: it had been sent before.
    is_kept: it is still here too.
    """

    file: str
    bytes: int = 0
    lines: int = 0
    url: str = ""
    was_there: bool = False
    is_kept: bool = True
    trouble: str = ""


class Offload:
    """Brings the closed files of an archive into a bucket.

    keeps_local: a file that is safe is marked in its manifest and stays, instead of being removed.
    host: of this machine, for the names in the bucket.
    """

    def __init__(
        self, closed_files: ClosedFiles, bucket: Bucket, *, keeps_local: bool, host: str
    ) -> None:
        self._closed_files = closed_files
        self._bucket = bucket
        self._keeps_local = keeps_local
        self._host = _safe(host, ".")

    def run(self) -> Iterator[Outcome]:
        """Go over the closed files, oldest first; one that fails does not hold up the next.

        Files that were sent and marked before, that somebody else works on or that vanish meanwhile
        are passed over. Raises OffloadError if it is the bucket that fails.
        """
        for path in self._closed_files.closed():
            try:
                outcome = self._offload_file(path)
            except OffloadError:
                raise
            except FileNotFoundError:
                continue  # logrotate has removed or renamed it
            except ArchiveError as error:
                outcome = Outcome(file=path.name, trouble=str(error))
            except OSError as error:
                outcome = Outcome(file=path.name, trouble=f"{path.name}: {error.strerror}")
            if outcome:
                yield outcome

    def in_use(self) -> list[str]:
        """The names of the files beside the open one that another TweetDock works on now."""
        name, stem = map(re.escape, (self._closed_files.path.name, self._closed_files.stem))
        found = []
        for path in sorted(self._closed_files.path.parent.glob("*")):
            with suppress(OSError):
                is_one = re.fullmatch(rf"{stem}-[0-9].*|{name}[.-].+", path.name)
                if is_one and path.is_file() and is_held(path):
                    found.append(path.name)
        return found

    def _offload_file(self, path: Path) -> Outcome | None:
        with _locked(path) as file:
            if not file:
                return None
            noted = Manifest.read(path)
            if (
                noted
                and self._is_marked(noted, file)
                and is_untouched(path, os.fstat(file.fileno()))
            ):
                return None
            manifest = _verified(noted, path, file)
            key = self._key(manifest, file)
            url = self._bucket.url(key)
            if self._is_marked(manifest, file):
                os.utime(manifest_path(path))  # newer than the file: not to be read again
                return None
            was_there = self._send(key, path, manifest.bytes, manifest.sha256)
            self._send_manifest(key, path)
            if not self._keeps_local:
                self._remove(path, file, manifest.bytes)
            elif _is_same(path, file, manifest.bytes):
                replace(manifest, offloaded=url).write(path)
            else:
                return None
            return Outcome(
                file=path.name,
                bytes=manifest.bytes,
                lines=manifest.lines,
                url=url,
                was_there=was_there,
                is_kept=self._keeps_local,
            )

    def _is_marked(self, manifest: Manifest, file: BufferedReader) -> bool:
        """Whether the file is to stay here and was sent to where it would be sent now."""
        if not self._keeps_local:
            return False
        return manifest.offloaded == self._bucket.url(self._key(manifest, file))

    def _remove(self, path: Path, file: BufferedReader, size: int) -> None:
        """Remove the file that was sent, and no other; raises FileNotFoundError if it moved on.

        logrotate may put another file in its place at any moment. So it is compared under a name
        that nobody else takes, and which is that of a closed file if it is kept, or after a kill.
        """
        # First of all: a manifest that outlived its file would lie about.
        manifest_path(path).unlink(missing_ok=True)
        aside = self._closed_files.new_name(0)
        path.rename(aside)
        if not _is_same(aside, file, size):
            raise FileNotFoundError(path)
        aside.unlink()

    def _send(self, key: str, path: Path, size: int, digest: str) -> bool:
        """See to it that a true copy is in the bucket; whether it was there already."""
        if self._bucket.holds(key, size, digest):
            return True
        self._bucket.put(key, path, digest)
        if not self._bucket.holds(key, size, digest):
            raise OffloadError(
                f"{self._bucket.url(key)} is not what was sent there; {path.name} stays here"
            )
        return False

    def _send_manifest(self, key: str, path: Path) -> None:
        manifest = manifest_path(path)
        with manifest.open("rb") as file:
            size, digest = os.fstat(file.fileno()).st_size, file_digest(file, "sha256").hexdigest()
        self._send(key + MANIFEST_SUFFIX, manifest, size, digest)

    def _key(self, manifest: Manifest, file: BufferedReader) -> str:
        """The same for the same file whatever logrotate calls it, and never that of another."""
        stem = _safe(self._closed_files.stem, "._")
        first = manifest.first_ms
        seconds = os.fstat(file.fileno()).st_mtime if first is None else first / 1000
        stamp = f"{datetime.fromtimestamp(int(seconds), UTC):%Y%m%dT%H%M%SZ}"
        return f"{stem}-{stamp}-{self._host}-{manifest.sha256[:8]}.jsonl.gz"


def offload_all(offload: Offload) -> None:
    """Bring what there is, and log it; OffloadError, in the end, if something stays behind."""
    troubles = []
    for outcome in offload.run():
        if outcome.trouble:
            troubles.append(outcome.trouble)
        else:
            log.info("%s (%d lines) is safe at %s", outcome.file, outcome.lines, outcome.url)
    if troubles:
        raise OffloadError("; ".join(troubles))


@contextmanager
def _locked(path: Path) -> Iterator[BufferedReader | None]:
    """The file, ours until the end; None if somebody else works on it."""
    with path.open("rb") as file:
        is_free = True
        try:
            hold(file.fileno(), path)
        except UnavailableError:
            is_free = False
        yield file if is_free else None


def _verified(noted: Manifest | None, path: Path, file: BufferedReader) -> Manifest:
    """What is in the file: as noted beside it if that is true, else found by reading all of it."""
    if noted and noted.sha256 == file_digest(file, "sha256").hexdigest():
        return noted
    found = Manifest.of(path)
    found.write(path)
    return found


def _is_same(path: Path, file: BufferedReader, size: int) -> bool:
    now = path.stat()
    return os.path.samestat(now, os.fstat(file.fileno())) and now.st_size == size


def _safe(text: str, marks: str) -> str:
    return re.sub(rf"[^A-Za-z0-9{re.escape(marks)}]+", "-", text).strip("-") or "x"
