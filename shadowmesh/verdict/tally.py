"""Whole numbers summed by key: the one container that a ledger consists of. Sums do not care about order."""

from __future__ import annotations

from typing import Final

import numpy as np

from shadowmesh.verdict.facts import Ints

_WAITING: Final = 1 << 17
"""Entries that wait until they are sorted in: sorting often is dear, waiting long takes memory (16 bytes each)."""
_DENSE: Final = 2
"""Where keys reach no further than so many times their number, to count is quicker than to sort."""
_MOST_WAITING: Final = 64
"""Tallies that wait to be merged."""


class Tally:
    """
    Sparse sums by 64-bit key. What sums to 0 is as if it had never been.

    Adding is cheap and sorting is put off: readers and a full waiting room do it.
    """

    __slots__ = ("_keys", "_pending", "_waiting", "_weights")

    def __init__(self, keys: Ints | None = None, weights: Ints | None = None) -> None:
        self._keys: Ints = np.empty(0, np.int64) if keys is None else keys
        self._weights: Ints = np.empty(0, np.int64) if weights is None else weights
        self._pending: list[tuple[Ints, Ints | None]] = []
        self._waiting = 0

    def add(self, keys: Ints, weights: Ints | None = None) -> None:
        """Add ``weights`` (1 each without them) to the sums of ``keys``; both stay the caller's, unchanged."""
        if not len(keys):
            return
        self._pending.append((keys, weights))
        self._waiting += len(keys)
        if self._waiting > max(_WAITING, len(self._keys)):
            self._settle()

    def merge(self, other: Tally) -> None:
        """Add the sums of another: its arrays are shared and not copied, so few of them may wait and take no memory."""
        keys, weights = other.items()
        if len(keys):
            self._pending.append((keys, weights))
        if len(self._pending) > _MOST_WAITING:
            self._settle()

    def rekey(self, change: int, low_bits: int) -> None:
        """Halve every key ``change`` times, without touching its lowest bits."""
        keys, weights = self.items()
        low = keys & ((1 << low_bits) - 1)
        self._keys, self._weights = summed((((keys >> low_bits) >> change) << low_bits) | low, weights)

    def items(self) -> tuple[Ints, Ints]:
        """Return keys, ascending and each once, and their sums, none of them 0."""
        self._settle()
        return self._keys, self._weights

    def loose(self) -> tuple[Ints, Ints]:
        """Return keys in any order and more than once, with what is to be summed: quicker, where that is enough."""
        if any(weights is None for _, weights in self._pending):
            return self.items()
        parts = [(self._keys, self._weights), *self._pending]
        if len(parts) == 1:
            return parts[0][0], self._weights
        keys = np.concatenate([keys for keys, _ in parts])
        return keys, np.concatenate([weights for _, weights in parts if weights is not None])

    def total(self) -> int:
        """Return the sum over all keys."""
        waiting = (len(keys) if weights is None else int(weights.sum()) for keys, weights in self._pending)
        return int(self._weights.sum()) + sum(waiting)

    def dense(self, length: int) -> Ints:
        """Return the sums of the keys from 0 to ``length``, without the end."""
        found = np.zeros(length, np.int64)
        keys, weights = self.items()
        found[keys] = weights
        return found

    def _settle(self) -> None:
        if not self._pending:
            return
        ones = [keys for keys, weights in self._pending if weights is None]
        weighted = [(keys, weights) for keys, weights in self._pending if weights is not None]
        if ones:
            weighted.append(summed(np.concatenate(ones), None))
        weighted.append((self._keys, self._weights))
        keys = np.concatenate([keys for keys, _ in weighted])
        self._keys, self._weights = summed(keys, np.concatenate([weights for _, weights in weighted]))
        self._pending, self._waiting = [], 0


def summed(keys: Ints, weights: Ints | None) -> tuple[Ints, Ints]:
    """Return the distinct keys, ascending, and the sum of the weights (1 each without) of each, without those of 0."""
    if not len(keys):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    if weights is None:
        if keys.min() >= 0 and keys.max() < _DENSE * len(keys):
            counts = np.bincount(keys)
            found = counts.nonzero()[0]
            return found, counts[found]
        ordered = np.sort(keys)
        starts = _starts(ordered)
        return ordered[starts], np.diff(np.append(starts, len(ordered)))
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = _starts(ordered)
    sums = np.add.reduceat(weights[order], starts)
    kept = sums != 0
    return ordered[starts][kept], sums[kept]


def _starts(ordered: Ints) -> Ints:
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
