"""Closed files of the archive on their way into a bucket: sent, seen there, then let go."""

import logging
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import file_digest, sha256
from pathlib import Path

from tweetdock.core.errors import ArchiveError, OffloadError, UnavailableError
from tweetdock.core.times import rfc3339
from tweetdock.keep.bucket import Bucket
from tweetdock.keep.closed_files import (
    MANIFEST_SUFFIX,
    ClosedFiles,
    Manifest,
    is_untouched,
    manifest_path,
)
from tweetdock.keep.files import hold

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A file of which a true copy is at `url`; was_there: it had been sent before."""

    file: str
    manifest: Manifest
    url: str
    was_there: bool


@dataclass(frozen=True, slots=True)
class Offload:
    """Brings the closed files of an archive into a bucket.

    keeps_local: a file that is safe is marked in its manifest and stays, instead of being removed.
    host: of this machine, for the names in the bucket.
    """

    closed_files: ClosedFiles
    bucket: Bucket
    keeps_local: bool
    host: str = field(default_factory=socket.gethostname)

    def run(self) -> Iterator[Outcome]:
        """Go over the closed files, oldest first; one that fails does not hold up the next.

        Files that were sent and marked before, that somebody else works on or that vanish meanwhile
        are passed over. Raises OffloadError at once if it is the bucket that fails, and in the end
        if a file did.
        """
        troubles = []
        for path in self.closed_files.closed():
            try:
                outcome = self._offload_file(path)
            except OffloadError:
                raise
            except (FileNotFoundError, UnavailableError):
                continue  # logrotate has removed or renamed it, or somebody else works on it
            except ArchiveError as error:
                troubles.append(str(error))
            except OSError as error:
                troubles.append(f"{path.name}: {error.strerror}")
            else:
                if outcome:
                    lines = outcome.manifest.lines
                    log.info("%s (%d lines) is safe at %s", path.name, lines, outcome.url)
                    yield outcome
        if troubles:
            raise OffloadError("; ".join(troubles))

    def _offload_file(self, path: Path) -> Outcome | None:
        with path.open("rb") as file:
            hold(file.fileno(), path)
            stat = os.fstat(file.fileno())
            manifest = Manifest.read(path)
            if not manifest or not is_untouched(path, stat):
                manifest = Manifest.of(path)
                manifest.write(path)
            key = self._key(manifest, stat)
            url = self.bucket.url(key)
            if self.keeps_local and manifest.offloaded == url:
                return None
            if manifest.sha256 != file_digest(file, "sha256").hexdigest():
                what = f"{path.name} is not what its manifest says: the disk may be worn out"
                raise ArchiveError(what, "if the file is right, remove its manifest")
            was_there = self._send(key, path, manifest.sha256)
            described = manifest_path(path)
            digest = sha256(described.read_bytes()).hexdigest()
            self._send(key + MANIFEST_SUFFIX, described, digest)
            if not self.keeps_local:
                self._remove(path, stat)
            elif not _is_same(path, stat):
                return None
            else:
                replace(manifest, offloaded=url).write(path)
            return Outcome(file=path.name, manifest=manifest, url=url, was_there=was_there)

    def _remove(self, path: Path, stat: os.stat_result) -> None:
        """Remove the file that was sent, and no other; raises FileNotFoundError if it moved on.

        logrotate may put another file in its place at any moment. So it is compared under a name
        that nobody else takes, and which is that of a closed file if it is kept, or after a kill.
        """
        # First of all: a manifest that outlived its file would lie about.
        manifest_path(path).unlink(missing_ok=True)
        aside = self.closed_files.new_name(0)
        path.rename(aside)
        if not _is_same(aside, stat):
            raise FileNotFoundError(path)
        aside.unlink()

    def _send(self, key: str, path: Path, digest: str) -> bool:
        """See to it that a true copy is in the bucket; whether it was there already."""
        if self.bucket.holds(key, digest):
            return True
        self.bucket.put(key, path, digest)
        if not self.bucket.holds(key, digest):
            raise OffloadError(
                f"{self.bucket.url(key)} is not what was sent there; {path.name} stays here"
            )
        return False

    def _key(self, manifest: Manifest, stat: os.stat_result) -> str:
        """The same for the same file whatever logrotate calls it, and never that of another."""
        stem = _safe(self.closed_files.stem, "._")
        stamp = re.sub(r"\.[0-9]+|[-:]", "", manifest.first or rfc3339(int(stat.st_mtime * 1000)))
        return f"{stem}-{stamp}-{_safe(self.host, '.')}-{manifest.sha256[:8]}.jsonl.gz"


def _is_same(path: Path, stat: os.stat_result) -> bool:
    now = path.stat()
    return os.path.samestat(now, stat) and now.st_size == stat.st_size


def _safe(text: str, marks: str) -> str:
    return re.sub(rf"[^A-Za-z0-9{re.escape(marks)}]+", "-", text).strip("-") or "x"
