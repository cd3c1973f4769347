"""What counts, and what of it outlives a step of the clock."""

import threading
import time
from pathlib import Path

from tweetdock.core.clock import Clock, TimeVote
from tweetdock.core.post import Trouble
from tweetdock.counting import ClockStep, Counting
from tweetdock.settings.gauge import Settings
from tweetdock.show.board import Board, Health, Past


def test_a_step_of_the_clock_forgets_nothing_of_what_was_paid(tmp_path: Path) -> None:
    """What could not be saved was gone: the day's budget began anew, and more was spent."""
    env = {
        "TWEETDOCK_HASHTAGS": "dockercon",
        "X_BEARER_TOKEN": "a-token",
        "TWEETDOCK_STATE_DIR": str(tmp_path),
    }
    settings = Settings.from_env(env)
    board = Board(Past(), Health(dict, dict, str, lambda: None))
    clock = Clock(time.time, time.monotonic)
    stopping, reopening = threading.Event(), threading.Event()
    counting = Counting(
        settings, clock, board, angles=tuple, stopping=stopping, reopening=reopening
    )
    counting._budget.charge(["x:1", "x:2"], clock.now_ms())
    counting._step = ClockStep(
        Trouble(source="x", detail="late"), TimeVote(["x"]), counting._budget, frozenset()
    )
    cost = counting.cost_usd
    again = counting.reopened()
    assert again.cost_usd == cost > 0
    again.close()
