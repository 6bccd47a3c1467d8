"""
Caps the live side checks without a lock.

What runs at once and what is captured are pools of tokens in a ``deque``, whose ``pop`` and ``append`` are atomic:
threads of a synchronous server take tokens, the mirror side gives them back, and neither can ever wait for the other.
The cap on the rate of calls is one number in a ``deque``: whoever has popped it may change it.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import Annotated

from pydantic import Field

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


PerSecond = Annotated[float, Field(strict=True, ge=0.001, le=1_000_000, allow_inf_nan=False)]
"""A rate of calls per second."""

Burst = Annotated[int, Field(strict=True, ge=1, le=100_000)]
"""Calls at once, above the rate."""

_NANOSECONDS = 1_000_000_000


class RateLimit:
    """
    A token bucket: in any stretch of ``t`` seconds at most ``t · per_second + burst`` calls pass.

    It is the generic cell rate algorithm (ITU-T I.371): all that is kept is when the next call would be due if calls
    came evenly, and a call may be early by what the burst allows. That number stands alone in a ``deque``, and who pops
    it decides. A thread that finds it gone while another one decides is refused: a shadow shed without need, in the 200
    nanoseconds that takes, where a lock would have been a live call that waits, and two threads that read the same
    number a limit that is none.
    """

    __slots__ = ("_due", "_early_ns", "_step_ns")

    def __init__(self, per_second: float, burst: int | None = None) -> None:
        """
        Start with a full bucket.

        Args:
            burst: how many calls may pass at once after a pause; by default what passes in a second, at least 1.
        """
        # Rounded to the safe side.
        self._step_ns = ceil(_NANOSECONDS / per_second)
        self._early_ns = ((burst or max(1, ceil(per_second))) - 1) * self._step_ns
        self._due = deque((0,), maxlen=1)

    def take(self, now_ns: int) -> bool:
        """
        Say whether a call may pass now, and count it if so.

        Args:
            now_ns: of a monotonic clock, never negative.
        """
        try:
            due = following = self._due.pop()
        except IndexError:
            return False
        try:
            if due - now_ns > self._early_ns:
                return False
            following = max(due, now_ns) + self._step_ns
            return True
        finally:
            self._due.append(following)
