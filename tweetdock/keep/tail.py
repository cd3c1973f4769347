"""The end of an archive file that a kill, a power cut or a full disk has torn, and its mending."""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from tweetdock.core.errors import LineError, TornError, UnavailableError
from tweetdock.keep.archive_format import Buffer, Member, lines, may_be_gzip, pack, whole_end
from tweetdock.keep.archive_line import Line
from tweetdock.keep.files import FileBytes, replace, sync_folder, write_all

log = logging.getLogger(__name__)

_LARGEST_TORN = 4_000_000  # we write members of 1 MB of text; what is larger is somebody else's


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
    sync_folder(aside.parent)


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
            Line.parse(line)
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
