"""How often a server still lets us ask, by its own headers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from tweetdock.core.times import clock_time, parse_ms

LONGEST_SECONDS = 3600.0
SPELLINGS = ("x-rate-limit", "x-ratelimit")  # X's and Mastodon's


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What is left of an allowance: `remaining` requests until `reset_ms` (unix).

    allowed: how many there were at first, if the server says so.
    """

    remaining: int
    reset_ms: int
    allowed: int | None = field(default=None, compare=False)

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> Self | None:
        """From X's `x-rate-limit-*` or Mastodon's `x-ratelimit-*`; None where they are no use.

        X's reset is in unix seconds, Mastodon's a date by ISO 8601; each may be either.
        https://docs.x.com/x-api/fundamentals/rate-limits https://docs.joinmastodon.org/api/rate-limits/
        """
        for name in SPELLINGS:
            try:
                remaining = int(headers[f"{name}-remaining"])
                reset_ms = _reset_ms(headers[f"{name}-reset"])
                clock_time(reset_ms)  # which no calendar may go as far as
            except (KeyError, ValueError, OverflowError, OSError):
                continue
            allowed = headers.get(f"{name}-limit", "")
            is_number = allowed.isascii() and allowed.isdecimal() and len(allowed) < 10
            return cls(remaining, reset_ms, int(allowed) if is_number else None)
        return None

    def is_spent(self, now_ms: int) -> bool:
        """Whether a request now would be refused."""
        return self.remaining <= 0 and self._seconds_left(now_ms) > 0

    def pause_seconds(self, now_ms: int, wanted: float, requests: int = 1) -> float:
        """Seconds from one turn to the next that keep inside the allowance, at least `wanted`.

        Spreads what is left evenly over the time left, so that we are never refused.
        requests: how many of them a turn takes.
        """
        left = self._seconds_left(now_ms)
        return max(wanted, left * requests / max(requests, self.remaining))

    def _seconds_left(self, now_ms: int) -> float:
        left = (self.reset_ms - now_ms) / 1000 + 1
        # X's windows last 15 minutes: a reset in the past or far off is no reset.
        return left if 0 < left <= LONGEST_SECONDS else 0.0


def _reset_ms(reset: str) -> int:
    try:
        return int(reset) * 1000
    except ValueError:
        return parse_ms(reset)
