"""What keeping costs: bytes written in an hour, and lines archived in a second."""

import gzip
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.made_up import HOUR, NOON, as_sent, make_post
from benchmarks.table import lines, race
from tweetdock.core.gauge import Gauge
from tweetdock.core.post import Batch, Feed, Post, Raw, Span
from tweetdock.keep.archive import FLUSH_SECONDS, Archive
from tweetdock.keep.archive_format import ArchiveLine
from tweetdock.keep.keeper import Keeper
from tweetdock.settings.gauge import Settings
from tweetdock.settings.keeping import Rotation

POLL_MS = 5000
LINES = 20_000
POSTS_A_SECOND = 50  # X's rate limit allows for no more
SUBJECTS = {"x": "#dockercon -is:retweet"}


class Time:
    """Milliseconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.ms = NOON - HOUR

    def seconds(self) -> float:
        """Return it as a monotonic clock would."""
        return self.ms / 1000


def rows() -> Iterator[str]:
    """Measure; return the table's rows."""
    for posts in (0, 500, 5_000):
        for keeps in ("the state", "the state and the archive") if posts else ("the state",):
            written = hour_of(posts, has_archive=keeps != "the state")
            what = f"written in an hour of {posts:,} posts: {keeps}"
            yield from lines(what, "MB", written / 1e6, {})
    yield from archive_rows()


def hour_of(posts: int, *, has_archive: bool) -> int:
    """Return the bytes handed to the system in an hour of polls."""
    made = [make_post(number, posts) for number in range(posts)]
    time, process = Time(), psutil.Process()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tweets.jsonl.gz"
        env = {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": "t"}
        settings = Settings.from_env(env | {"TWEETDOCK_STATE_DIR": folder})
        archive = partial(Archive, path, Rotation(), lambda: None, time.seconds)
        opened = archive if has_archive else None
        keeper = Keeper(settings, SUBJECTS, opened, monotonic=time.seconds)
        gauge = Gauge(settings.gauge, [Feed("x", 105_000)], time.ms, keeper.recall())
        before = process.io_counters().write_chars
        while time.ms < NOON:
            time.ms += POLL_MS
            new, made = split(made, time.ms)
            poll(keeper, gauge, time, new)
            for _ in range(round(POLL_MS / FLUSH_SECONDS / 1000)):
                keeper.turn(gauge, gauge.read(time.ms), (0.0, 0.0), is_confirmed=True)
        return int(process.io_counters().write_chars - before)


def split(posts: list[Post], ms: int) -> tuple[list[Post], list[Post]]:
    """Return those up to a moment, and those after it."""
    number = sum(post.created_ms <= ms for post in posts)
    return posts[:number], posts[number:]


def poll(keeper: Keeper, gauge: Gauge, time: Time, posts: list[Post]) -> None:
    """Let a page come in as X's search does."""
    span = Span(time.ms - 35_000, time.ms - 30_000)
    batch = Batch(
        source="x",
        posts=tuple(posts),
        covers=span,
        raw=tuple(raw_of(post) for post in posts),
        cursor=json.dumps({"newest_id": 1_790_000_000_000 << 22}),
    )
    keeper.keep(batch, gauge.deliver(batch, time.ms), time.ms)


def raw_of(post: Post) -> Raw:
    """Return the post as X sends it."""
    return Raw(post.key, json.dumps(as_sent(post)), post)


def archive_rows() -> Iterator[str]:
    """Measure lines a second, at full speed and as few at a time as come in."""
    made = [ArchiveLine(NOON, "x", raw_of(make_post(n, LINES))) for n in range(LINES)]
    with TemporaryDirectory() as folder:
        for what, at_once in (("1 MB", LINES), ("a second of 50 posts", POSTS_A_SECOND)):
            contenders = {
                "ours": partial(partial, archived, Path(folder), made, at_once),
                "`gzip.open`, never flushed": partial(partial, gzipped, Path(folder), made),
            }
            seconds = race(contenders, rounds=3)
            speeds = {name: LINES / taken for name, taken in seconds.items()}
            text = f"lines archived in a second, a gzip member for {what} (more is better)"
            yield from lines(text, "lines/s", speeds.pop("ours"), speeds)


def archived(folder: Path, made: list[ArchiveLine], at_once: int) -> None:
    """Archive the lines, so many at once."""
    path = folder / "ours.jsonl.gz"
    path.unlink(missing_ok=True)
    archive = Archive(path, Rotation(), lambda: None)
    for start in range(0, len(made), at_once):
        archive.append(made[start : start + at_once])
        archive.flush(NOON)
    archive.close(NOON)


def gzipped(folder: Path, made: list[ArchiveLine]) -> None:
    """Do the same by Python's gzip."""
    with gzip.open(folder / "plain.jsonl.gz", "wb", compresslevel=6) as file:
        for line in made:
            file.write(line.as_text().encode() + b"\n")
