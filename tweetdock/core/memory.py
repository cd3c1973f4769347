"""What the gauge remembers over a restart, and what is new to remember."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tweetdock.core.counter import Mark
from tweetdock.core.coverage import Seen
from tweetdock.core.post import Raw, Span


class Keepsake(NamedTuple):
    """A mark to remember, and the source that brought it."""

    source: str
    mark: Mark


class ScaleState(NamedTuple):
    """Where a dial's automatic scale stands."""

    full_scale: int
    roomy_since_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """All that a gauge goes on from, as if it had never ended.

    salt: of the marks. seen: by feed. scales: by dial, the automatic ones.
    """

    salt: bytes
    keepsakes: Iterable[Keepsake] = ()
    seen: Mapping[str, Seen] = field(default_factory=dict)
    scales: Mapping[str, ScaleState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Where a feed left off: its own words, by its last batch, and what was complete by then."""

    cursor: str = ""
    seen: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class News:
    """What a batch has told that was not known: marks to keep, raw posts for the archive."""

    keepsakes: tuple[Keepsake, ...] = ()
    raw: tuple[Raw, ...] = ()
