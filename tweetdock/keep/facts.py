"""What single values of the state mean; each raises one of UNREADABLE for what makes no sense."""

import json
import math
from typing import Any

from tweetdock.core.coverage import Seen
from tweetdock.core.memory import ScaleState
from tweetdock.core.post import Span
from tweetdock.keep.place import Place

UNREADABLE = (ValueError, TypeError, KeyError, OverflowError, RecursionError, AttributeError)

_YEAR_2100_MS = 4_102_444_800_000
_LARGEST_SCALE = 10**12


def moment(value: Any) -> int:
    """Unix milliseconds of this century."""
    if not isinstance(value, int) or not 0 <= value < _YEAR_2100_MS:
        raise ValueError(f"no moment: {value!r}")
    return value


def salt(value: Any) -> bytes:
    """The salt of the marks."""
    if not isinstance(value, bytes) or len(value) > 16:
        raise ValueError("no salt")
    return value


def number(value: Any) -> int:
    """How many there were of something."""
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"no number: {value!r}")
    return value


def scales(text: Any) -> dict[str, ScaleState]:
    """Where the automatic scales stood, by dial."""
    found = {}
    for dial, (full_scale, roomy_since_ms) in json.loads(text).items():
        if not isinstance(full_scale, int) or not 0 < full_scale < _LARGEST_SCALE:
            raise ValueError(f"no full scale: {full_scale!r}")
        since_ms = None if roomy_since_ms is None else moment(roomy_since_ms)
        found[dial] = ScaleState(full_scale, since_ms)
    return found


def angles(text: Any) -> tuple[float, ...]:
    """Where the needles were, in degrees."""
    found = tuple(float(angle) for angle in json.loads(text))
    if not all(math.isfinite(angle) for angle in found):
        raise ValueError("no angle")
    return found


def place(text: Any) -> Place | None:
    """How far the archive had come."""
    found = json.loads(text)
    if found is None:
        return None
    path, inode, size = found
    return Place(str(path), int(inode), int(size))


def read_seen(spans: Any, unreadable: Any, heard_ms: Any, floor_ms: int) -> Seen:
    """What a source had seen after `floor_ms`."""
    found = [Span(moment(since), moment(until)) for since, until in json.loads(spans)]
    stretches = tuple(
        Span(max(since, floor_ms), until) for since, until in found if until > floor_ms
    )
    return Seen(stretches, tuple(moment(ms) for ms in json.loads(unreadable)), moment(heard_ms))
