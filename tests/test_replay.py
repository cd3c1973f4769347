"""A replay against brute force on the file's own times: whatever the file, speed and rounds."""

import gzip
import json
import logging
import os
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import Queue
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from listening import Unseeing
from profiles import is_thorough
from replaying import DAY_MS, FORMS, Form, archive_line, as_line, x_post
from simulation import Time

from tweetdock.core.clock import Clock
from tweetdock.core.counter import SlidingWindow
from tweetdock.core.coverage import Spans
from tweetdock.core.errors import TornError, UnavailableError
from tweetdock.core.post import Batch, Post, Span, Trouble
from tweetdock.keep.archive_reader import read_lines as lines_of
from tweetdock.sources.polling import Poller
from tweetdock.sources.recordings import Recording, Text
from tweetdock.sources.replay import PIECE, REST_MS, Replay, Schedule

HOUR = 3_600_000
WINDOW_SECONDS = 3600.0
FILE = Path("day.jsonl.gz")


class Truth:
    """What a file's posts amount to, counted in the most obvious way."""

    def __init__(self, posts: Iterable[Post]) -> None:
        self.posts: dict[str, Post] = {}
        for post in posts:
            if post.key not in self.posts or post.created_ms < self.posts[post.key].created_ms:
                self.posts[post.key] = post
        self.times = sorted(post.created_ms for post in self.posts.values())

    def count(self, since_ms: int, until_ms: int, turns: int = 1) -> tuple[int, int]:
        """Unique posts and authors in (since, until], in ms after the first post."""
        first_ms, round_ms = self.times[0], self.times[-1] - self.times[0] + REST_MS
        found = [
            post
            for turn in range(turns)
            for post in self.posts.values()
            if since_ms < post.created_ms - first_ms + turn * round_ms <= until_ms
        ]
        return len(found), len({post.author for post in found})


class Player:
    """A replay, the window it fills and the time that is told to both."""

    def __init__(
        self,
        read_lines: Iterable[Text],
        speed: float = 1.0,
        *,
        loops: bool = False,
        path: Path = FILE,
        lines: Callable[[Path], Iterator[Text]] | None = None,
    ) -> None:
        self.time = Time()
        self.clock = Clock(self.time, self.time, speed=speed)
        self.start_ms = self.clock.now_ms()
        self.source = Replay(
            f"replay:{path.name}",
            path,
            clock=self.clock,
            window_seconds=WINDOW_SECONDS,
            lines=lines or (lambda _path: iter(read_lines)),
            speed=speed,
            loops=loops,
        )
        self.window = SlidingWindow(HOUR, self.start_ms)
        self.spans = Spans()
        self.remark = ""

    def play(self) -> list[Batch]:
        """Poll once, and have the batches counted."""
        self.spans.forget_before(self.clock.now_ms() - HOUR)
        batches = list(self.source.poll(self.spans))
        for batch in batches:
            for post in batch.posts:
                self.window.add(post)
            if batch.covers:
                self.spans.add(batch.covers)
            self.remark = batch.remark
        assert [batch.has_more for batch in batches] == [True] * (len(batches) - 1) + [False]
        return batches

    def rest(self) -> float:
        """Wait as the source wants; the seconds."""
        seconds = self.source.pause(self.spans).seconds
        self.time.seconds += seconds
        return seconds

    def wait_until(self, after_ms: int) -> None:
        """Let time run until so many milliseconds after the start, by the clock."""
        self.time.seconds += (self.start_ms + after_ms - self.clock.now_ms()) / 1000

    def count(self) -> tuple[int, int]:
        """What the window counts now."""
        self.window.advance(self.clock.now_ms())
        return self.window.posts, self.window.authors

    def assert_covered(self) -> None:
        now_ms = self.clock.now_ms()
        assert not self.spans.gaps(Span(now_ms - HOUR, now_ms))

    @property
    def after_ms(self) -> int:
        return self.clock.now_ms() - self.start_ms


class Made(NamedTuple):
    """An entry of a made-up file."""

    form: Form
    number: int
    author: int
    seconds: int

    @property
    def line(self) -> bytes:
        return as_line(self.form(self.number, self.author, DAY_MS + self.seconds * 1000)[0])

    @property
    def post(self) -> Post:
        return self.form(self.number, self.author, DAY_MS + self.seconds * 1000)[1]


