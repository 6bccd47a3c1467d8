"""
Caps the live side checks without a lock.

Both are pools of tokens in a ``deque``, whose ``pop`` and ``append`` are atomic: threads of a synchronous server
take tokens, the mirror side gives them back, and neither can ever wait for the other.
"""

from __future__ import annotations

from collections import deque

PAGE_BYTES = 16 * 1024
"""Granularity of the byte credit: an exchange holds whole pages for what it captured."""


class Tokens:
    """A fixed number of tokens."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._free = deque((None,) * capacity, maxlen=capacity)

    def take(self, count: int = 1) -> bool:
        """Take ``count`` tokens, all or none, and say whether there were enough."""
        taken = 0
        try:
            while taken < count:
                self._free.pop()
                taken += 1
        except IndexError:
            self.give(taken)
            return False
        return True

    def give(self, count: int = 1) -> None:
        """Give tokens back; never more than the capacity."""
        self._free.extend((None,) * count)

    @property
    def taken(self) -> int:
        """How many are in use now."""
        return self._capacity - len(self._free)


def pages(size: int) -> int:
    """Return how many pages of credit ``size`` bytes hold; an empty message holds one too."""
    return max(1, -(-size // PAGE_BYTES))
