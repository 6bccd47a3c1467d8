"""
Blocks of time: sums by dispatch minute, by which the variance guard sees that errors come in bursts.

There are at most 2 048 blocks of a ledger; where minutes are more, blocks are 2, 4, 8, … minutes long. That depends on
the minutes that hold pairs and on nothing else, so ledgers that merge agree on it.
"""

from __future__ import annotations

from typing import Final, Self

import numpy as np

from shadowmesh.verdict.facts import Ints, Mask
from shadowmesh.verdict.tally import summed

PREFIX: Final = "blocks."
PLACE_BITS: Final = 8
"""Of the keys of latency blocks, the lowest bits are a coarse place, of which there are 117."""
MOST: Final = 2048


def low_bits(name: str) -> int:
    """Return how many bits of a block tally's keys are not the block."""
    return PLACE_BITS if name.startswith((PREFIX + "live.", PREFIX + "shadow.")) else 0


def too_short_by(distinct: Ints) -> int:
    """Return how often blocks have to be doubled until there are few enough. The blocks are ascending."""
    times = 0
    while len(distinct) > MOST:
        distinct = np.unique(distinct >> 1)
        times += 1
    return times


def summed_in_time(keys: Ints, weights: Ints | None) -> tuple[Ints, Ints]:
    """Return distinct keys and their sums, without those of 0; quick where keys lie close together."""
    return Neighbours.of(keys).summed(weights)


class Neighbours:
    """
    Keys of a batch, of which much is summed: how far they reach is found once, and so is how often each is there.

    Args:
        first: below or at every key.
        width: above every offset.
        offsets: of the keys from ``first``.
    """

    __slots__ = ("_counts", "_first", "_offsets", "_width")

    def __init__(self, first: int, width: int, offsets: Ints) -> None:
        self._first = first
        self._width = width
        self._offsets = offsets
        self._counts: tuple[Ints, Ints] | None = None

    @classmethod
    def of(cls, keys: Ints) -> Self:
        """Return these keys."""
        if not len(keys):
            return cls(0, 0, keys)
        first = int(keys.min())
        return cls(first, int(keys.max()) - first + 1, keys - first)

    def where(self, picked: Mask) -> Neighbours:
        """Return those that a mask picks."""
        return self if picked.all() else Neighbours(self._first, self._width, self._offsets[picked])

    def at(self, place: Ints) -> Neighbours:
        """Return the same with a coarse place for each, in their lowest bits."""
        low = self._offsets << PLACE_BITS
        low |= place
        return Neighbours(self._first << PLACE_BITS, self._width << PLACE_BITS, low)

    def summed(self, weights: Ints | None) -> tuple[Ints, Ints]:
        """Return distinct keys, ascending, and the sums of ``weights`` (1 each without), without those of 0."""
        if weights is not None:
            return self._summed(weights)
        if self._counts is None:
            self._counts = self._summed(None)
        return self._counts

    def _summed(self, weights: Ints | None) -> tuple[Ints, Ints]:
        if self._width > 4 * len(self._offsets) + 4096:
            found, sums = summed(self._offsets, weights)
        else:
            # Sums of a batch stay far below 2^53, up to which floats are exact.
            sums = np.bincount(self._offsets, weights).astype(np.int64, copy=False)
            found = sums.nonzero()[0]
            sums = sums[found]
        return found + self._first, sums
