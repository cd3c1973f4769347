"""Archives as listeners leave them, made up for the tests."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tweetdock.core.post import Post, Raw, Span
from tweetdock.keep.archive_format import ArchiveLine, notes, pack
from tweetdock.keep.archive_reader import ArchiveReader
from tweetdock.keep.files import bytes_of

START_MS = 1_795_230_000_000


@dataclass(frozen=True)
class Chunk:
    """What goes into one member: lines, and what they make complete."""

    lines: tuple[ArchiveLine, ...] = ()
    covers: Mapping[str, tuple[Span, ...]] | None = None


def line(
    number: int,
    *,
    at: int | None = None,
    received: int = 0,
    post: str | None = None,
    source: str = "x",
) -> ArchiveLine:
    """A line of post `number`, made `at` milliseconds after the start; unreadable if None."""
    made = None if at is None else Post(f"{source}:{number}", f"{source}:7", START_MS + at)
    text = post or json.dumps({"id": str(number), "text": f"post {number} {received}"})
    return ArchiveLine(START_MS + received, source, Raw(f"{source}:{number}", text, made))


def member(chunk: Chunk) -> bytes:
    """A chunk as the archive has it."""
    note = next(notes(chunk.covers or {}), b"")
    return pack(text_of(chunk.lines), note)


def text_of(lines: Iterable[ArchiveLine]) -> bytes:
    return "".join(f"{line.as_text()}\n" for line in lines).encode()


def write(path: Path, chunks: Sequence[Chunk]) -> Path:
    """A file of the archive."""
    path.write_bytes(b"".join(map(member, chunks)))
    return path


def read(path: Path) -> tuple[list[bytes], ArchiveReader]:
    """Every line of a file, and what else is to be known of it."""
    with bytes_of(path) as buffer:
        reader = ArchiveReader(path, buffer)
        return [found.text for found, _ in reader], reader
