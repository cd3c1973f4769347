"""What counts, by which time, and what of it outlives a step of the clock."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tweetdock.core.clock import Clock, TimeVote
from tweetdock.core.coverage import Grade, Seen
from tweetdock.core.gauge import Saved
from tweetdock.core.post import Batch, Span, Trouble
from tweetdock.counting import ClockStep, Counting
from tweetdock.keep.database import State, Store, read_state
from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board, Health, Past
from tweetdock.sources.choice import subjects_of

NOW_MS = 1_790_000_000_000
HOUR_MS = 3_600_000


@contextmanager
def counting(folder: Path, clock: Clock) -> Iterator[Counting]:
    """A count of X's posts by that clock; nothing is asked."""
    settings = settings_in(folder)
    board = Board(Past(), Health(dict, dict, str, lambda: None))
    stopping, reopening = threading.Event(), threading.Event()
    found = Counting(settings, clock, board, angles=tuple, stopping=stopping, reopening=reopening)
    try:
        yield found
    finally:
        found.close()


def settings_in(folder: Path) -> Settings:
    env = {
        "TWEETDOCK_HASHTAGS": "dockercon",
        "X_BEARER_TOKEN": "a-token",
        "TWEETDOCK_STATE_DIR": str(folder),
    }
    return Settings.from_env(env)


def at(ms: int, *, is_synchronised: bool = False) -> Clock:
    return Clock(lambda: ms / 1000, lambda: 5.0, is_synchronised=lambda: is_synchronised)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The state of a gauge that has just seen its whole hour."""
    store = Store(tmp_path, subjects_of(settings_in(tmp_path)), HOUR_MS)
    seen = {"x": Seen((Span(NOW_MS - HOUR_MS, NOW_MS),), (), NOW_MS)}
    store.save(State(saved_ms=NOW_MS, saved=Saved(salt=b"", seen=seen), cursors={}))
    store.close()
    return tmp_path


def test_by_a_time_that_nobody_has_confirmed_nothing_is_exact(folder: Path) -> None:
    """After hours without power and network it said exact, of all that was hours ago."""
    with counting(folder, at(NOW_MS - HOUR_MS)) as found:
        first = next(found.readings())
    assert first.at_ms == NOW_MS
    assert first.grade is Grade.PARTIAL
    assert "let a time server set this machine's clock" in first.sources["x"].detail


def test_what_was_counted_by_a_time_that_nobody_has_confirmed_is_not_kept(folder: Path) -> None:
    """The hour that was kept gave way to one of another year, exact from the next start on."""
    later = NOW_MS + 1000 * HOUR_MS
    with counting(folder, at(later)) as found:
        found._count(Batch(source="x", covers=Span(later - HOUR_MS, later)))
    with counting(folder, at(NOW_MS, is_synchronised=True)) as found:
        first = next(found.readings())
    assert (first.at_ms, first.grade) == (NOW_MS, Grade.EXACT)


def test_by_the_time_of_a_time_server_it_is_exact_at_once(folder: Path) -> None:
    with counting(folder, at(NOW_MS, is_synchronised=True)) as found:
        assert next(found.readings()).grade is Grade.EXACT


def test_what_was_seen_by_a_time_that_is_still_to_come_was_not_seen(folder: Path) -> None:
    """It was exact until that time had come, of posts that nobody had asked for."""
    with counting(folder, at(NOW_MS - HOUR_MS // 2, is_synchronised=True)) as found:
        first = next(found.readings())
        assert first.at_ms == NOW_MS - HOUR_MS // 2
        assert first.grade is not Grade.EXACT
        assert not list(found.seen("x"))


def test_what_was_seen_by_a_time_that_was_wrong_is_not_saved(folder: Path) -> None:
    """A kill between the step of the clock and the next save brought it back, as exact."""
    with counting(folder, at(NOW_MS + HOUR_MS // 2, is_synchronised=True)) as found:
        began = next(found.readings()).at_ms
        found._count(Batch(source="x", covers=Span(began - HOUR_MS, began)))
        found._step = ClockStep(None, TimeVote(["x"]), found._budget, frozenset({"x"}))
        again = found.reopened()
        saved = read_state(folder, subjects_of(settings_in(folder)), HOUR_MS)
        assert saved is not None
        assert saved.saved.seen["x"].spans == (Span(NOW_MS - HOUR_MS, NOW_MS),)
        assert not list(again.seen("x"))
        again.close()


def test_a_step_of_the_clock_forgets_nothing_of_what_was_paid(tmp_path: Path) -> None:
    """What could not be saved was gone: the day's budget began anew, and more was spent."""
    clock = Clock(time.time, time.monotonic)
    with counting(tmp_path, clock) as found:
        found._budget.charge(["x:1", "x:2"], clock.now_ms())
        trouble = Trouble(source="x", detail="late")
        found._step = ClockStep(trouble, TimeVote(["x"]), found._budget, frozenset())
        cost = found.cost_usd
        again = found.reopened()
        assert again.cost_usd == cost > 0
        again.close()
