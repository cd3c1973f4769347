"""What time it is, by the servers' word when the machine's own clock is off."""

import time
from collections.abc import Callable

# A Date header is cut to the second and some milliseconds old: nearer than this proves nothing.
TRUSTED_MS = 2_500


class Clock:
    """Unix milliseconds: the machine's until a server disagrees, then the server's.

    Once a server has spoken the monotonic clock carries the time on, so that a step of the
    machine's clock (a Pi without battery finds its time server late) does not move the window.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._anchor: tuple[float, float] | None = None  # (unix, monotonic) seconds

    def now_ms(self) -> int:
        """The time now."""
        if self._anchor is None:
            return int(self._wall() * 1000)
        unix, monotonic = self._anchor
        return round((unix + self._monotonic() - monotonic) * 1000)

    def correct(self, server_ms: int) -> bool:
        """Take a server's word for the time; True when it moved ours."""
        ours = self.now_ms()
        is_off = abs(ours - server_ms) > TRUSTED_MS
        if is_off or self._anchor is None:
            self._anchor = ((server_ms if is_off else ours) / 1000, self._monotonic())
        return is_off
