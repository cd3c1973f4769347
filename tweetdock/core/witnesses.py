"""What time it is, by several who do not agree."""

from collections.abc import Sequence

from tweetdock.core.clock import TRUSTED_MS


class Witnesses:
    """Servers that say what time it is, and the machine, which may be wrong like each of them.

    A word for the time is how far it is ahead of the monotonic clock, in milliseconds, so that it
    stays the same as time goes on. What most agree on is taken; among equals the servers go before
    the machine, whose clock may have no battery, and those named first before the others.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._rank = {name: rank for rank, name in enumerate(names)}
        self._said: dict[str, int] = {}

    def say(self, name: str, ahead_ms: int) -> None:
        """One of them says what time it is."""
        self._said[name] = ahead_ms

    def agree_on(self, machine_ms: int) -> int:
        """What is to be taken, given the machine's own word."""
        ranked = sorted(self._said.items(), key=lambda said: self._rank.get(said[0], 0))
        words = [ahead_ms for _, ahead_ms in ranked] + [machine_ms]
        return max(words, key=lambda word: sum(abs(word - other) <= TRUSTED_MS for other in words))
