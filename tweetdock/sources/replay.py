"""A recording as a source: its posts once more, from now on, as fast as wanted."""

import logging
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path

from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import SourceError, TornError, UnavailableError
from tweetdock.core.post import Batch, Feed, Post, Span
from tweetdock.core.times import DAY_MS, clock_time, duration, rfc3339
from tweetdock.sources.polling import Pause
from tweetdock.sources.recordings import Recording, RecordingSummary, Text, counted, entries

log = logging.getLogger(__name__)

LEAST_REST_MS, ONLY_REST_MS = 1_000, 60_000
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
STEP_SECONDS = 30.0  # of the clock, so that no fast one takes a pause for silence
GRACE_SECONDS = 1.0  # a poll may be this late before the lack of it counts as a gap
PIECE = 5_000  # so many posts, or lines to read, make a batch
GLANCE = 100_000  # so many lines are searched for a first post before anything starts
LONG_SILENCE_MS = DAY_MS


class Schedule:
    """When each post of a closed recording is played: the first at `start_ms`, all as far apart.

    Stateless: any stretch of time can be asked for again. Times in Unix milliseconds.
    """

    def __init__(self, recording: Recording, start_ms: int, *, loops: bool) -> None:
        self._recording = recording
        self._start_ms = start_ms
        self._loops = loops
        self._first_ms, self._last_ms = recording.times[0], recording.times[-1]
        self._round_ms = self._last_ms - self._first_ms + _rest_ms(recording.times)

    def posts_in(self, span: Span) -> Iterator[Post]:
        """The posts of a stretch of time, soonest first."""
        if span.until_ms < self._start_ms:
            return
        (first_turn, _), (last_turn, _) = map(self._place, span)
        for turn in range(first_turn, last_turn + 1):
            by_ms = self._start_ms + turn * self._round_ms - self._first_ms
            first = bisect_right(self._recording.times, span.since_ms - by_ms)
            for number in range(first, bisect_right(self._recording.times, span.until_ms - by_ms)):
                post = self._recording[number]
                key = f"{post.key} (round {turn + 1})" if turn else post.key
                yield Post(key, post.author, post.created_ms + by_ms)

    def next_after(self, now_ms: int) -> int | None:
        """When the next post is due; None after the last."""
        turn, file_ms = self._place(now_ms)
        number = bisect_right(self._recording.times, file_ms)
        begin_ms = self._start_ms + turn * self._round_ms
        if number < len(self._recording):
            return begin_ms + self._recording.times[number] - self._first_ms
        return begin_ms + self._round_ms if self._loops else None

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


