"""What people at the page take from the gauge: how late its loop gets, memory and processor."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.table import lines

# What the tests share is no package of its own: it is found where pytest finds it.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from crowd import Crowd, Flood, asking, connect, delays, quantile, since
from replaying import DAY_MS, as_line, x_post

WATCHERS = 200
POSTS = 3_000
POST_MS = 50
SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Measure:
    """What a daemon was like for a while: the loop's 99th percentile, megabytes, a core's share."""

    late_ms: float
    memory: float
    share: float


def rows() -> Iterator[str]:
    """Measure; return the table's rows."""
    with TemporaryDirectory() as folder:
        with started(Path(folder), "off") as (process, _):
            time.sleep(2)
            without = process.memory_info().rss / 1e6
        with started(Path(folder), "127.0.0.1:0") as (process, port), ExitStack() as people:
            alone = measure(process, port)
            people.enter_context(Crowd(port, WATCHERS))
            people.enter_context(connect(port, asking("/api/events"), receive_bytes=1024))
            watched = measure(process, port)
            flood = people.enter_context(Flood(port))
            flooded = measure(process, port)
            rate = round(flood.sent / SECONDS, -2)
    crowd = f"{WATCHERS} watchers and one who does not read"
    worst = f"{crowd}, {rate:,.0f} bad requests/s"
    late = "99 % of the loop's turns are late by at most"
    yield from lines(f"{late}, {worst}", "ms", flooded.late_ms, {"nobody": alone.late_ms})
    yield from lines(f"resident memory, {worst}", "MB", flooded.memory, {"no page": without})
    yield from lines(
        f"processor, {crowd}, 4 events/s each",
        "% of a core",
        watched.share,
        {"nobody": alone.share},
    )


@contextmanager
def started(folder: Path, web: str) -> Iterator[tuple[psutil.Process, int]]:
    """Start a TweetDock that replays 20 posts a second; its process, and the page's port."""
    tape = folder / "tape.jsonl"
    posts = (x_post(n, 1 + n % 700, DAY_MS + POST_MS * n)[0] for n in range(1, POSTS))
    tape.write_bytes(b"".join(map(as_line, posts)))
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TWEETDOCK_WEB": web,
        "TWEETDOCK_STATE_DIR": str(folder / "state"),
        "TWEETDOCK_SOURCES": f"replay:{tape}",
        "TWEETDOCK_SERVO_BACKEND": "mock",
    }
    words = [sys.executable, "-m", "tweetdock"]
    with (
        (folder / "log").open("w+", encoding="utf-8") as log,
        subprocess.Popen(words, cwd=folder, env=env, stderr=log) as daemon,
    ):
        try:
            yield psutil.Process(daemon.pid), _port(folder / "log") if web != "off" else 0
        finally:
            daemon.terminate()


def measure(process: psutil.Process, port: int) -> Measure:
    """Watch the daemon for a while."""
    before, used = delays(_scrape(port)), sum(process.cpu_times()[:2])
    time.sleep(SECONDS)
    share = (sum(process.cpu_times()[:2]) - used) / SECONDS * 100
    late = quantile(since(before, delays(_scrape(port))), 0.99)
    return Measure(late * 1000, process.memory_info().rss / 1e6, share)


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text: bytes = answer.read()
    return text.decode()


def _port(log: Path) -> int:
    """The page's port as the log says it."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        _, found, rest = log.read_text(encoding="utf-8").partition("page: http://127.0.0.1:")
        if found and "\n" in rest:
            return int(rest.split()[0])
        time.sleep(0.05)
    raise RuntimeError("the page was not there in time")
