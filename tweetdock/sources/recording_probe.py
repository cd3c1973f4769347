"""Reads the beginning of a recording as a replay would."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tweetdock.core.errors import TornError
from tweetdock.core.finding import Finding
from tweetdock.core.post import Post
from tweetdock.sources.recordings import RecordingSummary, Text, entries

BEGINNING_BYTES = 1 << 20  # unpacked
READING_SECONDS = 10.0
PATIENCE = 100_000  # entries without a post
PACKED = {b"BZh": "bunzip2", b"\xfd7zXZ\x00": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
PACKED |= {b"PK\x03\x04": "unzip"}
GZIP, PARQUET = b"\x1f\x8b", b"PAR1"


def probe(
    name: str,
    path: Path,
    lines: Callable[[Path], Iterator[Text]],
    *,
    beginning_bytes: int = BEGINNING_BYTES,
    patience: int = PATIENCE,
) -> Iterator[Finding]:
    """One finding.

    name: the source as the owner writes it. lines: gives a file's lines, packed or not; may raise
    OSError. patience: so many entries without a post are enough.
    """
    until, summary = time.monotonic() + READING_SECONDS, RecordingSummary()
    posts, read, is_whole = 0, 0, True

    def texts() -> Iterator[Text]:
        nonlocal read
        for text in lines(path):
            read += 0 if isinstance(text, TornError) else len(text)
            yield text

    try:
        for entry in entries(texts()):
            summary.count(entry)
            posts += isinstance(entry, Post)
            is_enough = read > beginning_bytes and (posts or summary.entries > patience)
            if is_enough or time.monotonic() > until:
                is_whole = False
                break
        # Now it is known not to be a pipe, which may never send anything.
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        says = f"{path} cannot be read: {error.strerror or error}"
        yield Finding.trouble("replay", says, _cure(name, path, error))
        return
    if not posts:
        yield _without_posts(path, head, summary)
        return
    form = "gzip, " if head.startswith(GZIP) else ""
    scope = "" if is_whole else "of its first megabyte "
    says = f"{path}: {form}{posts:,} of {summary.entries:,} entries {scope}are posts"
    if troubles := "; ".join(summary.sentences):
        cure = "nothing, if you know of that: the rest is played; else check the file"
        yield Finding.warning("replay", f"{says}; {troubles}", cure)
    else:
        yield Finding.well("replay", says)


def _without_posts(path: Path, head: bytes, summary: RecordingSummary) -> Finding:
    for magic, unpack in PACKED.items():
        if head.startswith(magic):
            says = f"{path} is packed in a way that TweetDock does not read; it reads gzip"
            return Finding.trouble("replay", says, f"unpack it: {unpack} {path}")
    if head.startswith(PARQUET):
        says = f"{path} is a Parquet file, not a recording"
        return Finding.trouble("replay", says, "replay the archive itself")
    found = "; ".join((*summary.sentences, *summary.others))
    return Finding.trouble(
        "replay",
        f"{path} has no posts{f': {found}' if found else ', it is empty'}",
        "replay an archive of TweetDock, or posts that X, Bluesky or Mastodon sent, one a line",
    )


def _cure(name: str, path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"check TWEETDOCK_SOURCES={name}: its path begins where you start"
    if isinstance(error, PermissionError):
        return f"let the user who runs TweetDock read it: chmod a+r {path}"
    return "name a file that can be read in TWEETDOCK_SOURCES=replay:FILE"