FOREIGN = b"no post\n"
# Times are told in quarters of a window and a few seconds, so that borders are met often.
seconds = st.builds(
    lambda quarters, more: quarters * 900 + more, st.integers(0, 12), st.sampled_from([0, 1, 7])
)
made = st.builds(Made, st.sampled_from(FORMS), st.integers(1, 9), st.integers(1, 4), seconds)
files = st.lists(made, min_size=1, max_size=12)


def lines_of_made(entries: list[Made], dice: random.Random) -> list[Text]:
    """The lines of a file, with foreign ones and damage between them."""
    read_lines: list[Text] = []
    for entry in entries:
        read_lines += dice.choices([b"\n", FOREIGN, TornError("torn")], k=dice.randrange(3))
        read_lines.append(entry.line)
    return read_lines


def moments(truth: Truth) -> list[int]:
    """Around when each post comes and leaves, in ms after the first."""
    after = {time - truth.times[0] for time in truth.times}
    around = {ms + by + more for ms in after for by in (0, HOUR) for more in (-1, 0, 1)}
    return sorted(ms for ms in around if ms >= 0)


@given(files, st.randoms(use_true_random=False))
@example(
    [Made(x_post, 1, 1, 0), Made(x_post, 1, 2, 0), Made(x_post, 2, 1, 0)], random.Random(0)
)  # the same moment again, by another author
def test_the_counts_are_those_of_the_file_at_every_moment(
    entries: list[Made], dice: random.Random
) -> None:
    truth = Truth(entry.post for entry in entries)
    player = Player(lines_of_made(entries, dice))
    for after_ms in moments(truth):
        player.wait_until(after_ms)
        player.play()
        assert player.after_ms == after_ms
        assert player.count() == truth.count(after_ms - HOUR, after_ms)
        player.assert_covered()


@settings(max_examples=100 if is_thorough() else 5)  # thousands of polls each
@given(files, st.sampled_from([1.0, 60.0, 3600.0]))
def test_polled_when_it_wants_to_be_it_is_never_late(entries: list[Made], speed: float) -> None:
    truth = Truth(entry.post for entry in entries)
    player = Player([entry.line for entry in entries], speed)
    times: list[int] = []
    while player.remark != "the replay has ended":
        times += [post.created_ms for batch in player.play() for post in batch.posts]
        assert player.count() == truth.count(player.after_ms - HOUR, player.after_ms)
        player.assert_covered()
        before_ms = player.clock.now_ms()
        assert 0.05 <= player.rest() <= 1.0
        # Nothing stays undelivered for longer than the usual lag, whenever it is asked.
        assert player.clock.now_ms() - before_ms <= player.source.feed.lag_ms
    first_ms = truth.times[0]
    assert times == [player.start_ms + time - first_ms for time in truth.times]


@given(files, st.lists(st.integers(1, 3 * HOUR), min_size=1, max_size=30))
def test_in_every_round_posts_count_anew_and_authors_stay(
    entries: list[Made], waits: list[int]
) -> None:
    truth = Truth(entry.post for entry in entries)
    player = Player([entry.line for entry in entries], loops=True)
    round_ms = truth.times[-1] - truth.times[0] + REST_MS
    # Of a round of a second there are thousands in the window.
    for wait in waits[: 30 if round_ms > 60_000 else 1]:
        player.play()
        assert player.remark.startswith("2021-06-22 ")
        turns = player.after_ms // round_ms + 1
        if turns < 1000:
            wanted = truth.count(player.after_ms - HOUR, player.after_ms, turns)
            assert player.count() == wanted
        player.assert_covered()
        player.time.seconds += wait / 1000


def test_before_the_first_poll_no_time_passes_and_after_it_all_is_known_at_once() -> None:
    player = Player([Made(x_post, 1, 2, 3).line])
    player.time.seconds += 500
    (batch,) = player.play()
    now_ms = player.clock.now_ms()
    assert batch.posts == (Post("x:1", "x:2", now_ms),)
    assert batch.covers == Span(now_ms - HOUR, now_ms)


def test_the_remark_says_where_in_the_file_we_are_and_when_it_has_ended() -> None:
    lines = [Made(x_post, n, 1, 50_000 + n * 600).line for n in range(3)][1:]
    player = Player(lines, speed=60)
    player.play()
    assert player.remark == "2021-06-22 14:03 UTC, 60 times as fast"
    player.time.seconds += 9.99
    player.play()
    assert player.remark == "2021-06-22 14:13 UTC, 60 times as fast"
    player.time.seconds += 0.01
    player.play()
    assert player.remark == "the replay has ended"
    assert player.source.pause(player.spans).seconds == 0.5
    player.time.seconds += 1000
    (batch,) = player.play()
    assert (batch.posts, player.count()) == ((), (0, 0))
    player.assert_covered()


