"""How often a server still lets us ask, by its own headers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

LONGEST_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What is left of an allowance: `remaining` requests until `reset_ms` (unix)."""

    remaining: int
    reset_ms: int

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> Self | None:
        """From X's `x-rate-limit-*`; None where they are missing or no numbers.

        https://docs.x.com/x-api/fundamentals/rate-limits
        """
        try:
            remaining = int(headers["x-rate-limit-remaining"])
            reset = int(headers["x-rate-limit-reset"])
        except (KeyError, ValueError):
            return None
        return cls(remaining, reset * 1000)

    def is_spent(self, now_ms: int) -> bool:
        """Whether a request now would be refused."""
        return self.remaining <= 0 and self._seconds_left(now_ms) > 0

    def pause_seconds(self, now_ms: int, wanted: float) -> float:
        """Seconds from one request to the next that keep inside the allowance, at least `wanted`.

        Spreads what is left evenly over the time left, so that we are never refused.
        """
        left = self._seconds_left(now_ms)
        return max(wanted, left / self.remaining if self.remaining > 0 else left)

    def _seconds_left(self, now_ms: int) -> float:
        left = (self.reset_ms - now_ms) / 1000 + 1
        # X's windows last 15 minutes: a reset in the past or far off is no reset.
        return left if 0 < left <= LONGEST_SECONDS else 0.0
