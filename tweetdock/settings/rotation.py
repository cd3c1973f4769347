"""When a file of the archive is full: at a size, at midnight, or never."""

import re
from dataclasses import dataclass
from typing import Self

_DAY_MS = 86_400_000
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
_SMALLEST = 10_000
_ACCEPTED = "off, a size from 10KB such as 100MB, daily (at midnight UTC), or both: 100MB,daily"


@dataclass(frozen=True, slots=True)
class Rotation:
    """At which size, and whether at midnight UTC, a file is closed and a new one begun."""

    size_bytes: int | None = None
    is_daily: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """What the words of the setting mean; ValueError says what is accepted."""
        words = [word.strip() for word in text.upper().split(",")]
        if words in ([""], ["OFF"]):
            return cls()
        sizes = [_size(word) for word in words if word != "DAILY"]
        if len(sizes) > 1 or len(words) - len(sizes) > 1:
            raise ValueError(_ACCEPTED)
        return cls(sizes[0] if sizes else None, "DAILY" in words)

    def is_due(self, size_bytes: int, first_ms: int | None, now_ms: int) -> bool:
        """Whether a file of that size, whose first line came at `first_ms`, is to be closed now.

        An empty file, whose `first_ms` is None, never is.
        """
        if first_ms is None:
            return False
        # Not merely another day: a clock that was set back begins no new file.
        is_over = self.is_daily and now_ms // _DAY_MS > first_ms // _DAY_MS
        return is_over or (self.size_bytes is not None and size_bytes >= self.size_bytes)


def _size(word: str) -> int:
    match = re.fullmatch(r"([0-9]{1,6})\s*([KMG]B)", word)
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if size < _SMALLEST:
        raise ValueError(_ACCEPTED)
    return size
