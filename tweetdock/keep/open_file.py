"""The open file of an archive, to which whole members are appended, each wholly or not at all."""

import errno
import json
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from tweetdock.core.errors import LineError, TornError, UnavailableError
from tweetdock.keep.archive_format import (
    ArchiveLine,
    Buffer,
    Member,
    glance,
    lines,
    may_be_gzip,
    pack,
    whole_end,
)
from tweetdock.keep.files import FileBytes, replace, sync, write_all
from tweetdock.keep.lock import hold

log = logging.getLogger(__name__)

_LARGEST_TORN = 4_000_000  # we write members of 1 MB of text; what is larger is somebody else's
_FULL = {errno.ENOSPC, errno.EDQUOT}
# A folder that we may not list, and file systems that know no such thing (CIFS, some of FUSE).
_UNSYNCABLE = {errno.EACCES, errno.EINVAL, errno.ENOTSUP}
_CURES = {
    errno.EACCES: "let the user that TweetDock runs as write there, or name another file",
    errno.EPERM: "let the user that TweetDock runs as write there, or name another file",
    errno.EROFS: "mount it for writing, or name another file",
    errno.EISDIR: "name a file in it",
    errno.EEXIST: "one of its folders is a file: name another one",
    errno.ENOTDIR: "one of its folders is a file: name another one",
    errno.EFBIG: "rename it, and set TWEETDOCK_ARCHIVE_ROTATE=100MB",
}


@dataclass(frozen=True, slots=True)
class _Salvage:
    """What is to stand in place of a torn end; kept in a file aside until it does.

    packed: the lines that could be read, as a member.
    after: where the torn end begins.
    inode, before: whose it is, and what it has before its torn end.
    """

    packed: bytes
    after: int
    inode: int
    before: str

    @classmethod
    def of(cls, text: bytes, fd: int, after: int) -> "_Salvage":
        inode, before = os.fstat(fd).st_ino, _before(fd, after)
        note = json.dumps({"salvaged": {"after": after, "inode": inode, "before": before}})
        return cls(pack(text, note.encode()), after, inode, before)

    @classmethod
    def read(cls, path: Path) -> "_Salvage | None":
        try:
            packed = path.read_bytes()
            member = Member(packed, 0)
            member.read()
            note = json.loads(member.note)["salvaged"]
            return cls(packed, int(note["after"]), int(note["inode"]), str(note["before"]))
        except FileNotFoundError:
            return None
        except (TornError, ValueError, TypeError, KeyError):
            return None

    def is_of(self, fd: int) -> bool:
        stat = os.fstat(fd)
        is_long_enough = stat.st_ino == self.inode and stat.st_size >= self.after
        return is_long_enough and _before(fd, self.after) == self.before

    def text(self) -> bytes:
        return Member(self.packed, 0).read()

    def put(self, fd: int) -> None:
        if os.pread(fd, len(self.packed), self.after) != self.packed:
            os.ftruncate(fd, self.after)
            write_all(fd, self.packed)
        os.fsync(fd)


def mend(fd: int, path: Path) -> None:
    """Make an open file, which is held, one to which a member can be appended.

    The lines that can be read of a torn end come to stand there again as a whole member, the rest
    is given up. Whenever this is interrupted, the next time finishes it; no line that could be
    read is lost. Raises UnavailableError, and leaves all as it is, if the file is not ours;
    OSError if the disk does not take it now.
    """
    aside = path.with_name(path.name + ".salvaged")
    unfinished = _Salvage.read(aside)
    if unfinished and unfinished.is_of(fd):
        _finish(unfinished, fd, aside)
        unfinished = None
    buffer = FileBytes(fd, path)
    size = len(buffer)
    after = whole_end(buffer)
    kept = _readable(buffer, after, path) if after < size else []
    if after < size:
        lost = f"{size - after} bytes at the end of {path.name} were torn"
        log.warning("archive: %s; %d whole lines of them are kept", lost, len(kept))
    # What was salvaged from a file that has been renamed since is not lost with it.
    text = (unfinished.text() if unfinished else b"") + b"".join(kept)
    if text:
        salvage = _Salvage.of(text, fd, after)
        replace(aside, salvage.packed)
        _finish(salvage, fd, aside)
    elif after < size:
        os.ftruncate(fd, after)


def _finish(salvage: _Salvage, fd: int, aside: Path) -> None:
    salvage.put(fd)
    aside.unlink()
    # Should the file aside come back by a power cut, more may have been appended.
    sync(aside.parent)


