"""What time it is: by the machine, or by the servers when the machine's own clock is off."""

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
        # One tuple, replaced at once, as a source's threads share a clock.
        self._start = max(round(wall() * 1000), not_before_ms), monotonic()

    def now_ms(self) -> int:
        """The time now."""
        unix_ms, since = self._start
        return unix_ms + round((self._monotonic() - since) * 1000 * self._speed)

    def correct(self, server_ms: int, asked_ms: int | None = None) -> bool:
        """Set the clock by a server's time if the two disagree; True when that moved it.

        asked_ms: our time when the server was asked; it read its clock between then and now.
        None: it has just read it.
        """
        now_ms = self.now_ms()
        # After now: another thread has set the clock back since.
        asked_ms = now_ms if asked_ms is None else min(asked_ms, now_ms)
        if asked_ms - TRUSTED_MS <= server_ms <= now_ms + TRUSTED_MS:
            return False
        self._start = server_ms + (now_ms - asked_ms) // 2, self._monotonic()
        return True


class TimeVote:
    """Servers say what time it is, and so does the machine; each of them may be wrong.

    A vote is how far a clock is ahead of the monotonic one, in milliseconds, so that it stays the
    same as time goes on. The time that most agree on wins; of equal ones a server's goes before
    the machine's, whose clock may have no battery, and those named first before the others.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._rank = {name: rank for rank, name in enumerate(names)}
        self._votes: dict[str, int] = {}

    def cast(self, name: str, ahead_ms: int) -> None:
        """A server says what time it is; this replaces what it said before."""
        self._votes[name] = ahead_ms

    def winner(self, machine_ms: int) -> int:
        """The time that wins, given what the machine says."""
        ranked = sorted(self._votes.items(), key=lambda vote: self._rank.get(vote[0], 0))
        votes = [ahead_ms for _, ahead_ms in ranked] + [machine_ms]
        return max(votes, key=lambda vote: sum(abs(vote - other) <= TRUSTED_MS for other in votes))
