"""The doctor's checks of what is saved: state, disk, archive and bucket."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from tweetdock.core.errors import OffloadError, StateError
from tweetdock.core.post import Spent
from tweetdock.core.times import duration
from tweetdock.doctor.checks import Check, Finding, Verdict
from tweetdock.doctor.permissions import cure, file_cure, file_obstacle, nearest, obstacle
from tweetdock.keep.closed_files import ClosedFiles
from tweetdock.keep.database import FILE, MIGRATIONS, Condition, condition_of
from tweetdock.keep.lock import STATE_LOCK, is_held
from tweetdock.settings.keeping import KeepSettings

LITTLE_BYTES, LEAST_BYTES = 500_000_000, 50_000_000
BUCKET_SECONDS = 3.0  # each of three tries
_ROOM = (
    "make room: TWEETDOCK_ARCHIVE_KEEP and TWEETDOCK_OFFLOAD remove old archive files; "
    "`sudo apt clean` and `journalctl --vacuum-size=50M` remove old packages and logs"
)


def keep_checks(keep: KeepSettings) -> list[Check]:
    """The checks; nothing is made, written or locked."""
    checks = [
        Check("state", partial(_check_state, keep.state_dir)),
        disk_check(keep.state_dir),
    ]
    if keep.archive is not None:
        checks.append(Check("archive", partial(_check_archive, keep.archive.absolute(), keep)))
    if keep.offload:
        checks.append(Check("bucket", partial(_check_bucket, keep)))
    return checks


def disk_check(folder: Path) -> Check:
    """The free space on the disk of a folder, which may not be there yet."""
    return Check("disk", lambda: iter([_disk("disk", folder)]))


def spent_of(folder: Path) -> Mapping[str, Mapping[str, Spent]]:
    """What each source was asked for, by UTC day, up to the last save; empty if that is unknown."""
    with suppress(OSError):
        condition = condition_of(folder, is_held=_is_at_work(folder))
        return condition.spent if condition else {}
    return {}


def _check_state(folder: Path) -> Iterator[Finding]:
    trouble = obstacle(folder)
    if nearest(folder) != folder or not folder.is_dir():
        if trouble:
            yield Finding("state", Verdict.FAIL, trouble, cure(folder, "TWEETDOCK_STATE_DIR"))
        else:
            yield Finding("state", Verdict.PASS, f"{folder} will be made at the first start")
        return
    remedy = cure(folder, "TWEETDOCK_STATE_DIR", is_ours=_has_state(folder))
    if trouble:
        yield Finding("state", Verdict.FAIL, trouble, remedy)
    try:
        if not trouble and (trouble := file_obstacle(folder / FILE)):
            remedy = file_cure(folder / FILE, "TWEETDOCK_STATE_DIR")
            yield Finding("state", Verdict.FAIL, trouble, remedy)
        is_at_work = _is_at_work(folder)
        finding = _state(folder, condition_of(folder, is_held=is_at_work), is_at_work=is_at_work)
    except StateError as error:
        finding = Finding("state", Verdict.FAIL, str(error), remedy)
    except OSError as error:
        says = f"{error.filename} cannot be read: {error.strerror}"
        finding = Finding("state", Verdict.FAIL, says, remedy)
    # One line for one cause; but a damaged file gets a line of its own.
    if not trouble or "damaged" in finding.says:
        yield finding


def _state(folder: Path, condition: Condition | None, *, is_at_work: bool) -> Finding:
    at_work = "; a running TweetDock uses it" if is_at_work else ""
    if condition is None:
        return Finding("state", Verdict.PASS, f"{folder}: nothing is saved yet{at_work}")
    if condition.damage:
        return Finding(
            "state",
            Verdict.FAIL,
            f"{folder}/state.db is damaged: {condition.damage}",
            "put a backup of it there now if you have one; else the next start moves it aside and "
            "begins a new history. After a power cut that is bad luck; if it happens again, the SD "
            "card is worn out",
        )
    if condition.version > len(MIGRATIONS):
        return Finding(
            "state",
            Verdict.FAIL,
            f"{folder}/state.db was written by a newer TweetDock",
            "install that version again, or move the file away to begin a new history",
        )
    if condition.version < len(MIGRATIONS):
        says = f"{folder}: from an older TweetDock; the next start converts it{at_work}"
        return Finding("state", Verdict.PASS, says)
    return Finding("state", Verdict.PASS, f"{folder}: {_saved(condition.saved_ms)}{at_work}")


def _saved(saved_ms: int | None) -> str:
    if saved_ms is None:
        return "nothing is saved yet"
    seconds = time.time() - saved_ms / 1000
    # In the future: the clock was wrong then, or is now.
    return f"saved {duration(seconds)} ago" if seconds >= 0 else "saved by a clock that was ahead"


def _disk(thing: str, path: Path) -> Finding:
    place = nearest(path)
    try:
        disk = os.statvfs(place)
    except OSError as error:
        says = f"the disk of {place} cannot be checked: {error.strerror}"
        return Finding(thing, Verdict.FAIL, says, "check the disk: `dmesg` may say more")
    if disk.f_flag & os.ST_RDONLY:
        return Finding(
            thing,
            Verdict.FAIL,
            f"the file system of {place} is read-only",
            "Linux does that when an SD card fails (see `dmesg`): replace the card; if it was "
            "mounted so on purpose, choose another folder",
        )
    if disk.f_blocks == 0:
        return Finding(thing, Verdict.PASS, f"{place} does not say how much is free")
    free = disk.f_bavail * disk.f_frsize
    says = f"{_size(free)} free at {place}"
    if free < LEAST_BYTES:
        return Finding(thing, Verdict.FAIL, f"only {says}", _ROOM)
    if free < LITTLE_BYTES:
        return Finding(thing, Verdict.WARN, f"only {says}", _ROOM)
    return Finding(thing, Verdict.PASS, says)


def _check_archive(path: Path, keep: KeepSettings) -> Iterator[Finding]:
    if trouble := obstacle(path.parent):
        yield Finding("archive", Verdict.FAIL, trouble, cure(path.parent, "TWEETDOCK_ARCHIVE"))
        return
    if trouble := file_obstacle(path):
        remedy = file_cure(path, "TWEETDOCK_ARCHIVE")
        yield Finding("archive", Verdict.FAIL, trouble, remedy)
        return
    yield _archive(path)
    if _device(path.parent) != _device(keep.state_dir):
        yield _disk("archive", path.parent)
    if keep.offload and not (keep.archive_rotate.is_daily or keep.archive_rotate.size_bytes):
        yield Finding(
            "archive",
            Verdict.WARN,
            "its file is never closed, and only closed files go to the bucket",
            "TWEETDOCK_ARCHIVE_ROTATE=daily closes it at midnight UTC; logrotate can do that, too",
        )


def _device(folder: Path) -> int:
    """The disk on which it is, or is to be; 0 if nobody knows."""
    try:
        return nearest(folder).stat().st_dev
    except OSError:
        return 0


def _archive(path: Path) -> Finding:
    try:
        closed = len(ClosedFiles(path).closed())
        size = path.stat().st_size
        at_work = "; a running TweetDock uses it" if is_held(path) else ""
    except FileNotFoundError:
        return Finding("archive", Verdict.PASS, f"{path} will be made at the first start")
    except OSError as error:
        says = f"{path} cannot be checked: {error.strerror}"
        return Finding("archive", Verdict.FAIL, says, cure(path, "TWEETDOCK_ARCHIVE"))
    files = f"; {closed} closed file{'s' * (closed != 1)} beside it" if closed else ""
    return Finding("archive", Verdict.PASS, f"{path}, {_size(size)}{files}{at_work}")


def _check_bucket(keep: KeepSettings) -> Iterator[Finding]:
    # boto3 is an extra, which only the off-load needs.
    from tweetdock.keep.bucket import Bucket, S3Access  # noqa: PLC0415

    try:
        bucket = Bucket(keep.offload, S3Access.of(keep), patience_seconds=BUCKET_SECONDS)
        bucket.visit()
    except OffloadError as error:
        says, _, remedy = str(error).partition(": ")
        yield Finding("bucket", Verdict.FAIL, says, remedy or "closed files stay here meanwhile")
    else:
        yield Finding("bucket", Verdict.PASS, f"{keep.offload} exists and can be used")


def _has_state(folder: Path) -> bool:
    with suppress(OSError):
        return (folder / FILE).exists()
    return False


def _is_at_work(folder: Path) -> bool:
    try:
        return is_held(folder / STATE_LOCK)
    except FileNotFoundError:
        return False


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
