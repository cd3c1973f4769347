"""What time it is: one clock for all, set by what the servers and the machine agree on."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from tweetdock.core.post import Batch, network_of, source_of
from tweetdock.core.times import DAY_MS, duration

# A Date header is cut to the second and some milliseconds old: nearer than this proves nothing.
TRUSTED_MS = 2_500
FUTURE_MS = 60_000  # no clock of a network's is further ahead of what its answers say, or of ours
# A correction by more than this is a step: what was counted by the old time is not to be trusted.
STEP_MS = 30_000
MOST_STEPS = 3  # of one server in a while; with more it has two clocks, or none
WHILE_MS = 600_000
OTHERS_MS = 10_000  # for so long one server alone waits for the others' word
FIRST_YEAR = 2026  # no TweetDock is older, so no clock that is right shows an earlier one
FIRST_MS = 1_767_225_600_000  # its beginning


class Clock:
    """Unix milliseconds: the machine's at the start, then what it is set to.

    The monotonic clock carries the time on, so that a step of the machine's clock (a Pi without
    battery finds its time server late) does not move the window. Read by any thread, set by one.

    wall, monotonic: the machine's, in seconds; the latter should go on while it sleeps.
    speed: how many times as fast as the machine's this clock runs from the start on.
    is_synchronised: whether a time server has set the machine's.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        speed: float = 1.0,
        is_synchronised: Callable[[], bool] = lambda: False,
    ) -> None:
        self._wall, self._monotonic = wall, monotonic
        self.is_synchronised = is_synchronised
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

    Feeds of the same server have one vote. The time that most agree on wins; of equal ones a
    server's goes before the machine's, whose clock may have no battery, and those named
    first before the others. Nobody is believed alone who is more than a day off from the machine,
    unless that never was set, nor at once while others have still to speak. A server whose answers
    disagree again and again on what time it is has no vote.

    A vote is how far a clock is ahead of the monotonic one, in milliseconds, so that it stays the
    same as time goes on.
    """

    def __init__(self, feeds: Iterable[str]) -> None:
        self._rank = {name: rank for rank, name in enumerate(dict.fromkeys(map(_server, feeds)))}
        self._votes: dict[str, int] = {}
        self._steps: dict[str, deque[int]] = {}
        self._first_ms: int | None = None  # when the first vote was cast

    def cast(self, feed: str, server_ms: int, monotonic_ms: int) -> None:
        """A feed's server says at that monotonic time what time it is, instead of what it said."""
        name, ahead_ms = _server(feed), server_ms - monotonic_ms
        self._first_ms = monotonic_ms if self._first_ms is None else self._first_ms
        steps = self._steps.setdefault(name, deque(maxlen=MOST_STEPS + 1))
        while steps and steps[0] <= monotonic_ms - WHILE_MS:
            steps.popleft()
        if abs(ahead_ms - self._votes.get(name, ahead_ms)) > STEP_MS:
            steps.append(monotonic_ms)
        self._votes[name] = ahead_ms

    def is_reliable(self, feed: str) -> bool:
        """Whether the answers of a feed's server agree on what time it is."""
        return len(self._steps.get(_server(feed), ())) <= MOST_STEPS

    def doubted(self, batch: Batch, now_ms: int, monotonic_ms: int) -> Batch:
        """The batch, in doubt where its server has another time, or several."""
        ours = now_ms - monotonic_ms
        off_ms = self._votes.get(_server(batch.feed), ours) - ours
        if not self.is_reliable(batch.feed):
            doubt = "its answers disagree on what time it is"
        elif abs(off_ms) > STEP_MS:
            way = "ahead" if off_ms > 0 else "behind"
            doubt = f"its clock is {way} by {duration(abs(off_ms) / 1000)}"
        else:
            return batch
        return replace(batch, doubt=doubt)

    def winner(self, machine_ms: int, monotonic_ms: int) -> int | None:
        """What time it is by most, at that monotonic time; None if nobody has confirmed any.

        machine_ms: what the machine says.
        """
        machine = machine_ms - monotonic_ms
        known = [(name, ahead) for name, ahead in self._votes.items() if self.is_reliable(name)]
        ranked = sorted(known, key=lambda vote: self._rank.get(vote[0], 0))
        said = [ahead_ms for _, ahead_ms in ranked]
        waited_ms = monotonic_ms - (self._first_ms or 0)
        may_be_alone = waited_ms >= OTHERS_MS or self._rank.keys() <= self._votes.keys()
        believed = [
            ahead_ms
            for ahead_ms in said
            if _support(ahead_ms, [*said, machine]) > 1
            or (may_be_alone and (machine_ms < FIRST_MS or abs(ahead_ms - machine) <= DAY_MS))
        ]
        if not believed:
            return None
        votes = [*believed, machine]
        return max(votes, key=lambda vote: _support(vote, votes)) + monotonic_ms


def _server(feed: str) -> str:
    source = source_of(feed)
    return network_of(source) + feed.removeprefix(source)


def _support(vote: int, votes: Sequence[int]) -> int:
    return sum(abs(vote - other) <= TRUSTED_MS for other in votes)


def is_off(server_ms: int, now_ms: int) -> bool:
    """Whether a server's time is another one than ours."""
    return abs(server_ms - now_ms) > TRUSTED_MS
