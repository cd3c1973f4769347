"""What counting a post costs, beside decoding its line and beside counting it naively."""

import json
import resource
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tweetdock.counter import SlidingWindow
from tweetdock.post import Post

HOUR = 3_600_000
NOON = 1_760_000_400_000
POSTS = 100_000
MILLION = 1_000_000
SALT = b"as in the daemon"


class NaiveWindow:
    """The same counts from a dictionary, a counter and a queue; posts must come in order."""

    def __init__(self, window_ms: int) -> None:
        self.window_ms = window_ms
        self.author_of: dict[str, str] = {}
        self.posts_by: Counter[str] = Counter()
        self.queue: deque[tuple[int, str]] = deque()

    def add(self, post: Post) -> bool:
        """Count a post; tell whether it was new."""
        if post.key in self.author_of:
            return False
        self.author_of[post.key] = post.author
        self.posts_by[post.author] += 1
        self.queue.append((post.created_ms, post.key))
        return True

    def advance(self, now_ms: int) -> None:
        """Forget what has left the window."""
        while self.queue and self.queue[0][0] <= now_ms - self.window_ms:
            author = self.author_of.pop(self.queue.popleft()[1])
            self.posts_by[author] -= 1
            if not self.posts_by[author]:
                del self.posts_by[author]


Window = SlidingWindow | NaiveWindow


def make_window(*, naive: bool) -> Window:
    """Return an empty hour."""
    return NaiveWindow(HOUR) if naive else SlidingWindow(HOUR, NOON, SALT)


def make_post(number: int, posts: int, authors: int) -> Post:
    """Return one of many posts, evenly spread over the hour before noon and over the authors."""
    created_ms = NOON - HOUR + 1 + number * HOUR // posts
    # An X id begins with its time, an author's is older.
    return Post(
        f"x:{(created_ms - 1_288_834_974_657 << 22) + number}",
        f"x:{1_500_000_000_000_000_000 + number % authors * 7919}",
        created_ms,
    )


def make_line(post: Post) -> bytes:
    """Return the post as X sends it."""
    key, author = post.key.removeprefix("x:"), post.author.removeprefix("x:")
    created = datetime.fromtimestamp(post.created_ms / 1000, UTC)
    line = {
        "id": key,
        "author_id": author,
        "created_at": created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "edit_history_tweet_ids": [key],
        "text": "#RaspberryPi ".ljust(140, "."),
        "entities": {"hashtags": [{"start": 0, "end": 12, "tag": "RaspberryPi"}]},
    }
    return json.dumps(line).encode()


def measure(work: Callable[[], object]) -> float:
    """Return the nanoseconds that one post of `POSTS` takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / POSTS * 1e9


def add_all(window: Window, posts: list[Post]) -> None:
    """Count them."""
    for post in posts:
        window.add(post)


def decode_all(lines: list[bytes]) -> None:
    """Decode them."""
    for line in lines:
        json.loads(line)


def pass_an_hour(window: Window) -> None:
    """Let all leave, twenty times a second."""
    for now_ms in range(NOON, NOON + HOUR + 50, 50):
        window.advance(now_ms)


def time_once(posts: list[Post], lines: list[bytes]) -> dict[str, float]:
    """Return the nanoseconds a post of everything, measured one after the other."""
    times = {"json.loads": measure(partial(decode_all, lines))}
    for name, naive in (("ours", False), ("naive", True)):
        window = make_window(naive=naive)
        times[f"{name}, new"] = measure(partial(add_all, window, posts))
        times[f"{name}, again"] = measure(partial(add_all, window, posts))
        started = time.perf_counter()
        pass_an_hour(window)
        busy = time.perf_counter() - started
        idle = time.perf_counter()  # the same for an empty hour: what the calls alone cost
        for now_ms in range(NOON + HOUR + 50, NOON + 2 * HOUR + 100, 50):
            window.advance(now_ms)
        idle = time.perf_counter() - idle
        times[f"{name}, leaving"] = (busy - idle) / POSTS * 1e9
        times[f"{name}, nothing to do"] = idle / (HOUR / 50) * 1e9
    return times


def resident_bytes() -> int:
    """Return how much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def bytes_a_post(authors: int, *, naive: bool) -> float:
    """Return the memory that a post of a million takes, in a process that did nothing else."""
    window = make_window(naive=naive)
    before = resident_bytes()
    for number in range(MILLION):
        window.add(make_post(number, MILLION, authors))
    return (resident_bytes() - before) / MILLION


def main() -> None:
    """Print the tables."""
    posts = [make_post(number, POSTS, POSTS * 6 // 10) for number in range(POSTS)]
    lines = [make_line(post) for post in posts]
    runs = [time_once(posts, lines) for _ in range(3)]
    best = {what: min(run[what] for run in runs) for what in runs[0]}
    print(f"ns a post, {POSTS:,} posts by {POSTS * 6 // 10:,} authors, best of {len(runs)}")
    print(f"  {'json.loads':<16}{best['json.loads']:>8.0f}")
    print(f"  {'':16}{'ours':>8}{'/json':>8}{'naive':>8}{'/naive':>8}")
    for what in ("new", "again", "leaving", "nothing to do"):
        ours, naive = best[f"ours, {what}"], best[f"naive, {what}"]
        print(f"  {what:<16}{ours:>8.0f}{ours / best['json.loads']:>8.2f}", end="")
        print(f"{naive:>8.0f}{ours / naive:>8.2f}")
    print(f"resident bytes a post, {MILLION:,} posts")
    print(f"  {'authors':<16}{'ours':>8}{'naive':>8}{'/naive':>8}")
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        for authors in (600_000, MILLION):
            ours = processes.submit(bytes_a_post, authors, naive=False).result()
            naive = processes.submit(bytes_a_post, authors, naive=True).result()
            print(f"  {authors:<16,}{ours:>8.1f}{naive:>8.1f}{ours / naive:>8.2f}")


if __name__ == "__main__":
    main()
