"""How many calls a backend had in flight, on average, while one of them ran (pure)."""

from __future__ import annotations

from typing import NamedTuple


class Mark(NamedTuple):
    """Where a call came in."""

    at_ns: int
    area: int


class Occupancy:
    """Integrates the number of calls in flight over time; every answer is exact and costs O(1)."""

    def __init__(self) -> None:
        self._inside = 0
        self._area = 0
        self._last_ns = 0

    def enter(self, now_ns: int) -> Mark:
        """Count one call more from ``now_ns`` on."""
        self._advance(now_ns)
        self._inside += 1
        return Mark(now_ns, self._area)

    def leave(self, now_ns: int, mark: Mark) -> float:
        """Count one call less; return the mean number in flight since ``mark``, this call included."""
        self._advance(now_ns)
        elapsed = now_ns - mark.at_ns
        mean = (self._area - mark.area) / elapsed if elapsed > 0 else float(self._inside)
        self._inside -= 1
        return max(mean, 1.0)

    def _advance(self, now_ns: int) -> None:
        if now_ns > self._last_ns:
            self._area += self._inside * (now_ns - self._last_ns)
            self._last_ns = now_ns
