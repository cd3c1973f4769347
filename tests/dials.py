"""What the servo tests share: dials as they may be set, and waits that have a limit."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from tweetdock.core.motion import SPEED
from tweetdock.settings.gauge import DialSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tweetdock.servos.needles import Needle

PINS = TWEETS, TWEETERS = 12, 13
STEP_US = 5.0
LIMIT = 10.0


def dials(**changes: Any) -> tuple[DialSettings, DialSettings]:
    """Both dials as they are set by default, but for the changes."""
    usual: dict[str, Any] = {
        "mid_pulse_us": None,
        "scale": "auto",
        "min_angle": 0.0,
        "max_angle": 180.0,
        "reversed": False,
    }
    usual |= {"min_pulse_us": 1000, "max_pulse_us": 2000}
    tweets, tweeters = (DialSettings(**{"pin": pin} | usual | changes) for pin in (12, 13))
    return tweets, tweeters


def settle(needle: Needle, frames: int = 10_000) -> None:
    """Let a needle go where it is sent, for so many frames at most."""
    now = 0.0
    if needle.wants_to_move:
        needle.start(now)
    while not needle.is_resting and frames:
        now, frames = now + 0.02, frames - 1
        needle.frame(now, SPEED)


def us(angle: float) -> float:
    """The pulse that an angle of a dial as set by default asks for."""
    return 1000 + angle / 180 * 1000


def exact_us(dial: DialSettings, angle: float) -> float:
    """The pulse that an angle of a dial asks for."""
    share = (angle - dial.min_angle) / (dial.max_angle - dial.min_angle)
    share = 1 - share if dial.reversed else share
    if dial.mid_pulse_us is None:
        return dial.min_pulse_us + share * (dial.max_pulse_us - dial.min_pulse_us)
    if share < 0.5:
        return dial.min_pulse_us + 2 * share * (dial.mid_pulse_us - dial.min_pulse_us)
    return dial.mid_pulse_us + (2 * share - 1) * (dial.max_pulse_us - dial.mid_pulse_us)


def comes_true(predicate: Callable[[], bool], limit: float = LIMIT) -> bool:
    """Ask again and again until it holds or time is up."""
    end = time.monotonic() + limit
    pause = threading.Event()
    while not predicate():
        if time.monotonic() > end:
            return False
        pause.wait(0.005)
    return True


def busy_share(seconds: float = 0.3) -> float:
    """The share of a core that this process uses while the test itself only waits."""
    wall, busy = time.monotonic(), time.process_time()
    threading.Event().wait(seconds)
    return (time.process_time() - busy) / (time.monotonic() - wall)
