"""The thread that asks again: what it waits, what it tells, when it stops."""

import itertools
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from listening import Unseeing

from tweetdock.core.coverage import Spans
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.post import Batch, Feed, Trouble
from tweetdock.retry import backoff
from tweetdock.sources.http import RateLimit
from tweetdock.sources.polling import Pause, Poller, Waits

Answer = Exception | Pause


class Scripted:
    """A source that gives one answer after the other, each poll with a batch before it fails."""

    feed = Feed("scripted", lag_ms=45_000)
    channel = ""

    def __init__(self, *answers: Answer) -> None:
        self._answers = iter(answers)
        self._pause = Pause(0.0)

    def poll(self, _: Spans) -> Iterator[Batch]:
        yield Batch(source=self.feed.source)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        self._pause = answer

    def pause(self, _: Spans) -> Pause:
        return self._pause

    def cut(self) -> None:
        pass

    def close(self) -> None:
        pass


def play(*answers: Answer) -> tuple[list[Batch | Trouble], list[float]]:
    """What the poller tells and how long it waits, an answer after the other."""
    told: list[Batch | Trouble] = []
    waits: list[float] = []
    stopping = threading.Event()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == len(answers):
            stopping.set()

    Poller(Scripted(*answers), Unseeing(told.append), stopping, wait, lambda: sum(waits)).run()
    return told, waits


@given(st.floats(0.1, 100), st.floats(1, 1000), st.integers(1, 30))
def test_delays_double_up_to_the_cap_with_jitter(first: float, cap: float, number: int) -> None:
    for place, seconds in enumerate(itertools.islice(backoff(first, cap), number)):
        most = first if place == 0 else min(cap, first * 2**place)
        assert most / 2 <= seconds <= most


def test_failures_in_a_row_wait_longer_and_success_starts_over() -> None:
    """Who greeted and closed was asked again at once, for ever."""
    failure = SourceError("down", kind=Kind.STRANGER)
    _, waits = play(*[failure] * 5, Pause(0.0), failure, Pause(5.0), failure)
    bounds = [5, 10, 20, 40, 60, 0, 60, 5, 5]
    assert all(b / 2 <= w <= b for w, b in zip(waits, bounds, strict=True))


def test_an_answer_that_goes_on_has_worked_once_it_has_lasted() -> None:
    waits, failure = Waits(), SourceError("closed")
    assert 0.5 <= waits.after(failure, 0.0) <= 1 <= waits.after(failure, 1.0) <= 2
    assert waits.after(failure, 40.0) >= 2
    assert waits.after(failure, 110.0) <= 1


def test_failures_that_take_turns_do_not_start_each_other_over() -> None:
    slow, quick = SourceError("slow", kind=Kind.LIMIT), SourceError("quick")
    _, waits = play(slow, quick, slow, quick, slow)
    assert waits[1] <= 1.0
    assert 0.5 <= waits[3] <= 2.0
    assert 120 <= waits[4] <= 240


def test_the_servers_own_word_wins() -> None:
    told, waits = play(SourceError("wait", retry_after=123.0))
    assert waits == [123.0]
    assert isinstance(told[-1], Trouble)
    assert told[-1].detail == "wait; next try in 2 min"


def test_what_came_before_a_failure_is_delivered() -> None:
    told, _ = play(SourceError("down", kind=Kind.ACCOUNT, server_ms=1_790_000_000_000))
    assert [type(word) for word in told] == [Batch, Trouble]
    assert isinstance(told[1], Trouble)
    assert told[1].needs_owner
    assert told[1].server_ms == 1_790_000_000_000


def test_a_pause_that_the_owner_would_not_like_is_explained() -> None:
    told, waits = play(Pause(300.0, "one search every 5 min"))
    assert waits == [300.0]
    assert isinstance(told[-1], Trouble)
    assert told[-1].detail == "one search every 5 min; next try in 5 min"


def test_a_bug_is_not_taken_for_a_trouble() -> None:
    with pytest.raises(ZeroDivisionError):
        play(ZeroDivisionError())


def test_an_exchange_that_was_cut_to_stop_is_no_trouble() -> None:
    told: list[Batch | Trouble] = []
    stopping = threading.Event()

    def deliver(word: Batch | Trouble) -> None:
        stopping.set()
        told.append(word)

    Poller(Scripted(SourceError("cut")), Unseeing(deliver), stopping).run()
    assert [type(word) for word in told] == [Batch]


@pytest.mark.parametrize(
    ("headers", "limit"),
    [
        ({"x-rate-limit-remaining": "7", "x-rate-limit-reset": "1790000100"}, (7, 1_790_000_100)),
        (
            {"x-ratelimit-remaining": "7", "x-ratelimit-reset": "2026-09-21T14:15:00.000000Z"},
            (7, 1_790_000_100),
        ),
        ({"x-ratelimit-remaining": "7", "x-ratelimit-reset": "1790000100"}, (7, 1_790_000_100)),
        ({"x-ratelimit-remaining": "7", "x-ratelimit-reset": "soon"}, None),
        ({"x-ratelimit-remaining": "many", "x-ratelimit-reset": "1790000100"}, None),
        ({"x-ratelimit-remaining": "7"}, None),
        ({}, None),
    ],
)
def test_a_rate_limit_is_read_in_either_spelling(
    headers: dict[str, str], limit: tuple[int, int] | None
) -> None:
    found = RateLimit.from_headers(headers)
    assert found == (limit and RateLimit(limit[0], limit[1] * 1000))


def test_what_is_left_is_spread_over_turns_of_several_requests() -> None:
    limit = RateLimit(10, 1_790_000_099_000)
    assert limit.pause_seconds(1_790_000_000_000, 5.0) == 10.0
    assert limit.pause_seconds(1_790_000_000_000, 5.0, requests=4) == 40.0
    assert limit.pause_seconds(1_790_000_000_000, 5.0, requests=40) == 100.0
    assert limit.pause_seconds(1_790_000_000_000, 50.0, requests=2) == 50.0
    assert RateLimit(0, 1_790_000_099_000).pause_seconds(1_790_000_000_000, 5.0, requests=2) == 100
