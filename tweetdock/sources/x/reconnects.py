"""How long to wait before X's stream is connected to again, by X's own rules."""

from collections.abc import Iterable

MOST_CONNECTS = 45  # X allows 50 in 15 minutes, ours and whoever else's the app is
CONNECTS_MS = 15 * 60_000
LASTING_MS = 20_000
NETWORK_STEP, NETWORK_CAP = 0.25, 16.0
LIMIT_FIRST, LIMIT_CAP = 60.0, 960.0


class Reconnects:
    """The connects made and what became of them.

    After a broken connection the first retry is at once, the next ones 0.25 s later each, up to
    16 s; a refusal is answered by waits that double. Failures that take turns do not start each
    other over: only a connection that lasted does. https://docs.x.com/x-api/fundamentals/handling-disconnections

    connects_ms: when connects were made before a restart.
    """

    def __init__(self, connects_ms: Iterable[int] = ()) -> None:
        self._connects_ms = sorted(connects_ms)[-MOST_CONNECTS:]
        self._opened_ms: int | None = None
        self._network_wait = 0.0
        self._refusal_waits: dict[tuple[float, float], float] = {}

    @property
    def connects_ms(self) -> tuple[int, ...]:
        """When connects were made, as far as they still matter, in unix milliseconds."""
        return tuple(self._connects_ms)

    def wait_seconds(self, now_ms: int) -> float:
        """Seconds until one more connect may be made."""
        # A time to come is from before our clock was corrected.
        times = (min(at_ms, now_ms) for at_ms in self._connects_ms)
        self._connects_ms = [at_ms for at_ms in times if at_ms > now_ms - CONNECTS_MS]
        if len(self._connects_ms) < MOST_CONNECTS:
            return 0.0
        return (self._connects_ms[-MOST_CONNECTS] + CONNECTS_MS - now_ms) / 1000

    def connecting(self, now_ms: int) -> None:
        """A connect is made."""
        self._connects_ms.append(now_ms)

    def not_reached(self) -> None:
        """The last connect never came as far as X, and does not count there."""
        del self._connects_ms[-1:]

    def opened(self, now_ms: int) -> None:
        """X has let us in."""
        self._opened_ms = now_ms

    def broke(self, now_ms: int) -> float:
        """The connection has ended, or none came about; how many seconds to wait."""
        if self._opened_ms is not None and now_ms - self._opened_ms >= LASTING_MS:
            self._network_wait = 0.0
            self._refusal_waits.clear()
        self._opened_ms = None
        wait = self._network_wait
        self._network_wait = min(NETWORK_CAP, wait + NETWORK_STEP)
        return max(wait, self.wait_seconds(now_ms))

    def refused(self, now_ms: int, first: float, cap: float) -> float:
        """X has refused; how many seconds to wait: `first`, doubling up to `cap`."""
        wait = self._refusal_waits.get((first, cap), first)
        self._refusal_waits[first, cap] = min(cap, wait * 2)
        return max(wait, self.wait_seconds(now_ms))