def test_at_its_own_speed_the_remark_does_not_speak_of_it() -> None:
    player = Player([Made(x_post, n, 1, n * 600).line for n in (1, 2)])
    player.play()
    assert player.remark == "2021-06-22 00:10 UTC"


@pytest.mark.parametrize(("speed", "longest"), [(1, 0.5), (60, 0.5), (600, 0.05), (36_000, 0.05)])
def test_the_faster_the_clock_the_oftener_it_is_polled(speed: float, longest: float) -> None:
    player = Player([Made(x_post, n, 1, n * 1_000_000).line for n in (1, 2)], speed)
    player.play()
    assert player.source.pause(player.spans).seconds == longest
    assert player.source.feed.lag_ms == round((longest + 1) * speed * 1000)


def test_many_posts_at_once_come_in_pieces() -> None:
    lines = [Made(x_post, n, n % 7 + 1, n % 60).line for n in range(1, 2 * PIECE + 2)]
    player = Player(lines)
    player.play()
    player.time.seconds += 60
    batches = player.play()
    assert [len(batch.posts) <= PIECE for batch in batches] == [True] * 2
    assert [batch.covers is None for batch in batches] == [True, False]
    assert player.count() == (2 * PIECE + 1, 7)


def test_what_is_too_old_for_the_window_is_not_brought_any_more() -> None:
    player = Player([Made(x_post, n, 1, n * 600).line for n in range(1, 100)])
    player.play()
    player.wait_until(40 * 600_000)
    (batch,) = player.play()
    assert len(batch.posts) == 6
    assert batch.covers == Span(player.clock.now_ms() - HOUR, player.clock.now_ms())


def test_a_post_keeps_its_first_moment_with_its_author_and_odd_names_are_kept() -> None:
    recording = Recording()
    posts = [
        Post("a\ud800", "late", 500),
        Post("b", "\udfff", 300),
        Post("a\ud800", "first", 100),
        Post("a\ud800", "later", 400),
        Post("c", "late", 100),
    ]
    for post in posts:
        recording.add(post)
    found = recording.in_order()
    assert found == [posts[2], posts[4], posts[1]]
    assert [*Schedule(found, 1000, loops=False).posts_in(Span(999, 1199))] == [
        Post("a\ud800", "first", 1000),
        Post("c", "late", 1000),
    ]


def test_plain_and_packed_files_are_read_alike(tmp_path: Path) -> None:
    entries = [Made(form, n, 1, n) for n, form in enumerate(FORMS, 1)]
    text = b"".join(entry.line for entry in entries)
    for name, content in {
        "day.jsonl": text,
        "no-end.jsonl": text.rstrip(),
        "day.jsonl.gz": gzip.compress(text),
        # As `gzip.open(..., "ab")` and parallel packers leave it.
        "members.gz": gzip.compress(text[:150]) + gzip.compress(text[150:]),
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        player = Player([], path=path, lines=lines_of)
        player.play()
        player.time.seconds += 60
        player.play()
        assert player.count() == (5, 3)


def test_a_packed_file_cut_off_anywhere_gives_every_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    entries = [Made(archive_line, n, n, n) for n in range(1, 9)]
    read_lines = [b"".join(entry.line for entry in part) for part in (entries[:4], entries[4:])]
    # Stored, not deflated: what is there of a line is seen.
    packed = [gzip.compress(text, 0) for text in read_lines]
    whole = b"".join(packed)
    for size in range(60, len(whole), 29):
        path.write_bytes(whole[:size])
        found = list(lines_of(path))
        lines = [text for text in found if isinstance(text, bytes) and text]
        at_least = 4 if size >= len(packed[0]) else 0
        assert lines == [entry.line.rstrip() for entry in entries[: len(lines)]]
        assert len(lines) >= at_least
        is_border = size == len(packed[0])
        assert any(isinstance(text, TornError) for text in found) is not is_border


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "day.jsonl"


def refused(path: Path) -> str:
    """Why a file is refused."""
    with pytest.raises(UnavailableError) as raised:
        Player([], path=path, lines=lines_of).play()
    return str(raised.value)


def test_a_file_that_cannot_be_read_is_refused(path: Path) -> None:
    assert refused(path) == f"{path} cannot be read: No such file or directory"
    path.mkdir()
    assert refused(path) == f"{path} cannot be read: Is a directory"


def test_a_pipe_is_refused_before_it_is_opened(path: Path) -> None:
    """Nobody wrote into it: TweetDock hung for ever, and SIGTERM could not end it."""
    os.mkfifo(path)
    assert refused(path) == f"{path} cannot be read: no file, but a pipe or a device"
    assert refused(Path("/dev/zero")).endswith("no file, but a pipe or a device")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "it is empty"),
        (b"\n \n", "it is empty"),
        (gzip.compress(b"", mtime=0), "it is empty"),
        (FOREIGN * 3, "entries that cannot be read: 3 of 3 (3 no JSON)"),
        (b"\x89PNG\r\n\x1a\n", "entries that cannot be read: 2 of 2 (2 no JSON)"),
        (
            as_line(x_post(1, 2, DAY_MS)[0] | {"referenced_posts": [{"type": "retweeted"}]}),
            "reposts, deletions and other entries: 1",
        ),
        (
            gzip.compress(b"", mtime=0)[:-4],
            "damaged places: 1 (the gzip member at byte 0",
        ),
    ],
)
def test_a_file_without_posts_is_refused(path: Path, text: bytes, reason: str) -> None:
    path.write_bytes(text)
    assert refused(path).startswith(f"{path} has no posts to count: {reason}")


