"""A recording as a source: its posts once more, from now on, as fast as wanted."""

import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from pathlib import Path

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import UnavailableError
from tweetdock.core.finding import Finding
from tweetdock.core.post import Batch, Feed, Post, Span
from tweetdock.core.times import clock_time, rfc3339
from tweetdock.sources.polling import Pause
from tweetdock.sources.recordings import Recording, Text, entries

log = logging.getLogger(__name__)

Lines = Callable[[Path], Iterator[Text]]  # of a file, packed or not; it may raise OSError

REST_MS = 60_000  # before a recording begins anew
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
STEP_SECONDS = 30.0  # of the clock, so that no fast one takes a pause for silence
GRACE_SECONDS = 1.0  # a poll may be this late before the lack of it counts as a gap
PIECE = 5_000  # so many posts, or entries to read, make a batch
PROBE_SECONDS = 10.0
READABLE = "replay an archive of TweetDock, or posts that X, Bluesky or Mastodon sent, one a line"


class Schedule:
    """When each post is played: the first at `start_ms`, all as far apart as in the file.

    posts: in the order of time, at least one. Stateless: any stretch of time can be asked for
    again. Times in Unix milliseconds.
    """

    def __init__(self, posts: Sequence[Post], start_ms: int, *, loops: bool) -> None:
        self._posts = posts
        self._start_ms = start_ms
        self._loops = loops
        self._first_ms, self._last_ms = posts[0].created_ms, posts[-1].created_ms
        self._round_ms = self._last_ms - self._first_ms + REST_MS

    def posts_in(self, span: Span) -> Iterator[Post]:
        """The posts of a stretch of time, soonest first."""
        (first_turn, _), (last_turn, _) = map(self._place, span)
        for turn in range(first_turn, last_turn + 1):
            by_ms = self._start_ms + turn * self._round_ms - self._first_ms
            first, end = (bisect_right(self._posts, ms - by_ms, key=_created_ms) for ms in span)
            for post in self._posts[first:end]:
                key = f"{post.key} (round {turn + 1})" if turn else post.key
                yield Post(key, post.author, post.created_ms + by_ms)

    def file_ms(self, now_ms: int) -> int | None:
        """Which moment of the recording is being played; None after the last post."""
        _, file_ms = self._place(now_ms)
        if file_ms >= self._last_ms and not self._loops:
            return None
        return min(max(file_ms, self._first_ms), self._last_ms)

    def _place(self, now_ms: int) -> tuple[int, int]:
        """The round, from 0, and the moment of the file in it."""
        played_ms = now_ms - self._start_ms
        turn = max(0, played_ms // self._round_ms) if self._loops else 0
        return turn, self._first_ms + played_ms - turn * self._round_ms


class Replay:
    """The posts of a file, moved so that the first is made at the first poll.

    No hashtag is looked for: a recording is what it is. The clock is to run `speed` times as fast
    as the machine's, and the gauge's likewise; between two posts passes as much of its time as in
    the file. With `loops` the file begins anew after a rest; then each post is another one, by the
    same author.

    name: what everybody may call it. The first `poll` reads the file; it raises UnavailableError
    if that cannot be read or has no posts.
    """

    channel = ""

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        clock: Clock,
        window_seconds: float,
        lines: Lines,
        speed: float = 1.0,
        loops: bool = False,
    ) -> None:
        self._step = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, STEP_SECONDS / speed))
        self.feed = Feed(name, round((self._step + GRACE_SECONDS) * speed * 1000))
        self._clock = clock
        self._speed = speed
        self._loops = loops
        self._window_ms = round(window_seconds * 1000)
        self._path = path
        self._lines = lines
        self._schedule: Schedule | None = None

    def poll(self, seen: Spans) -> Iterator[Batch]:
        """What has become due; the first time, after the file has been read."""
        if self._schedule is None:
            posts = yield from self._read()
            self._schedule = Schedule(posts, self._clock.now_ms(), loops=self._loops)
        now_ms = self._clock.now_ms()
        floor_ms = now_ms - self._window_ms
        # Before the first post there is none.
        span = Span(max(floor_ms, seen.until_ms or floor_ms), now_ms)
        due = self._schedule.posts_in(span)
        remark = self._remark(self._schedule, now_ms)
        piece = tuple(islice(due, PIECE))
        while rest := tuple(islice(due, PIECE)):
            yield Batch(source=self.feed.source, posts=piece, has_more=True, remark=remark)
            piece = rest
        yield Batch(source=self.feed.source, posts=piece, covers=span, remark=remark)

    def pause(self, _: Spans) -> Pause:
        """A moment."""
        return Pause(self._step)

    def cut(self) -> None:
        """There is nothing that could hang: the reading of a file goes on by pieces."""

    def close(self) -> None:
        """There is nothing open: the file is closed with the reading of it."""

    def _read(self) -> Generator[Batch, None, list[Post]]:
        recording = Recording()
        for entry in entries(_texts(self._path, self._lines)):
            recording.add(entry)
            if recording.entries % PIECE == 0:
                # A sign of life: a long file takes minutes on a small machine.
                remark = f"reading {self._path.name}: {len(recording):,} posts so far"
                yield Batch(source=self.feed.source, has_more=True, remark=remark)
        if not len(recording):
            raise UnavailableError(f"{self._path} has no posts to count: {recording.contents}")
        if recording.troubles:
            log.warning("%s: %s", self.feed.name, recording.troubles)
        posts = recording.in_order()
        log.info(
            "%s: posts: %d, authors: %d, from %s to %s",
            *(self.feed.name, len(posts), len({post.author for post in posts})),
            *(_moment(posts[0].created_ms), _moment(posts[-1].created_ms)),
        )
        return posts

    def _remark(self, schedule: Schedule, now_ms: int) -> str:
        file_ms = schedule.file_ms(now_ms)
        if file_ms is None:
            return "the replay has ended"
        pace = "" if self._speed == 1 else f", {self._speed:g} times as fast"
        return f"{_moment(file_ms)}{pace}"


def probe(name: str, path: Path, lines: Lines) -> Iterator[Finding]:
    """Read the beginning of a recording: one finding. name: the source as the owner writes it."""
    recording, until = Recording(), time.monotonic() + PROBE_SECONDS
    try:
        for entry in entries(_texts(path, lines)):
            recording.add(entry)
            is_enough = len(recording) and recording.entries >= PIECE
            if is_enough or time.monotonic() > until:
                break
    except UnavailableError as error:
        cure = (
            f"check TWEETDOCK_SOURCES={name}: its path begins where you start, and whoever runs "
            "TweetDock must be allowed to read it"
        )
        yield Finding.trouble("replay", error.what, cure)
        return
    if not len(recording):
        says = f"{path} has no posts: {recording.contents}"
        yield Finding.trouble("replay", says, f"{READABLE}, packed by gzip or not at all")
        return
    says = f"{path}: of its first {recording.entries:,} entries {len(recording):,} are posts"
    if recording.troubles:
        cure = "nothing, if you know of that: the rest is played; else check the file"
        yield Finding.warning("replay", f"{says}; {recording.troubles}", cure)
    else:
        yield Finding.well("replay", says)


def _texts(path: Path, lines: Lines) -> Iterator[Text]:
    try:
        yield from lines(path)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise UnavailableError(f"{path} {reason}") from error


def _moment(ms: int) -> str:
    return f"{rfc3339(ms)[:10]} {clock_time(ms)}"


_created_ms = attrgetter("created_ms")
