"""How soon a streamed post moves the needle, and what a line of X's stream costs to decode."""

import json
import os
import random
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import tweepy

from benchmarks.made_up import as_sent, make_post
from benchmarks.table import lines, race
from tweetdock.daemon import Daemon
from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board
from tweetdock.sources.x.posts import Wanted, parse_line
from tweetdock.threads import Crash, WatchedThread

# The tests' stand-ins are no package of their own: they are found where pytest finds them.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from standins.x_api import XApi
from standins.x_api import make_post as make_x_post

POSTS = 500
LINES = 20_000
RULE = "1166916266197536768"
RECORDED = "x-stream.jsonl"
LIMIT_SECONDS = 10.0


def rows() -> Iterator[str]:
    """Measure; return the table's rows."""
    yield from decoding_rows("made-up lines as lean as we ask for", lean_lines())
    if recorded := recorded_lines():
        yield from decoding_rows("recorded lines with all that X can send", recorded)
    delays = sorted(latencies())
    median, p99 = statistics.median(delays), delays[len(delays) * 99 // 100]
    what = f"from X's stream to the needle's target, {POSTS} posts"
    yield from lines(f"{what}: median", "ms", median * 1000, {})
    yield from lines(f"{what}: 99 of 100", "ms", p99 * 1000, {})


def decoding_rows(what: str, sent: list[bytes]) -> Iterator[str]:
    """Measure lines from their bytes to posts."""
    a_line = race(
        {
            "ours": lambda: partial(decode, sent),
            "tweepy's StreamingClient": lambda: partial(decode_by_tweepy, sent),
            "`json.loads` of each": lambda: partial(decode_bare, sent),
        }
    )
    a_second = {name: len(sent) / taken for name, taken in a_line.items()}
    yield from lines(f"X's stream, {what}", "lines/s", a_second.pop("ours"), a_second)


def lean_lines() -> list[bytes]:
    """Lines as X sends them with the fields that we ask for."""
    rules = [{"id": RULE, "tag": "tweetdock"}]
    found = []
    for number in range(LINES):
        entry = as_sent(make_post(number, LINES))
        whole = {"data": entry, "matching_rules": rules}
        found.append(json.dumps(whole, separators=(",", ":")).encode())
    return found


def recorded_lines() -> list[bytes]:
    """Whole lines of the recorded stream, if it is at hand, over and over."""
    folder = os.environ.get("TWEETDOCK_RECORDINGS")
    if not folder:
        return []
    found = []
    for line in (Path(folder) / RECORDED).read_bytes().splitlines():
        try:
            whole = json.loads(line)
        except ValueError:
            continue
        # tweepy's own client ends at a rule without a tag, and at an id that was blanked.
        for rule in whole["matching_rules"]:
            rule["tag"] = "tweetdock"
        for user in whole.get("includes", {}).get("users", []):
            user.pop("pinned_tweet_id", None)
        found.append(json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode())
    return found * (LINES // 10 // len(found))


def decode(sent: list[bytes]) -> None:
    """Decode as our stream does."""
    now_ms = round(time.time() * 1000)
    wanted = Wanted(frozenset([RULE]))
    for line in sent:
        parse_line(line, now_ms, wanted)


def decode_bare(sent: list[bytes]) -> None:
    """Decode the JSON alone."""
    for line in sent:
        json.loads(line)


def decode_by_tweepy(sent: list[bytes]) -> None:
    """Decode as tweepy's own client does, with nobody who wants to know."""
    client = tweepy.StreamingClient("a-bearer-token")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one for each post without a history
        for line in sent:
            client.on_data(line)


def latencies() -> list[float]:
    """Seconds from each post's way onto the stream until a reading has it."""
    with TemporaryDirectory() as folder, XApi(bearer="a-bearer-token") as api:
        api.rules.settle_seconds = 0
        settings = Settings.from_env(
            {
                "TWEETDOCK_HASHTAGS": "dockercon",
                "TWEETDOCK_SOURCES": "x-stream",
                "TWEETDOCK_SERVO_BACKEND": "mock",
                "TWEETDOCK_STATE_DIR": folder,
                "TWEETDOCK_WEB": "off",
                "X_BEARER_TOKEN": "a-bearer-token",
                "X_API_URL": api.url,
            }
        )
        return _latencies(api, settings)


def _latencies(api: XApi, settings: Settings) -> list[float]:
    stopping, changed = threading.Event(), threading.Condition()
    seen_at: dict[int, float] = {}
    crashes: list[Crash] = []

    def look(board: Board) -> None:
        reading = board.reading
        assert reading
        # Its angle went to the needles just before.
        with changed:
            seen_at.setdefault(reading.posts, time.perf_counter())
            changed.notify_all()

    def work() -> None:
        with Daemon(settings, stopping, threading.Event()) as daemon:
            daemon.run(look)

    def wait(condition: Callable[[], bool]) -> None:
        with changed:
            if not changed.wait_for(condition, LIMIT_SECONDS) or crashes:
                raise RuntimeError(f"no reading came: {crashes}")

    gauge = WatchedThread("gauge", work, crashes.append)
    try:
        if not api.stream.wait_until_open(LIMIT_SECONDS):
            raise RuntimeError("nobody listens to the stream")
        wait(lambda: 0 in seen_at)
        dice, delays = random.Random(1), []
        for number in range(1, POSTS + 1):
            time.sleep(dice.uniform(0.005, 0.05))
            post = make_x_post(round(time.time() * 1000), number, sequence=number % 4096)
            begun = time.perf_counter()
            api.add(post)
            wait(partial(seen_at.__contains__, number))
            delays.append(seen_at[number] - begun)
    finally:
        stopping.set()
        gauge.join(LIMIT_SECONDS)
    return delays
