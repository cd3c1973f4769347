"""What a page of X's search costs from its bytes to the counts, beside decoding it only."""

import json
import time
from collections.abc import Callable

import tweepy

from tweetdock.counter import SlidingWindow
from tweetdock.sources.x_posts import EPOCH_MS, parse_page
from tweetdock.timestamps import rfc3339

PAGES = 200
PAGE_SIZE = 100
NOW_MS = 1_790_000_000_000


def make_pages() -> list[bytes]:
    """Return full pages as X answers to our question, newest first."""
    pages = []
    for page in range(PAGES):
        data = []
        for place in range(PAGE_SIZE):
            at_ms = NOW_MS - (page * PAGE_SIZE + place) * 150
            key = str((at_ms - EPOCH_MS) << 22 | place)
            data.append(
                {
                    "id": key,
                    "text": "#DockerCon ".ljust(140, "."),
                    "author_id": str(1_000_000_000 + place * page % 7919),
                    "created_at": rfc3339(at_ms // 1000 * 1000),
                    "edit_history_tweet_ids": [key],
                }
            )
        meta = {"result_count": PAGE_SIZE, "next_token": f"token{page}"}
        pages.append(json.dumps({"data": data, "meta": meta}).encode())
    return pages


def decode(page: bytes) -> None:
    """Decode only."""
    json.loads(page)


def decode_by_tweepy(page: bytes) -> None:
    """Decode, and make tweepy's own models."""
    list(map(tweepy.Tweet, json.loads(page)["data"]))


def parse(page: bytes) -> None:
    """Decode, and make posts."""
    parse_page(page, NOW_MS)


class Counting:
    """Decode, make posts and count them."""

    def __init__(self) -> None:
        self._window = SlidingWindow(3_600_000, NOW_MS, b"as in the daemon")

    def __call__(self, page: bytes) -> None:
        """Take one page."""
        for post in parse_page(page, NOW_MS).posts:
            self._window.add(post)


def nanoseconds_a_post(
    pages: list[bytes], make_work: Callable[[], Callable[[bytes], None]]
) -> float:
    """Return the best of five runs over all pages."""
    best = float("inf")
    for _ in range(5):
        work = make_work()
        begun = time.perf_counter_ns()
        for page in pages:
            work(page)
        best = min(best, time.perf_counter_ns() - begun)
    return best / PAGES / PAGE_SIZE


def main() -> None:
    """Print the table."""
    pages = make_pages()
    base = nanoseconds_a_post(pages, lambda: decode)
    print(f"{'a page of 100 posts':36}{'ns a post':>10}{'/ decoding':>12}")
    print(f"{'json.loads':36}{base:10.0f}{1:12.2f}")
    rows: dict[str, Callable[[], Callable[[bytes], None]]] = {
        "tweepy's own models": lambda: decode_by_tweepy,
        "parsed to posts": lambda: parse,
        "parsed and counted": Counting,
    }
    for name, make_work in rows.items():
        cost = nanoseconds_a_post(pages, make_work)
        print(f"{name:36}{cost:10.0f}{cost / base:12.2f}")


if __name__ == "__main__":
    main()
