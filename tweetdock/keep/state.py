"""What is saved of a gauge: where it stands, and what has changed since the last time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tweetdock.core.memory import Keepsake, Memory
from tweetdock.keep.history import Row
from tweetdock.keep.place import Place


class Spent(NamedTuple):
    """What was asked of a source in a day, and how many posts it returned."""

    requests: int
    posts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where the gauge and its sources stand.

    saved_ms: when (Unix ms). cursors: by feed. angles: where the needles are, in degrees.
    place: how far the archive had come; None without one. blind_until_ms: up to when it may lack
    posts that the gauge counts. spent: by UTC day (as 2026-11-21) and source, of all days kept;
    what is loaded, while Changes bring what is new.
    """

    saved_ms: int
    memory: Memory
    cursors: Mapping[str, str]
    angles: tuple[float, ...] = ()
    place: Place | None = None
    blind_until_ms: int = 0
    spent: Mapping[str, Mapping[str, Spent]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changes:
    """What is new since the last save; spent: by UTC day and source.

    is_whole: the keepsakes are not only the new ones, but all that there are.
    """

    keepsakes: Iterable[Keepsake] = ()
    rows: Iterable[Row] = ()
    spent: Mapping[tuple[str, str], Spent] = field(default_factory=dict)
    is_whole: bool = False
