"""How fast money goes: what was spent for the posts of the last hour."""

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
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

    def per_ms(self, now_ms: int) -> float:
        """The amount a millisecond, of the last hour as far as it is known."""
        self._forget(now_ms)
        known_ms = 0 if self._since_ms is None else now_ms - self._since_ms
        return sum(self._amounts.values()) / min(HOUR_MS, max(LEAST_MS, known_ms))

    def _forget(self, now_ms: int) -> None:
        # The clock may have been wrong: what is still to come is forgotten, too.
        minutes = range((now_ms - HOUR_MS) // MINUTE_MS + 1, now_ms // MINUTE_MS + 1)
        if self._amounts.keys() - minutes:
            self._amounts = {m: paid for m, paid in self._amounts.items() if m in minutes}
