"""An archive at work on real files: lines to fill it with, and how any gzip reader sees it."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

from tweetdock.core.post import Post, Raw
from tweetdock.keep.archive import Archive
from tweetdock.keep.archive_format import ArchiveLine
from tweetdock.settings.keeping import Rotation

START_MS = 1_795_244_136_000  # 2026-11-21T06:55:36Z


class Watch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def line(number: int, received_ms: int | None = None, padding: str = "") -> ArchiveLine:
    """A line of the post with that number, received as many milliseconds after the start."""
    received_ms = START_MS + number if received_ms is None else received_ms
    post = Post(f"x:{number}", f"x:{number % 7}", received_ms - 500)
    text = json.dumps({"id": str(number), "text": f"póst {number}{padding}"}, ensure_ascii=False)
    return ArchiveLine(received_ms, "x", Raw(f"x:{number}", text, post))


def open_archive(
    path: Path,
    rotate: str = "",
    *,
    closed: Callable[[], None] = lambda: None,
    monotonic: Callable[[], float] | None = None,
) -> Archive:
    """An archive whose clock stands still, unless the test moves it."""
    return Archive(path, Rotation.parse(rotate), closed, monotonic or Watch())


def fill(path: Path, *members: range) -> None:
    """Write lines into an archive, a member for each range."""
    archive = open_archive(path)
    for numbers in members:
        archive.append(map(line, numbers))
        archive.flush(START_MS)
    archive.close(START_MS)


def numbers_in(path: Path) -> list[int]:
    """The numbers of all lines."""
    lines = gzip.decompress(path.read_bytes()).split(b"\n")
    assert lines.pop() == b""
    return [int(ArchiveLine.parse(found).raw.version.removeprefix("x:")) for found in lines]
