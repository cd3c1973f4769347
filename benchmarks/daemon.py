"""What the whole daemon takes: time to its first reading, and the machine while nothing happens."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import psutil

from benchmarks.table import lines, race

# The tests' stand-ins are no package of their own: they are found where pytest finds them.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from standins.x_api import XApi, make_post

POSTS = 450
MANY_POSTS = 50_000
FILLING_SECONDS = 15
REST_SECONDS = 40
Start = Callable[..., subprocess.Popen[bytes]]
TOKEN = "a-bearer-token"
BARE = "print(1, flush=True)"
ONCE = ("-m", "tweetdock", "--once", "--log-level", "WARNING")
TWEEPY = f"import tweepy; {BARE}"


def rows() -> Iterator[str]:
    """Measure; return the table's rows."""
    with TemporaryDirectory() as folder, XApi(make_hour(), bearer=TOKEN, limit=10_000) as api:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "TWEETDOCK_HASHTAGS": "dockercon",
            "X_BEARER_TOKEN": TOKEN,
            "X_API_URL": api.url,
        }
        start = partial(started, folder, env)
        yield from start_rows(start)
        yield from rest_rows(start, api)
        api.add(*make_hour(MANY_POSTS - POSTS))
        yield from restart_rows(start, Path(folder) / "kept")


def make_hour(posts: int = POSTS) -> list[dict[str, object]]:
    """Return posts of the last hour, its last two minutes quiet."""
    now_ms, dice = round(time.time() * 1000), random.Random(posts)
    moments = dice.sample(range(now_ms - 3_500_000, now_ms - 120_000), posts)
    return [make_post(at_ms, dice.randrange(posts)) for at_ms in moments]


def started(folder: str, env: dict[str, str], *words: str) -> subprocess.Popen[bytes]:
    """Start Python with these words, and for a TweetDock without state of its own a new one."""
    env = env | {"TWEETDOCK_STATE_DIR": mkdtemp(dir=folder)}
    return subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def start_rows(start: Start) -> Iterator[str]:
    """Measure from the start of a process to the first byte it prints."""
    contenders = {
        "ours": ONCE,
        "bare Python": ("-c", BARE),
        "`import tweepy`": ("-c", TWEEPY),
    }
    with ExitStack() as processes:  # a process's end is awaited after the race, not timed

        def print_first(words: tuple[str, ...]) -> None:
            await_output(processes.enter_context(start(*words)))

        race_of = {name: partial(partial, print_first, words) for name, words in contenders.items()}
        seconds = race(race_of)
    what = f"from start to the first reading, {POSTS} posts"
    yield from lines(what, "s", seconds.pop("ours"), seconds)


def restart_rows(start: Start, state: Path) -> Iterator[str]:
    """Measure a start that goes on from an hour with many posts."""
    words = (*ONCE, "--state-dir", str(state))

    def print_first() -> None:
        with start(*words) as process:
            await_output(process)

    print_first()
    seconds = race({"ours": lambda: print_first})["ours"]
    what = f"from a restart to the first reading, {MANY_POSTS:,} posts in the hour"
    yield from lines(what, "s", seconds, {})


def await_output(process: subprocess.Popen[bytes]) -> None:
    """Wait for the first byte that the process prints."""
    if process.stdout is None or not process.stdout.read(1):
        raise RuntimeError(f"{process.args!r} printed nothing")


def rest_rows(start: Start, api: XApi) -> Iterator[str]:
    """Measure a daemon that searches every 5 s and finds nothing new."""
    with start("-m", "tweetdock", "--log-level", "WARNING") as daemon:
        process = psutil.Process(daemon.pid)
        time.sleep(FILLING_SECONDS)  # the needles rest now
        used, asked = sum(process.cpu_times()[:2]), len(api.requests)
        time.sleep(REST_SECONDS)
        share = (sum(process.cpu_times()[:2]) - used) / REST_SECONDS
        asked = len(api.requests) - asked
        memory = process.memory_info().rss / 1e6
        daemon.terminate()
    what = f"at rest, {asked} searches in {REST_SECONDS} s, mock servos, the page on: processor"
    yield from lines(what, "% of a core", share * 100, {})
    others = {"bare Python": BARE, "`import tweepy`": TWEEPY}
    sizes = {name: megabytes(start, code) for name, code in others.items()}
    yield from lines("at rest, the page on: resident memory", "MB", memory, sizes)


def megabytes(start: Start, code: str) -> float:
    """Return the resident memory of a Python that ran this code."""
    with start("-c", f"{code}; input()") as process:  # it stays until it is given a line
        await_output(process)
        size: int = psutil.Process(process.pid).memory_info().rss
        process.communicate(b"\n")
    return size / 1e6