def _before(fd: int, after: int) -> str:
    length = min(16, after)
    return os.pread(fd, length, after - length).hex()


def _readable(buffer: Buffer, after: int, path: Path) -> list[bytes]:
    """The whole lines in what follows the last whole member; UnavailableError if not ours."""
    torn = buffer[after:]
    # After a power cut, a file may end in zeros that were to become something.
    if after == 0 and not may_be_gzip(torn) and torn.strip(b"\0"):
        raise UnavailableError(f"TWEETDOCK_ARCHIVE={path}: it is no gzip file: name another one")
    kept, others = [], 0
    for line in lines(torn):
        if not isinstance(line, bytes) or not line.endswith(b"\n"):
            continue
        try:
            ArchiveLine.parse(line)
        except LineError:
            others += 1
        else:
            kept.append(line)
    if not kept and (others or len(torn) > _LARGEST_TORN):
        raise UnavailableError(
            f"TWEETDOCK_ARCHIVE={path}: it is damaged, and its end was not written by TweetDock: "
            "move it away or name another one"
        )
    return kept


class OpenFile:
    """An open file, held against other daemons until it is closed; its torn end is mended first.

    first_ms: when its first line was received; None if there is none.
    is_whole: False once a member was written in part and could not be cut off again.
    is_synced: whether all that is in it outlasts a power cut.
    Raises UnavailableError for what will not mend itself, OSError for a full disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_whole = True
        # What a killed TweetDock has written last is in the disk's cache only.
        self.is_synced = False
        try:
            _make(path.parent)
            self._fd, self.first_ms = _open(path)
        except UnavailableError:
            raise
        except OSError as error:
            if error.errno in _FULL:
                raise
            cure = _CURES.get(error.errno or 0, "name another file")
            reason = error.strerror or str(error)
            raise UnavailableError(f"TWEETDOCK_ARCHIVE={path}: {reason}: {cure}") from error

    @property
    def stat(self) -> os.stat_result:
        """The file as it is, whatever it is called by now."""
        return os.fstat(self._fd)

    @property
    def is_in_place(self) -> bool:
        """Whether it is still what is found at its path, as far as that can be found out."""
        return _is_at(self.path, self.stat)

    def append(self, member: bytes, first_ms: int | None = None) -> None:
        """Write a member, whose first line was received at `first_ms`.

        When it raises OSError, the file is as before, or no longer `is_whole`.
        """
        size = self.stat.st_size
        self.is_synced = False
        try:
            write_all(self._fd, member)
        except OSError:
            self.is_whole = False
            os.ftruncate(self._fd, size)
            self.is_whole = True
            raise
        if self.first_ms is None:
            self.first_ms = first_ms

    def sync(self) -> None:
        """See to it that what was appended outlasts a power cut.

        When it raises OSError, what was appended since it last worked may be gone: the kernel
        keeps no page that it could not write, and says nothing of it when asked again.
        """
        if not self.is_synced:
            os.fdatasync(self._fd)
            self.is_synced = True

    def close(self) -> None:
        """Let go of the file; raises OSError if the disk has not taken all of it."""
        try:
            self.sync()
        finally:
            os.close(self._fd)


def _make(folder: Path) -> None:
    missing = [above for above in (folder, *folder.parents) if not above.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _sync_names(made.parent)


def _sync_names(folder: Path) -> None:
    try:
        sync(folder)
    except OSError as error:
        if error.errno not in _UNSYNCABLE:
            raise


def _open(path: Path) -> tuple[int, int | None]:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    while True:
        fd = os.open(path, flags, 0o640)
        try:
            stat = _regular(fd, path)
            # Logrotate may rename it between the opening and the holding.
            hold(fd, path)
            if _is_at(path, stat):
                mend(fd, path)
                if not stat.st_size:
                    _sync_names(path.parent)
                return fd, _first_ms(fd, path)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _regular(fd: int, path: Path) -> os.stat_result:
    stat = os.fstat(fd)
    if not S_ISREG(stat.st_mode):
        raise UnavailableError(f"TWEETDOCK_ARCHIVE={path}: it is no file: name another one")
    return stat


def _is_at(path: Path, stat: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), stat)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        # A folder that cannot be entered now: what is open can be written all the same.
        return True


def _first_ms(fd: int, path: Path) -> int | None:
    for line in lines(FileBytes(fd, path)):
        if isinstance(line, bytes):
            with suppress(LineError):
                return glance(line)[0]
    return None
