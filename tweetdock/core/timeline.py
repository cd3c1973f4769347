"""Rows of a table in the order of time, from which the due ones are taken."""

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator

_ROW_BITS = 32
_ROW = (1 << _ROW_BITS) - 1


class Timeline:
    """A queue of rows by time, exact to the millisecond, for four bytes a row.

    Time is cut into steps. The rows of one step hang together in a chain, in no order; only the
    step that the present cuts through is opened and sorted. So what is done now and then costs
    what it moves, however far that is: no step without rows is ever looked at.

    `times` and `chain` are columns of the owner's, by row, starting at row 1: a row's time, and a
    place for the row's link, which belongs to the one timeline that the row is in. A row's time
    may be raised while it waits: it is then put off. It may not be lowered.
    """

    __slots__ = ("_chain", "_first", "_sorted", "_step_bits", "_steps", "_times")

    def __init__(self, times: "array[int]", chain: "array[int]", step_bits: int) -> None:
        self._times = times
        self._chain = chain
        self._step_bits = step_bits  # a step has 2**step_bits milliseconds
        self._first: dict[int, int] = {}  # a step's first row
        self._steps: list[int] = []  # a heap of the keys of _first
        # The rows of the step cut through, each with its time in the bits above; the soonest last.
        self._sorted: list[int] = []

    def put(self, row: int, at_ms: int) -> None:
        """Let `row` wait for its time, which is `at_ms`."""
        step = at_ms >> self._step_bits
        first = self._first
        try:
            self._chain[row] = first[step]
        except KeyError:
            self._chain[row] = 0
            heappush(self._steps, step)
        first[step] = row

    def take_until(self, now_ms: int) -> "Iterator[int]":
        """Take out, soonest first, the rows whose time is not after `now_ms`."""
        last_due = now_ms << _ROW_BITS | _ROW
        step = now_ms >> self._step_bits
        while True:
            while self._sorted and self._sorted[-1] <= last_due:
                row = self._sorted.pop() & _ROW
                at_ms = self._times[row]
                if at_ms > now_ms:
                    self.put(row, at_ms)
                else:
                    yield row
            if not self._steps or self._steps[0] > step:
                return
            self._open(heappop(self._steps))

    def take_after(self, now_ms: int) -> "Iterator[int]":
        """Take out, in no order, the rows whose time is after `now_ms`, to the last of them."""
        self.close()
        step = now_ms >> self._step_bits
        chains = [self._first.pop(late) for late in [s for s in self._first if s >= step]]
        self._steps = sorted(self._first)  # a sorted list is a heap
        for first in chains:
            row = first
            while row:
                following = self._chain[row]
                at_ms = self._times[row]
                if at_ms > now_ms:
                    yield row
                else:
                    self.put(row, at_ms)
                row = following

    def close(self) -> None:
        """Put the opened step together again, lest going back sorts it time and again."""
        opened, self._sorted = self._sorted, []
        for entry in opened:
            self.put(entry & _ROW, entry >> _ROW_BITS)

    def _open(self, step: int) -> None:
        times, chain = self._times, self._chain
        row = self._first.pop(step)
        while row:
            self._sorted.append(times[row] << _ROW_BITS | row)
            row = chain[row]
        # Few come late to a step already opened, and what is nearly sorted is soon sorted.
        self._sorted.sort(reverse=True)
