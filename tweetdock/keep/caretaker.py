"""Looks after the closed files of the archive: what is in each, a copy elsewhere, how many stay."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tweetdock.core.times import rfc3339
from tweetdock.keep.closed_files import Shelf
from tweetdock.keep.manifest import Manifest, is_untouched, manifest_path
from tweetdock.retry import backoff
from tweetdock.troubles import TroubleLog

log = logging.getLogger(__name__)

FIRST_SECONDS = 5.0
CAP_SECONDS = 600.0


class Caretaker:
    """Work for a thread of its own: `run` it there, and `notice` and `stop` from any other.

    keep: how many closed files stay, the latest; 0 for all. With `offload` only those go of
    which a true copy was seen elsewhere.
    offload: does what it can, and returns the seconds after which to try again, None if all is
    done.
    """

    def __init__(self, shelf: Shelf, keep: int, offload: Callable[[], float | None] | None) -> None:
        self._shelf = shelf
        self._keep = keep
        self._offload = offload
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._errors: list[OSError] = []
        self._trouble = TroubleLog(log, "archive files")

    def notice(self, path: Path) -> None:
        """A file was closed."""
        log.debug("archive: %s is noticed", path.name)
        self._wake.set()

    def stop(self) -> None:
        """Let `run` come to its end."""
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        """Look after the files now and whenever one is noticed, until stopped."""
        delays = backoff(FIRST_SECONDS, CAP_SECONDS)
        while True:
            # Before anything is looked at: what is noticed from here on is for the next turn.
            self._wake.clear()
            if self._stopping.is_set():
                return
            self._errors.clear()
            again = None
            # Not even a folder that cannot be read may end this thread.
            with self._noting():
                again = self._turn()
            if self._errors:
                again = next(delays)
                self._trouble.failed(_told(self._errors), again, needs_owner=True)
            else:
                delays = backoff(FIRST_SECONDS, CAP_SECONDS)
                self._trouble.worked()
            self._wake.wait(again)

    def _turn(self) -> float | None:
        """Do all that is to be done; when to do it again. One bad file hinders no other."""
        for path in self._shelf.closed():
            if self._stopping.is_set():
                return None
            with self._noting():
                self._describe(path)
        with self._noting():
            self._shelf.sweep()
        again = self._offload() if self._offload else None
        self._prune()
        return again

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            # Renamed or removed meanwhile: then it is of no concern, or noticed anew.
            pass
        except OSError as error:
            self._errors.append(error)

    def _describe(self, path: Path) -> None:
        if Manifest.read(path) is not None:
            return
        manifest = Manifest.of(path)
        manifest.write(path)
        extent = f"{manifest.lines} lines"
        if manifest.first_ms is not None and manifest.last_ms is not None:
            extent += f", {rfc3339(manifest.first_ms)} to {rfc3339(manifest.last_ms)}"
        log.info("archive: %s closed: %s", path.name, extent)
        if manifest.damaged:
            log.warning("archive: %s is damaged at %d places", path.name, manifest.damaged)

    def _prune(self) -> None:
        if not self._keep or self._stopping.is_set():
            return
        for path in self._shelf.closed()[: -self._keep]:
            with self._noting():
                self._remove(path)

    def _remove(self, path: Path) -> None:
        if self._offload:
            manifest = Manifest.read(path)
            is_safe = manifest is not None and manifest.offloaded != ""
            if not is_safe or not is_untouched(path, path.stat()):
                return
        path.unlink(missing_ok=True)
        manifest_path(path).unlink(missing_ok=True)
        log.info("archive: %s removed: %d newer ones are kept", path.name, self._keep)


def _told(errors: Sequence[OSError]) -> str:
    more = f", and {len(errors) - 1} more" if errors[1:] else ""
    return f"{errors[0]}{more}"
