"""The board: what the loop writes down is there for any thread, whole."""

from bisect import bisect_left
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from test_journal import reading

from tweetdock.core.post import Batch, Post, Trouble
from tweetdock.show.board import BUCKETS, Board, FeedStats, Health, Past


def nothing() -> Health:
    return Health(threads=dict, needles=dict, servo_trouble=str, cost_usd=lambda: None)


def test_silence_is_how_long_no_reading_came() -> None:
    now = [100.0]
    board = Board(Past(), nothing(), monotonic=lambda: now[0])
    now[0] = 107.0
    assert board.silence_seconds == 7.0
    board.publish(reading(41))
    assert board.silence_seconds == 0.0


def test_each_feeds_words_are_counted_apart() -> None:
    board = Board(Past(), nothing())
    posts = (Post("x:1", "x:7", 1), Post("x:2", "x:7", 2))
    board.count(Batch(source="x", posts=posts))
    board.count(Batch(source="x"))
    board.count(Trouble(source="x", detail="X is out of order (503)"))
    board.count(Trouble(source="x", detail="the budget is spent", by_choice=True))
    board.count(Batch(source="mastodon", server="a.example", posts=posts[:1]), new=1)
    board.count(Batch(source="bluesky", channel="gaps", posts=posts), new=1)
    assert board.feeds == {
        "x": FeedStats(answers=2, faults=1, posts=2),
        "mastodon a.example": FeedStats(answers=1, faults=0, posts=1),
        "bluesky": FeedStats(answers=1, faults=0, posts=2, missed=1),
    }


@given(st.lists(st.floats(-1, 20), max_size=50))
def test_delays_are_told_by_their_buckets(seconds: list[float]) -> None:
    board = Board(Past(), nothing())
    for each in seconds:
        board.note_delay(each)
    counts = [sum(bisect_left(BUCKETS, s) == number for s in seconds) for number in range(14)]
    assert list(board.delays.counts) == counts
    assert all(low < high for low, high in pairwise(BUCKETS))
    assert abs(board.delays.seconds - sum(max(0.0, s) for s in seconds)) < 1e-6
