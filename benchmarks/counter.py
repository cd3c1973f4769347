"""What counting a post costs, in time and in memory."""

import json
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks.made_up import as_sent, make_post
from benchmarks.table import lines, race
from benchmarks.windows import QueueWindow, Recount, Window, sliding_window
from tweetdock.core.post import Post

WINDOW = 10_000
BATCH = 20
POLLS = 200
NEW = BATCH * POLLS


def rows() -> Iterator[str]:
    """Measure; return the table's rows."""
    posts = [make_post(number, WINDOW) for number in range(WINDOW + NEW)]
    old, new = posts[:WINDOW], posts[WINDOW:]
    sent = [json.dumps(as_sent(post)).encode() for post in new]
    counting = race(
        {
            "ours": lambda: partial(poll_all, filled(sliding_window(), old), new),
            "`json.loads` of its line": lambda: partial(decode_all, sent),
            "a dict, a Counter, a deque": lambda: partial(
                poll_all, filled(QueueWindow(), old), new
            ),
            f"a recount of {WINDOW:,} at each poll": lambda: partial(
                poll_all, filled(Recount(), old), new
            ),
        }
    )
    yield from nanoseconds(f"a new post of {BATCH} a poll, and the totals", counting)
    again = race(
        {
            "ours": lambda: partial(filled, filled(sliding_window(), old), old[-NEW:]),
            "`json.loads` of its line": lambda: partial(decode_all, sent),
            "a dict, a Counter, a deque": lambda: partial(
                filled, filled(QueueWindow(), old), old[-NEW:]
            ),
        }
    )
    yield from nanoseconds("a post known already", again)
    for size in (100_000, 1_000_000):
        ours, theirs = (least_bytes(make, size) for make in (sliding_window, QueueWindow))
        what = f"resident memory a post, {size:,} posts"
        yield from lines(what, "B", ours, {"a dict, a Counter, a deque": theirs})


def nanoseconds(what: str, seconds: dict[str, float]) -> Iterator[str]:
    """Return the rows for a race over all new posts."""
    a_post = {name: taken / NEW * 1e9 for name, taken in seconds.items()}
    return lines(what, "ns", a_post.pop("ours"), a_post)


def filled(window: Window, posts: list[Post]) -> Window:
    """Return the window with the posts added."""
    for post in posts:
        window.add(post)
    return window


def poll_all(window: Window, posts: list[Post]) -> tuple[int, int]:
    """Take the posts a batch at a time, the totals after each; return the last."""
    totals = (0, 0)
    for start in range(0, len(posts), BATCH):
        batch = posts[start : start + BATCH]
        window.advance(batch[-1].created_ms)
        filled(window, batch)
        totals = window.posts, window.authors
    return totals


def decode_all(sent: list[bytes]) -> None:
    """Decode each line."""
    for line in sent:
        json.loads(line)


def least_bytes(make_window: Callable[[], Window], posts: int) -> float:
    """Return the least of two processes' `bytes_a_post()`."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        return min(processes.submit(bytes_a_post, make_window, posts).result() for _ in range(2))


def bytes_a_post(make_window: Callable[[], Window], posts: int) -> float:
    """Return how this process grew by each post, which was to have done nothing before."""
    window = make_window()
    before = resident_bytes()
    for number in range(posts):
        window.add(make_post(number, posts))
    return (resident_bytes() - before) / posts


def resident_bytes() -> int:
    """Return how much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