def _rest_ms(times: Sequence[int]) -> int:
    """How long to rest before a recording begins anew: as its posts usually do."""
    gaps = sorted(later - sooner for sooner, later in pairwise(times))
    return max(LEAST_REST_MS, gaps[len(gaps) // 2]) if gaps else ONLY_REST_MS


class Replay:
    """The posts of a file, moved so that the first is made at the first poll.

    No hashtag is looked for: a recording is what it is. The clock is to run `speed` times as fast
    as the machine's, and the gauge's likewise; between two posts passes as much of its time as in
    the file. With `loops` the file begins anew after a rest as long as the usual distance of its
    posts; then each post is another one, by the same author.

    name: what everybody may call it. lines: gives a file's lines, packed or not, and a
    TornError in place of what is damaged; may raise OSError.
    Raises UnavailableError if the file cannot be read or has no posts; so does `poll` where that
    shows late.
    """

    channel = ""

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        clock: Clock,
        window_seconds: float,
        lines: Callable[[Path], Iterator[Text]],
        speed: float = 1.0,
        loops: bool = False,
    ) -> None:
        self._step = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, STEP_SECONDS / speed))
        self.feed = Feed(name, round((self._step + GRACE_SECONDS) * speed * 1000))
        self._clock = clock
        self._speed = speed
        self._loops = loops
        self._window_ms = round(window_seconds * 1000)
        self._file = path.name
        self._cut = threading.Event()
        self._recording = Recording()
        self._schedule: Schedule | None = None
        self._reading = self._read(path, lines)
        for count in self._reading:
            if len(self._recording) or count == GLANCE:
                break

    def poll(self, seen: Spans) -> Iterator[Batch]:
        """What has become due; the first time, after the file has been read."""
        if self._schedule is None:
            yield from self._load()
            self._schedule = Schedule(self._recording, self._clock.now_ms(), loops=self._loops)
        now_ms = self._clock.now_ms()
        floor_ms = now_ms - self._window_ms
        # Before the first post there is none.
        span = Span(max(floor_ms, seen.until_ms or floor_ms), now_ms)
        posts = self._schedule.posts_in(span)
        remark = self._remark(self._schedule, now_ms)
        piece = tuple(islice(posts, PIECE))
        while rest := tuple(islice(posts, PIECE)):
            yield Batch(source=self.feed.source, posts=piece, has_more=True, remark=remark)
            piece = rest
        yield Batch(source=self.feed.source, posts=piece, covers=span, remark=remark)

    def pause(self, _: Spans) -> Pause:
        """Until the next post is due, within bounds."""
        now_ms = self._clock.now_ms()
        due_ms = self._schedule.next_after(now_ms) if self._schedule else now_ms
        seconds = self._step if due_ms is None else (due_ms - now_ms) / 1000 / self._speed
        return Pause(min(self._step, max(SHORTEST_PAUSE, seconds)))

    def cut(self) -> None:
        """End the reading of the file under way."""
        self._cut.set()

    def _read(self, path: Path, lines: Callable[[Path], Iterator[Text]]) -> Iterator[int]:
        """Read the file, counting its entries; UnavailableError if there was no post in the end."""
        summary = RecordingSummary()
        for entry in entries(_texts(path, lines)):
            summary.count(entry)
            if isinstance(entry, Post):
                self._recording.add(entry)
            yield summary.entries
        if not len(self._recording):
            found = "; ".join((*summary.sentences, *summary.others))
            reason = f"has no posts to count: {found}" if found else "is empty"
            raise UnavailableError(f"{path} {reason}")
        for sentence in summary.sentences:
            log.warning("%s: %s", self.feed.name, sentence)

    def _load(self) -> Iterator[Batch]:
        for count in self._reading:
            if self._cut.is_set():
                raise SourceError(f"the reading of {self._file} was ended")
            if count % PIECE == 0:
                # A sign of life: a long file takes minutes on a small machine.
                posts = counted(len(self._recording), "post", "posts")
                remark = f"reading {self._file}: {posts} so far"
                yield Batch(source=self.feed.source, has_more=True, remark=remark)
        self._recording.close()
        self._announce(self._recording.times)

    def _announce(self, times: Sequence[int]) -> None:
        log.info(
            "%s: %s by %s, %s to %s",
            self.feed.name,
            counted(len(times), "post", "posts"),
            counted(self._recording.authors, "author", "authors"),
            *(_moment(times[0]), _moment(times[-1])),
        )
        silences = ((later - sooner, sooner) for sooner, later in pairwise(times))
        silence_ms, since_ms = max(silences, default=(0, 0))
        if silence_ms > LONG_SILENCE_MS:
            log.warning(
                "%s: after %s there is no post for %s, nor will there be when it is played",
                *(self.feed.name, _moment(since_ms), duration(silence_ms / 1000)),
            )

    def _remark(self, schedule: "Schedule", now_ms: int) -> str:
        file_ms = schedule.file_ms(now_ms)
        if file_ms is None:
            return "the replay has ended"
        pace = "" if self._speed == 1 else f", {self._speed:g} times as fast"
        return f"{_moment(file_ms)}{pace}"


def _texts(path: Path, lines: Callable[[Path], Iterator[Text]]) -> Iterator[Text]:
    has_begun = False
    try:
        for text in lines(path):
            has_begun = True
            yield text
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        if not has_begun:
            raise UnavailableError(f"{path} {reason}") from error
        yield TornError(f"the rest {reason}")


def _moment(ms: int) -> str:
    return f"{rfc3339(ms)[:10]} {clock_time(ms)}"
