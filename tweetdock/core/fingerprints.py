"""A compact set of 64-bit fingerprints of names, each with a row number for what belongs to it."""

from array import array
from collections.abc import Iterator
from hashlib import blake2b

_LEAST_SLOTS = 16  # a power of two, as every number of slots


def salted(salt: bytes) -> blake2b:
    """Return what `fingerprint()` starts from; `salt` has up to 16 bytes.

    A secret one keeps strangers from searching for names that share a fingerprint.
    """
    return blake2b(digest_size=8, salt=salt)


def fingerprint(name: str, start: blake2b) -> int:
    """Return 64 bits that stand for `name`: never 0, which is left free for "none".

    Not Python's `hash()`, which has but 32 bits on a 32-bit Raspberry Pi. Two given names share a
    fingerprint once in 2**64; that any two among a million do has a chance of 3e-8.
    """
    digest = start.copy()  # takes half the time of a new one
    # Foreign JSON may hold half a surrogate pair, which plain UTF-8 refuses.
    digest.update(name.encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest(), "little") or 1


class Fingerprints:
    """A set of fingerprints (not 0) in some 17 bytes each, where a Python set takes about 100.

    Each has a row from the day it is added until it is removed, by which the owner finds it in
    columns of its own; rows start at 1, and freed ones are given out first. Inside, it is a hash
    table with open addressing and linear probing, at most two thirds full. Removal shifts the
    followers back, so that no graves slow down the search. It grows by doubling; to shrink, the
    owner, who alone may renumber the rows, moves what is left to a new set.
    """

    __slots__ = ("_count", "_fingerprints", "_free", "_mask", "_most", "_slots")

    def __init__(self, room: int = 0) -> None:
        self._count = 0
        self._fingerprints = array("Q", (0,))  # by row; in a free row: the next free row
        self._free = 0
        self._make_slots(max(_LEAST_SLOTS, 1 << (room * 3 // 2).bit_length()))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> int:
        """Return the fingerprint that owns `row`."""
        return self._fingerprints[row]

    def rows(self) -> Iterator[int]:
        """All rows that are taken, in no order."""
        return filter(None, self._slots)

    def find(self, wanted: int) -> int:
        """Return the row of the fingerprint `wanted`, or 0."""
        slots, fingerprints, mask = self._slots, self._fingerprints, self._mask
        slot = wanted & mask
        while row := slots[slot]:
            if fingerprints[row] == wanted:
                return row
            slot = (slot + 1) & mask
        return 0

    def add(self, new: int) -> int:
        """Add a fingerprint and return its row; if it was there already, its row negated.

        One search for both, as this is where the time of counting goes.
        """
        slots, fingerprints, mask = self._slots, self._fingerprints, self._mask
        slot = new & mask
        while row := slots[slot]:
            if fingerprints[row] == new:
                return -row
            slot = (slot + 1) & mask
        if row := self._free:
            self._free = fingerprints[row]
            fingerprints[row] = new
        else:
            row = len(fingerprints)
            fingerprints.append(new)
        slots[slot] = row
        self._count += 1
        if self._count > self._most:
            self._grow()
        return row

    def remove(self, row: int) -> None:
        """Remove the fingerprint that owns `row`; the row is free for another."""
        slots, fingerprints, mask = self._slots, self._fingerprints, self._mask
        gap = fingerprints[row] & mask
        while slots[gap] != row:
            gap = (gap + 1) & mask
        slot = (gap + 1) & mask
        while follower := slots[slot]:
            # A follower may move into the gap unless that is before the slot it would like best.
            if (slot - fingerprints[follower]) & mask >= (slot - gap) & mask:
                slots[gap] = follower
                gap = slot
            slot = (slot + 1) & mask
        slots[gap] = 0
        fingerprints[row] = self._free
        self._free = row
        self._count -= 1

    def _make_slots(self, count: int) -> None:
        self._slots = array("I", (0,)) * count
        self._mask = count - 1
        self._most = count * 2 // 3

    def _grow(self) -> None:
        self._make_slots(2 * len(self._slots))
        slots, mask = self._slots, self._mask
        # With more in it than ever, no row is free; row 0 marks a slot as empty, as it is.
        for row, known in enumerate(self._fingerprints):
            slot = known & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = row
