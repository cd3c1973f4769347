"""What time it is: one clock for all, set by what the servers and the machine agree on."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from tweetdock.core.post import Batch, Span

# A Date header is cut to the second and some milliseconds old: nearer than this proves nothing.
TRUSTED_MS = 2_500
# A correction by more than this is a step: what was counted by the old time is not to be trusted.
STEP_MS = 30_000
MOST_STEPS = 3  # of one server in a while; with more it has two clocks, or none
WHILE_MS = 600_000
FIRST_YEAR = 2026  # no TweetDock is older, so no clock that is right shows an earlier one


class Clock:
    """Unix milliseconds: the machine's at the start, then what it is set to.

    The monotonic clock carries the time on, so that a step of the machine's clock (a Pi without
    battery finds its time server late) does not move the window. Read by any thread, set by one.

    wall, monotonic: the machine's, in seconds, such as `time.time` and `time.monotonic`.
    speed: how many times as fast as the machine's this clock runs from the start on.
    """

    def __init__(
        self, wall: Callable[[], float], monotonic: Callable[[], float], speed: float = 1.0
    ) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._speed = speed
        # One tuple, replaced at once: a time, when it was, and the least time from then on.
        self._start = round(wall() * 1000), monotonic(), 0

    def now_ms(self) -> int:
        """The time now."""
        unix_ms, since, least_ms = self._start
        return max(least_ms, unix_ms + round((self._monotonic() - since) * 1000 * self._speed))

    def machine_ms(self) -> int:
        """The time now as the machine itself has it."""
        return round(self._wall() * 1000)

    def monotonic_ms(self) -> int:
        """How far the monotonic clock has come."""
        return round(self._monotonic() * 1000)

    def not_before(self, unix_ms: int) -> None:
        """That time is known to have passed."""
        if unix_ms > self.now_ms():
            self._start = unix_ms, self._monotonic(), 0

    def set(self, unix_ms: int) -> bool:
        """Go by that time from now on; whether that was a step.

        What is no step never runs back: the clock stands still until that time has come.
        """
        now_ms = self.now_ms()
        is_step = abs(unix_ms - now_ms) > STEP_MS
        self._start = unix_ms, self._monotonic(), 0 if is_step else now_ms
        return is_step


class TimeVote:
    """Servers say what time it is, and so does the machine; each of them may be wrong.

    A vote is how far a clock is ahead of the monotonic one, in milliseconds, so that it stays the
    same as time goes on. The time that most agree on wins; of equal ones a server's goes before
    the machine's, whose clock may have no battery, and those named first before the others.
    A server whose answers disagree again and again on what time it is has no vote.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._rank = {name: rank for rank, name in enumerate(names)}
        self._votes: dict[str, int] = {}
        self._steps: dict[str, deque[int]] = {}

    def cast(self, name: str, server_ms: int, monotonic_ms: int) -> None:
        """A server says at that monotonic time what time it is; this replaces what it said."""
        ahead_ms = server_ms - monotonic_ms
        steps = self._steps.setdefault(name, deque(maxlen=MOST_STEPS + 1))
        while steps and steps[0] <= monotonic_ms - WHILE_MS:
            steps.popleft()
        if abs(ahead_ms - self._votes.get(name, ahead_ms)) > STEP_MS:
            steps.append(monotonic_ms)
        self._votes[name] = ahead_ms

    def is_reliable(self, name: str) -> bool:
        """Whether a server's answers agree on what time it is."""
        return len(self._steps.get(name, ())) <= MOST_STEPS

    def doubted(self, batch: Batch, now_ms: int) -> Batch:
        """The batch, with what it covers in doubt where its server has no vote."""
        if self.is_reliable(batch.feed):
            return batch
        covers = batch.covers and Span(batch.covers.since_ms, min(batch.covers.until_ms, now_ms))
        return replace(batch, covers=covers, doubt="its answers disagree on what time it is")

    def winner(self, machine_ms: int, monotonic_ms: int) -> int:
        """What time it is by most, given what the machine says, at that monotonic time."""
        known = [(name, ahead) for name, ahead in self._votes.items() if self.is_reliable(name)]
        ranked = sorted(known, key=lambda vote: self._rank.get(vote[0], 0))
        votes = [ahead_ms for _, ahead_ms in ranked] + [machine_ms - monotonic_ms]
        best = max(votes, key=lambda vote: sum(abs(vote - other) <= TRUSTED_MS for other in votes))
        return best + monotonic_ms


def is_off(server_ms: int, now_ms: int) -> bool:
    """Whether a server's time is another one than ours."""
    return abs(server_ms - now_ms) > TRUSTED_MS
