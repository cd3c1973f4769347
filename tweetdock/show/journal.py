"""The readings in the log: what the owner wants to find there next morning."""

import logging

from tweetdock.core.coverage import Grade, worst
from tweetdock.core.errors import plain
from tweetdock.core.reading import DialReading, Reading
from tweetdock.core.times import clock_time, duration

log = logging.getLogger(__name__)

EVERY_MS = 600_000
WATCHED_EVERY_MS = 5_000


class Journal:
    """Logs a reading when its grade changes, when a dial pegs, and now and then as it moves.

    A source's own grade has a line at once if it is worse than in the last line, a better one with
    the next: one that wavers must not fill the log.
    is_watched: somebody sees the log as it comes, without a live line, and waits for the next.
    speed: how many times as fast as ours the readings' time runs.
    """

    def __init__(self, *, is_watched: bool, speed: float = 1.0) -> None:
        self._every_ms = (WATCHED_EVERY_MS if is_watched else EVERY_MS) * speed
        self._last: Reading | None = None

    def note(self, reading: Reading) -> None:
        """Log the reading if it is worth a line."""
        last = self._last
        if last is not None and not self._is_news(last, reading):
            return
        changed = _worse(last, reading) if last else set()
        if last is None or reading.grade is not last.grade:
            changed.add(reading.grade)
        is_bad = not changed.isdisjoint((Grade.PARTIAL, Grade.STALE))
        log.log(logging.WARNING if is_bad else logging.INFO, "%s", sentence(reading))
        self._last = reading

    def _is_news(self, last: Reading, reading: Reading) -> bool:
        if reading.grade is not last.grade or _worse(last, reading):
            return True
        # Not its end, too: a count may waver about the end of the dial.
        if any(_pegged(reading)) and not any(_pegged(last)):
            return True
        is_due = abs(reading.at_ms - last.at_ms) >= self._every_ms
        return is_due and _state(reading) != _state(last)


def sentence(reading: Reading) -> str:
    """A reading in a line."""
    dials = reading.dials
    words = [
        "DEMO, made-up posts:" if reading.demo else "",
        "REPLAY:" if reading.replay else "",
        plain(reading.heading),
        f"{reading.posts} tweets {_place(dials['tweets'])},",
        f"{reading.authors} tweeters {_place(dials['tweeters'])}",
        f"in the last {duration(reading.window_seconds)}, {_worth(reading)}{_reasons(reading)}",
    ]
    return " ".join(word for word in words if word)


def _worse(last: Reading, reading: Reading) -> set[Grade]:
    """The grades of the sources that are worth less than in the last line."""
    changes = (
        (last.sources[name].grade, source.grade)
        for name, source in reading.sources.items()
        if name in last.sources
    )
    return {now for before, now in changes if worst((before, now)) is not before}


def _state(reading: Reading) -> tuple[int, int, list[Grade]]:
    grades = [source.grade for source in reading.sources.values()]
    return reading.posts, reading.authors, grades


def _worth(reading: Reading) -> str:
    is_exact = reading.grade is Grade.EXACT
    return reading.grade + (f" up to {clock_time(reading.certain_ms)}" if is_exact else "")


def _place(dial: DialReading) -> str:
    if not dial.known:
        return "(not known, at rest)"
    above = ", pegged" if dial.pegged else ""
    return f"({dial.angle:.0f}° of 0..{dial.full_scale}{above})"


def _pegged(reading: Reading) -> list[bool]:
    return [dial.pegged for dial in reading.dials.values()]


def _reasons(reading: Reading) -> str:
    reasons = [
        f"{name}: {source.detail}" for name, source in reading.sources.items() if source.detail
    ]
    return plain(f" ({'; '.join(reasons)})") if reasons else ""
