"""The doctor's look at a recording: whether it is there, can be read, and has posts."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tweetdock.core.errors import TornError
from tweetdock.core.post import Post
from tweetdock.doctor.findings import Finding, Verdict
from tweetdock.sources.recordings import Findings, Text, entries

BEGINNING = 1 << 20  # bytes, unpacked
LOOK_SECONDS = 10.0
PATIENCE = 100_000  # so many entries without a post are enough
PACKED = {
    b"\x1f\x8b": "",  # gzip, which is read as it is
    b"BZh": "bunzip2",
    b"\xfd7zXZ\x00": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
    b"PK\x03\x04": "unzip",
    b"PAR1": "",
}


class ReplayCheckup:
    """Reads the beginning of a file as a replay would.

    name: the source as the owner writes it. lines: gives a file's lines, packed or not; may raise
    OSError.
    """

    def __init__(self, name: str, path: Path, lines: Callable[[Path], Iterator[Text]]) -> None:
        self._name = name
        self._path = path
        self._lines = lines
        self._read = 0

    def look(self) -> Iterator[Finding]:
        """One line."""
        try:
            beginning = self._beginning()
            # Now it is known to be no pipe, in which nothing may ever come.
            with self._path.open("rb") as file:
                head = file.read(8)
            yield self._judge(head, *beginning)
        except OSError as error:
            says = f"{self._path} cannot be read: {error.strerror or error}"
            yield self._finding(Verdict.FAIL, says, self._cure(error))

    def _beginning(self) -> tuple[int, Findings, bool]:
        """How many posts its beginning has, what else, and whether that was all of it."""
        until, findings, posts = time.monotonic() + LOOK_SECONDS, Findings(), 0
        for entry in entries(self._texts()):
            findings.take(entry)
            posts += isinstance(entry, Post)
            is_enough = self._read > BEGINNING and (posts or findings.entries > PATIENCE)
            if is_enough or time.monotonic() > until:
                return posts, findings, False
        return posts, findings, True

    def _texts(self) -> Iterator[Text]:
        for text in self._lines(self._path):
            self._read += 0 if isinstance(text, TornError) else len(text)
            yield text

    def _judge(self, head: bytes, posts: int, findings: Findings, is_all: bool) -> Finding:  # noqa: FBT001 - as it was found
        packing = next((magic for magic in PACKED if head.startswith(magic)), b"")
        form = "gzip, " if packing == b"\x1f\x8b" else ""
        if not posts:
            return self._finding(Verdict.FAIL, *self._without_posts(packing, findings))
        scope = "" if is_all else "of its first megabyte "
        says = f"{self._path}: {form}{posts:,} of {findings.entries:,} entries {scope}are posts"
        if troubles := "; ".join(findings.sentences):
            cure = "nothing, if that is known: the rest is played; else look at the file"
            return self._finding(Verdict.WARN, f"{says}; {troubles}", cure)
        return self._finding(Verdict.PASS, says)

    def _without_posts(self, packing: bytes, findings: Findings) -> tuple[str, str]:
        if unpack := PACKED.get(packing):
            says = f"{self._path} is packed in a way that is not read here; gzip is"
            return says, f"unpack it: {unpack} {self._path}"
        if packing == b"PAR1":
            return f"{self._path} is a Parquet file, and no recording", "replay the archive itself"
        found = "; ".join((*findings.sentences, *findings.others))
        says = f"{self._path} has no posts{f': {found}' if found else ', it is empty'}"
        return says, (
            "replay an archive of TweetDock's, or what X, Bluesky or Mastodon sent, a post a line"
        )

    def _cure(self, error: OSError) -> str:
        if isinstance(error, FileNotFoundError):
            return f"check TWEETDOCK_SOURCES={self._name}: the path is taken from where you start"
        if isinstance(error, PermissionError):
            return f"let the user who runs TweetDock read it: chmod a+r {self._path}"
        return "name a file that can be read in TWEETDOCK_SOURCES=replay:FILE"

    def _finding(self, verdict: Verdict, says: str, cure: str = "") -> Finding:
        return Finding("replay", verdict, says, cure)
