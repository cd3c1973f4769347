"""What time it is, by the servers' word when the machine's own clock is off."""

from collections.abc import Callable, Sequence

# A Date header is cut to the second and some milliseconds old: nearer than this proves nothing.
TRUSTED_MS = 2_500
FIRST_YEAR = 2026  # no TweetDock is older, so no clock that is right shows an earlier one


class Clock:
    """Unix milliseconds: the machine's at the start, and a server's once one disagrees.

    The monotonic clock carries the time on, so that a step of the machine's clock (a Pi without
    battery finds its time server late) does not move the window.

    wall, monotonic: the machine's, in seconds, such as `time.time` and `time.monotonic`.
    not_before_ms: a time known to have passed, should the machine's clock say less.
    speed: how many times as fast as the machine's this clock runs from the start on.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        not_before_ms: int = 0,
        speed: float = 1.0,
    ) -> None:
        self._monotonic = monotonic
        self._speed = speed
        # One thing, as a source's threads share a clock.
        self._start = max(round(wall() * 1000), not_before_ms), monotonic()

    def now_ms(self) -> int:
        """The time now."""
        unix_ms, since = self._start
        return unix_ms + round((self._monotonic() - since) * 1000 * self._speed)

    def correct(self, server_ms: int, asked_ms: int | None = None) -> bool:
        """Take a server's word for the time; True when it moved ours.

        asked_ms: our time when it was asked; it spoke between then and now. None: just now.
        """
        now_ms = self.now_ms()
        # After now: another thread has set the clock back since.
        asked_ms = now_ms if asked_ms is None else min(asked_ms, now_ms)
        if asked_ms - TRUSTED_MS <= server_ms <= now_ms + TRUSTED_MS:
            return False
        self._start = server_ms + (now_ms - asked_ms) // 2, self._monotonic()
        return True


class TimeVote:
    """Servers that say what time it is, and the machine, which may be wrong like each of them.

    A word for the time is how far it is ahead of the monotonic clock, in milliseconds, so that it
    stays the same as time goes on. What most agree on is taken; among equals the servers go before
    the machine, whose clock may have no battery, and those named first before the others.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._rank = {name: rank for rank, name in enumerate(names)}
        self._said: dict[str, int] = {}

    def cast(self, name: str, ahead_ms: int) -> None:
        """One of them says what time it is."""
        self._said[name] = ahead_ms

    def winner(self, machine_ms: int) -> int:
        """What is to be taken, given the machine's own word."""
        ranked = sorted(self._said.items(), key=lambda said: self._rank.get(said[0], 0))
        words = [ahead_ms for _, ahead_ms in ranked] + [machine_ms]
        return max(words, key=lambda word: sum(abs(word - other) <= TRUSTED_MS for other in words))
