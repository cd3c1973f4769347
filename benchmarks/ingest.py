"""What a page of X's search costs, from its bytes to the counts."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import tweepy
from dateutil import parser

from benchmarks.made_up import NOON, as_sent, make_post
from benchmarks.table import lines, race
from benchmarks.windows import sliding_window
from tweetdock.sources.x.posts import parse_page

PAGES = 50
PAGE_SIZE = 100


def rows() -> Iterator[str]:
    """Measure; return the table's rows."""
    pages = make_pages()
    a_page = race(
        {
            "ours": lambda: partial(count, pages),
            "`json.loads` of its bytes": lambda: partial(for_each, json.loads, pages),
            "tweepy's own models of it": lambda: partial(for_each, decode_by_tweepy, pages),
        }
    )
    a_poll = race(
        {words(n): partial(partial, poll_by_s1, pages[:n]) for n in (1, 5, PAGES)}, rounds=3
    )
    others = {name: taken / PAGES for name, taken in a_page.items()} | a_poll
    micros = {name: taken * 1e6 for name, taken in others.items()}
    what = f"a page of {PAGE_SIZE} posts, decoded and counted"
    yield from lines(what, "µs", micros.pop("ours"), micros)


def words(pages: int) -> str:
    """Return what S1's way is called for so many pages."""
    return f"S1's way, {pages * PAGE_SIZE:,} posts in the hour"


def make_pages() -> list[bytes]:
    """Return full pages that fill the hour before noon, newest first."""
    number = PAGES * PAGE_SIZE
    sent = [as_sent(make_post(place, number)) for place in reversed(range(number))]
    pages = []
    for start in range(0, number, PAGE_SIZE):
        meta = {"result_count": PAGE_SIZE, "next_token": f"token{start}"}
        page = {"data": sent[start : start + PAGE_SIZE], "meta": meta}
        pages.append(json.dumps(page).encode())
    return pages


def count(pages: list[bytes]) -> int:
    """Decode the pages, count their posts; return how many authors they have."""
    window = sliding_window()
    for page in pages:
        for post in parse_page(page, NOON).posts:
            window.add(post)
    return window.authors


def for_each(work: Callable[[bytes], object], pages: list[bytes]) -> None:
    """Do it with each page."""
    for page in pages:
        work(page)


def decode_by_tweepy(page: bytes) -> list[tweepy.Tweet]:
    """Decode, and make tweepy's own models."""
    return [tweepy.Tweet(entry) for entry in json.loads(page)["data"]]


def poll_by_s1(pages: list[bytes]) -> tuple[int, int]:
    """Return the last hour's posts and authors as the first such gauge did (S1).

    It took one page only, the hundred newest posts; more is what its way would cost.
    """
    an_hour_ago = datetime.fromtimestamp(NOON / 1000, UTC) - timedelta(hours=1)
    authors = []
    for page in pages:
        for entry in json.loads(page)["data"]:
            if parser.parse(entry["created_at"]) <= an_hour_ago:
                break
            authors.append(entry["author_id"])
    return len(authors), len(set(authors))
