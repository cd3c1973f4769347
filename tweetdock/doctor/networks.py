"""The doctor's checks of the sources: which there are, and that of a recording."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tweetdock.core.errors import TornError
from tweetdock.core.post import Post, feed_name
from tweetdock.doctor.checks import Check, Finding, Verdict
from tweetdock.settings.gauge import Settings
from tweetdock.settings.networks import REPLAY, asks_x, host_of, replayed_file
from tweetdock.sources.choice import credentials_of
from tweetdock.sources.recordings import RecordingSummary, Text, entries

BEGINNING_BYTES = 1 << 20  # unpacked
READING_SECONDS = 10.0
PATIENCE = 100_000
PACKED = {
    b"\x1f\x8b": "",  # gzip, which is read as it is
    b"BZh": "bunzip2",
    b"\xfd7zXZ\x00": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
    b"PK\x03\x04": "unzip",
    b"PAR1": "",
}


class ReplayCheckup:
    """Reads the beginning of a recording as a replay would.

    name: the source as the owner writes it. lines: gives a file's lines, packed or not; may raise
    OSError. patience: so many entries without a post are enough.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        lines: Callable[[Path], Iterator[Text]],
        *,
        beginning_bytes: int = BEGINNING_BYTES,
        patience: int = PATIENCE,
    ) -> None:
        self._name = name
        self._path = path
        self._lines = lines
        self._beginning_bytes = beginning_bytes
        self._patience = patience
        self._read = 0

    def check(self) -> Iterator[Finding]:
        """One finding."""
        try:
            beginning = self._beginning()
            # Now it is known not to be a pipe, which may never send anything.
            with self._path.open("rb") as file:
                head = file.read(8)
            yield self._judge(head, *beginning)
        except OSError as error:
            says = f"{self._path} cannot be read: {error.strerror or error}"
            yield self._finding(Verdict.FAIL, says, self._cure(error))

    def _beginning(self) -> tuple[int, RecordingSummary, bool]:
        """How many posts its beginning has, what else, and whether that was all of it."""
        until, findings, posts = time.monotonic() + READING_SECONDS, RecordingSummary(), 0
        for entry in entries(self._texts()):
            findings.count(entry)
            posts += isinstance(entry, Post)
            is_enough = self._read > self._beginning_bytes and (
                posts or findings.entries > self._patience
            )
            if is_enough or time.monotonic() > until:
                return posts, findings, False
        return posts, findings, True

    def _texts(self) -> Iterator[Text]:
        for text in self._lines(self._path):
            self._read += 0 if isinstance(text, TornError) else len(text)
            yield text

    def _judge(self, head: bytes, posts: int, findings: RecordingSummary, is_all: bool) -> Finding:  # noqa: FBT001 - as it was found
        packing = next((magic for magic in PACKED if head.startswith(magic)), b"")
        form = "gzip, " if packing == b"\x1f\x8b" else ""
        if not posts:
            return self._finding(Verdict.FAIL, *self._without_posts(packing, findings))
        scope = "" if is_all else "of its first megabyte "
        says = f"{self._path}: {form}{posts:,} of {findings.entries:,} entries {scope}are posts"
        if troubles := "; ".join(findings.sentences):
            cure = "nothing, if you know of that: the rest is played; else check the file"
            return self._finding(Verdict.WARN, f"{says}; {troubles}", cure)
        return self._finding(Verdict.PASS, says)

    def _without_posts(self, packing: bytes, findings: RecordingSummary) -> tuple[str, str]:
        if unpack := PACKED.get(packing):
            says = f"{self._path} is packed in a way that TweetDock does not read; it reads gzip"
            return says, f"unpack it: {unpack} {self._path}"
        if packing == b"PAR1":
            return f"{self._path} is a Parquet file, not a recording", "replay the archive itself"
        found = "; ".join((*findings.sentences, *findings.others))
        says = f"{self._path} has no posts{f': {found}' if found else ', it is empty'}"
        return says, (
            "replay an archive of TweetDock, or posts that X, Bluesky or Mastodon sent, one a line"
        )

    def _cure(self, error: OSError) -> str:
        if isinstance(error, FileNotFoundError):
            return f"check TWEETDOCK_SOURCES={self._name}: its path begins where you start"
        if isinstance(error, PermissionError):
            return f"let the user who runs TweetDock read it: chmod a+r {self._path}"
        return "name a file that can be read in TWEETDOCK_SOURCES=replay:FILE"

    def _finding(self, verdict: Verdict, says: str, cure: str = "") -> Finding:
        return Finding("replay", verdict, says, cure)


def source_checks(settings: Settings, lines: Callable[[Path], Iterator[Text]]) -> Iterator[Check]:
    """The checks, each for a thread of its own; nothing is asked yet.

    lines: gives a file's lines, packed or not; may raise OSError. A check ends within 15 seconds.
    A server may send back what it was sent, so findings may have secrets in them.
    """
    sources = settings.sources
    if asks_x(sources):
        yield Check("x", partial(_check_x, settings))
    if "bluesky" in sources:
        yield Check("bluesky", partial(_check_bluesky, settings))
    if "mastodon" in sources:
        for server in settings.networks.mastodon:
            thing = feed_name("mastodon", host_of(server))
            yield Check(thing, partial(_check_mastodon, settings, server))
    if "demo" in sources:
        yield Check("demo", _check_demo)
    for source in sources:
        if source.startswith(REPLAY):
            yield Check("replay", ReplayCheckup(source, replayed_file(source), lines).check)


# Each network brings libraries of its own: only those in use are imported.


def _check_x(settings: Settings) -> Iterator[Finding]:
    from tweetdock.doctor.x import XCheckup  # noqa: PLC0415

    yield from XCheckup(settings, credentials_of(settings)).check()


def _check_bluesky(settings: Settings) -> Iterator[Finding]:
    from tweetdock.doctor.bluesky import BlueskyCheckup  # noqa: PLC0415

    yield from BlueskyCheckup(settings.networks.jetstream).check()


def _check_mastodon(settings: Settings, server: str) -> Iterator[Finding]:
    from tweetdock.doctor.mastodon import MastodonCheckup  # noqa: PLC0415

    token = settings.networks.mastodon_tokens.get(host_of(server), "")
    tag, seconds = settings.hashtags[0], settings.poll_seconds
    yield from MastodonCheckup(server, token, tag, poll_seconds=seconds).check()


def _check_demo() -> Iterator[Finding]:
    yield Finding("demo", Verdict.PASS, "the posts are made up, so no network is needed")