def test_what_is_found_in_a_file_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def lines(_path: Path) -> Iterator[Text]:
        yield Made(x_post, 1, 1, 0).line
        yield FOREIGN
        yield Made(x_post, 2, 1, 3 * 86_400).line
        yield b"{}"
        yield TornError("torn at byte 5")
        yield FOREIGN

    caplog.set_level(logging.INFO, "tweetdock")
    player = Player([], lines=lines)
    player.play()
    player.play()
    assert [
        (record.levelname, record.getMessage().partition(": ")[2]) for record in caplog.records
    ] == [
        (
            "WARNING",
            "entries that cannot be read: 2 of 5 (2 no JSON); damaged places: 1 (torn at byte 5)",
        ),
        ("INFO", "posts: 2, authors: 1, from 2021-06-22 00:00 UTC to 2021-06-25 00:00 UTC"),
    ]


def test_a_good_file_is_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    Player([Made(x_post, n, 1, n).line for n in (1, 2)]).play()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_while_a_file_is_read_there_are_signs_of_life_and_a_stop_ends_it() -> None:
    stopping = threading.Event()
    told: Queue[Batch | Trouble] = Queue()

    def lines(_path: Path) -> Iterator[Text]:
        for number in range(1, 1 << 30):
            yield Made(x_post, number, 1, number % 1000).line

    player = Player([], lines=lines)
    poller = Poller(player.source, Unseeing(told.put), stopping)
    thread = threading.Thread(target=poller.run)
    thread.start()
    try:
        word = told.get(timeout=10)
        assert isinstance(word, Batch)
        assert (word.has_more, word.covers, word.posts) == (True, None, ())
        assert word.remark == f"reading day.jsonl.gz: {PIECE:,} posts so far"
    finally:
        stopping.set()
        player.source.cut()
        thread.join(timeout=10)
    assert not thread.is_alive()
    while not told.empty():
        assert isinstance(told.get(), Batch)


def test_a_recorded_day_sixty_times_as_fast_is_the_day_at_every_moment() -> None:
    folder = os.environ.get("TWEETDOCK_RECORDINGS", "")
    if not folder or not (day := Path(folder) / "x-day.jsonl").exists():
        pytest.skip("no recorded day at hand: set TWEETDOCK_RECORDINGS to its folder")
    entries = [json.loads(line) for line in day.read_text().splitlines()]
    truth = Truth(
        Post(entry["id"], entry["author_id"], (int(entry["id"]) >> 22) + 1_288_834_974_657)
        for entry in entries
        if "referenced_tweets" not in entry
        or all(one["type"] != "retweeted" for one in entry["referenced_tweets"])
    )
    player = Player([], speed=60, path=day, lines=lines_of)
    player.play()
    polls = 1
    while player.after_ms < 25 * HOUR:
        player.rest()
        player.play()
        polls += 1
        player.assert_covered()
        if polls % 40 == 0:
            wanted = truth.count(player.after_ms - HOUR, player.after_ms)
            assert player.count() == wanted
    assert player.time.seconds == pytest.approx(1_790_000_000 + 25 * 60, abs=1)
    assert polls < 5000
    assert player.remark == "the replay has ended"
