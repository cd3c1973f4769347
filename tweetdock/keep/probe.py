"""State, archive and bucket, as a gauge would find them; nothing is made or written."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from tweetdock.core.errors import OffloadError, TweetDockError
from tweetdock.core.finding import Check, Finding
from tweetdock.core.post import Spent
from tweetdock.core.times import duration, size
from tweetdock.keep.closed_files import ClosedFiles
from tweetdock.keep.database import FILE, State, read_state
from tweetdock.keep.files import is_held
from tweetdock.keep.permissions import cure, file_obstacle, folder_obstacle
from tweetdock.settings.keeping import KeepSettings

BUCKET_SECONDS = 3.0  # each of three tries
_STATE, _ARCHIVE = "TWEETDOCK_STATE_DIR", "TWEETDOCK_ARCHIVE"


def checks(keep: KeepSettings) -> Iterator[Check]:
    """One for each thing that is kept."""
    yield Check("state", partial(_state, keep.state_dir), (_STATE,))
    if keep.archive is not None:
        yield Check("archive", partial(_archive, keep.archive.absolute(), keep), (_ARCHIVE,))
    if keep.offload:
        yield Check("bucket", partial(_bucket, keep), ("TWEETDOCK_OFFLOAD", "AWS_"))


def spent_of(folder: Path) -> Mapping[str, Mapping[str, Spent]]:
    """What each source was asked for, by UTC day, up to the last save; empty if that is unknown."""
    with suppress(OSError):
        if state := read_state(folder, {}, 0):
            return state.spent
    return {}


def _state(folder: Path) -> Iterator[Finding]:
    file = folder / FILE
    is_ours = os.access(file, os.F_OK)
    if obstacle := folder_obstacle(folder, _STATE, is_ours=is_ours) or file_obstacle(file, _STATE):
        yield Finding.trouble("state", *obstacle)
        return
    if not folder.is_dir():
        yield Finding.well("state", f"{folder} will be made at the first start")
        return
    try:
        at_work = "; a running TweetDock uses it" if is_held(folder) else ""
        state = read_state(folder, {}, 0) if file.exists() else None
    except OSError as error:
        yield Finding.trouble("state", *_explain(error, folder))
    else:
        yield Finding.well("state", f"{folder}: {_saved(state)}{at_work}")


def _explain(error: OSError, folder: Path) -> tuple[str, str]:
    if isinstance(error, TweetDockError):
        return error.what, error.cure or cure(folder, _STATE, is_ours=True)
    says = f"{error.filename} cannot be read: {error.strerror}"
    return says, cure(folder, _STATE, is_ours=True)


def _saved(state: State | None) -> str:
    if state is None:
        return "nothing is saved yet"
    seconds = time.time() - state.saved_ms / 1000
    # In the future: the clock was wrong then, or is now.
    return f"saved {duration(seconds)} ago" if seconds >= 0 else "saved by a clock that was ahead"


def _archive(path: Path, keep: KeepSettings) -> Iterator[Finding]:
    obstacle = folder_obstacle(path.parent, _ARCHIVE) or file_obstacle(path, _ARCHIVE)
    if obstacle:
        yield Finding.trouble("archive", *obstacle)
        return
    try:
        closed = len(ClosedFiles(path).closed())
        says = f"{path}, {size(path.stat().st_size)}"
        if closed:
            says += f"; {closed} closed file{'s' * (closed != 1)} beside it"
        if is_held(path):
            says += "; a running TweetDock uses it"
        yield Finding.well("archive", says)
    except FileNotFoundError:
        yield Finding.well("archive", f"{path} will be made at the first start")
    except OSError as error:
        says = f"{path} cannot be checked: {error.strerror}"
        yield Finding.trouble("archive", says, cure(path, _ARCHIVE))
    if keep.offload and not (keep.archive_rotate.is_daily or keep.archive_rotate.size_bytes):
        yield Finding.warning(
            "archive",
            "its file is never closed, and only closed files go to the bucket",
            "TWEETDOCK_ARCHIVE_ROTATE=daily closes it at midnight UTC; logrotate can do that, too",
        )


def _bucket(keep: KeepSettings) -> Iterator[Finding]:
    # boto3 is an extra, which only the off-load needs.
    from tweetdock.keep.bucket import Bucket  # noqa: PLC0415

    try:
        Bucket(keep, patience_seconds=BUCKET_SECONDS).visit()
    except OffloadError as error:
        remedy = error.cure or "nothing: closed files stay here meanwhile"
        yield Finding.trouble("bucket", error.what, remedy)
    else:
        yield Finding.well("bucket", f"{keep.offload} exists and can be used")
