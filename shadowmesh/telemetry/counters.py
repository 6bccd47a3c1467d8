"""
Counters that many threads write and nobody locks.

Every thread adds to cells of its own; a reader sums the cells. An increment is then one dictionary store of one
thread, so a live thread can never wait for another one or for the reader.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Tally(Generic[Key]):
    """Monotonic counts by key."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._cells: list[dict[Key, int]] = []

    def add(self, key: Key, count: int = 1) -> None:
        """Count ``key``."""
        try:
            cells: dict[Key, int] = self._local.cells
        except AttributeError:
            cells = self._local.cells = {}
            self._cells.append(cells)
        cells[key] = cells.get(key, 0) + count

    def totals(self) -> dict[Key, int]:
        """Return the sums over all threads; what is being added right now may be in or not."""
        totals: Counter[Key] = Counter()
        for cells in tuple(self._cells):
            # Copied in one step: the thread that owns it may add a key meanwhile.
            totals.update(cells.copy())
        return dict(totals)
