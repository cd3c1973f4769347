"""When which post of a recording is played."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tweetdock.core.post import Post, Span
from tweetdock.sources.tape import Tape

LEAST_REST_MS, ONLY_REST_MS = 1_000, 60_000


class Program:
    """When which post of a closed tape is played: the first at `start_ms`, all at their distance.

    Stateless: any stretch of time can be asked for again. Times in Unix milliseconds.
    """

    def __init__(self, tape: Tape, start_ms: int, *, loops: bool) -> None:
        self._tape = tape
        self._start_ms = start_ms
        self._loops = loops
        self._first_ms, self._last_ms = tape.times[0], tape.times[-1]
        self._round_ms = self._last_ms - self._first_ms + _rest_ms(tape.times)

    def posts_in(self, span: Span) -> Iterator[Post]:
        """The posts of a stretch of time, soonest first."""
        if span.until_ms < self._start_ms:
            return
        (first_turn, _), (last_turn, _) = map(self._place, span)
        for turn in range(first_turn, last_turn + 1):
            by_ms = self._start_ms + turn * self._round_ms - self._first_ms
            first = bisect_right(self._tape.times, span.since_ms - by_ms)
            for number in range(first, bisect_right(self._tape.times, span.until_ms - by_ms)):
                post = self._tape[number]
                key = f"{post.key} (round {turn + 1})" if turn else post.key
                yield Post(key, post.author, post.created_ms + by_ms)

    def next_after(self, now_ms: int) -> int | None:
        """When the next post is due; None after the last."""
        turn, file_ms = self._place(now_ms)
        number = bisect_right(self._tape.times, file_ms)
        begin_ms = self._start_ms + turn * self._round_ms
        if number < len(self._tape):
            return begin_ms + self._tape.times[number] - self._first_ms
        return begin_ms + self._round_ms if self._loops else None

    def file_ms(self, now_ms: int) -> int | None:
        """Which moment of the recording is being played; None after the last post."""
        _, file_ms = self._place(now_ms)
        if file_ms >= self._last_ms and not self._loops:
            return None
        return min(max(file_ms, self._first_ms), self._last_ms)

    def _place(self, now_ms: int) -> tuple[int, int]:
        """The round, from 0, and the moment of the file in it."""
        played_ms = now_ms - self._start_ms
        turn = max(0, played_ms // self._round_ms) if self._loops else 0
        return turn, self._first_ms + played_ms - turn * self._round_ms


def _rest_ms(times: Sequence[int]) -> int:
    """How long to rest before a recording begins anew: as its posts usually do."""
    gaps = sorted(later - sooner for sooner, later in pairwise(times))
    return max(LEAST_REST_MS, gaps[len(gaps) // 2]) if gaps else ONLY_REST_MS
