"""Entries that no post can be made of: each is told once, however often it is read again."""

import logging
from collections.abc import Iterable
from functools import cache, partial
from typing import NamedTuple

from tweetdock.core.post import Raw

log = logging.getLogger(__name__)


class Unreadable(NamedTuple):
    """An entry by a name that lasts, about when it was written (Unix ms), and what it lacks.

    raw: as it came; None if nothing did.
    """

    name: str
    at_ms: int
    lacks: str
    raw: Raw | None = None


class UnreadableLog:
    """Which of a feed's entries were told to be unreadable, and in the log once a kind."""

    def __init__(self, feed: str) -> None:
        self._told: dict[str, int] = {}
        self._warn = cache(partial(log.warning, "%s: an entry is left out: %s", feed))

    def new(self, entries: Iterable[Unreadable], floor_ms: int) -> list[Unreadable]:
        """Those newer than `floor_ms` (Unix ms) that were not told before; they are told now."""
        self._told = {name: at_ms for name, at_ms in self._told.items() if at_ms > floor_ms}
        new = []
        for one in entries:
            if one.at_ms > floor_ms and one.name not in self._told:
                self._told[one.name] = one.at_ms
                self._warn(one.lacks)
                new.append(one)
        return new
