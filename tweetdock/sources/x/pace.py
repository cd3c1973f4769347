"""How fast money goes: what was spent for the posts of the last hour, and how far it will reach."""

import math

from tweetdock.core.times import clock_time

NANO = 1_000_000_000  # money is whole billionths of a dollar: sums must come out even
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
LEAST_MS = 600_000  # less than that makes no pace


class Pace:
    """Amounts by when that was written which they paid for, not by when it was read.

    An hour that is read at once after the start is an hour's, not a minute's.
    """

    def __init__(self) -> None:
        self._amounts: dict[int, int] = {}  # by minute
        self._since_ms: int | None = None

    def note(self, amount: int, at_ms: int, now_ms: int) -> None:
        """So much was paid for what was written at `at_ms`."""
        at_ms = min(at_ms, now_ms)
        if now_ms - at_ms < HOUR_MS:
            minute = at_ms // MINUTE_MS
            self._amounts[minute] = self._amounts.get(minute, 0) + amount
        if self._since_ms is None or at_ms < self._since_ms:
            self._since_ms = at_ms
        self._forget(now_ms)

    def per_ms(self, now_ms: int) -> float | None:
        """The amount a millisecond, of the last hour as far as it is known; None at first."""
        self._forget(now_ms)
        known_ms = 0 if self._since_ms is None else now_ms - self._since_ms
        if known_ms < LEAST_MS:
            return None
        return sum(self._amounts.values()) / min(HOUR_MS, known_ms)

    def forecast(self, cost: int, limit: int | None, now_ms: int) -> str:
        """Where `cost` will be by midnight, or when at `limit`; empty while there is no pace."""
        pace = self.per_ms(now_ms)
        if pace is None:
            return ""
        by_midnight = cost + pace * (DAY_MS - now_ms % DAY_MS)
        if limit is not None and by_midnight > limit:
            end_ms = now_ms + (limit - cost) / pace
            return f"at this pace spent at about {clock_time(round(end_ms))}"
        return f"about {usd(by_midnight)} USD by midnight UTC"

    def _forget(self, now_ms: int) -> None:
        # The clock may have been wrong: what is still to come is forgotten, too.
        minutes = range((now_ms - HOUR_MS) // MINUTE_MS + 1, now_ms // MINUTE_MS + 1)
        if self._amounts.keys() - minutes:
            self._amounts = {m: paid for m, paid in self._amounts.items() if m in minutes}


def usd(nano: float) -> str:
    """Billionths of a dollar as dollars: `12.50`; less than a cent by two digits: `0.0042`."""
    dollars = nano / NANO
    if not 0 < dollars < 0.01:
        return f"{dollars:.2f}"
    return f"{dollars:.{1 - math.floor(math.log10(dollars))}f}".rstrip("0")
