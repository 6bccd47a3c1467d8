"""
Finished calls on their way to the recorder, a few at a time.

Recording is the longest piece of work an engine does, and done for one call between two others it runs out of cold
caches: in batches it takes about half. The batches are small, because in the carrier ``loop`` the live server waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

_BATCH = 8
_SECONDS = 0.01

Item = TypeVar("Item")


class Gathering(Generic[Item]):
    """Hands items on in batches, or after a moment; in the loop it is used in."""

    def __init__(self, take: Callable[[Item], None]) -> None:
        self._take = take
        self._items: list[Item] = []
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._items)

    def add(self, item: Item) -> None:
        """Take an item, and hand all on that there are when these are enough."""
        self._items.append(item)
        if len(self._items) >= _BATCH:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SECONDS, self.flush)

    def flush(self) -> None:
        """Hand on what there is; also where there is no loop any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        items, self._items = self._items, []
        for item in items:
            self._take(item)
