"""
Whether a few sampling keys make up most of the calls.

Sticky sampling draws keys, not calls: with one key behind a third of the calls, a rate of 1 % mirrors a third of them
or none. Nobody notices that by the rate alone, hence this figure.

The live side appends a hash to a bounded queue, one atomic step. Whoever reads the figure folds the queue into a
summary of heavy hitters: Misra and Gries 1982, merged as in Agarwal et al., Mergeable Summaries, 2012. Its counts are
too low by at most one in ``_KEPT + 1`` of all calls. Old calls fade: counts are halved as they pass ``_MEMORY`` calls.
No key is kept, only hashes of them.
"""

from __future__ import annotations

from collections import Counter, deque
from contextlib import suppress
from heapq import nlargest
from typing import NamedTuple

# Hashes that may wait to be folded; of more than that between two folds, the newest count.
_WAITING = 2048
_KEPT = 255
_MEMORY = 65_536
# With fewer calls a large share is chance.
_ENOUGH = 500


class KeyFigures(NamedTuple):
    """
    How the sampling keys of one experiment come: the share of calls, 0 to 1, that the most frequent one makes up,
    ``None`` of too few calls; and how many calls had none.
    """

    top_share: float | None
    missing: int


class Skew:
    """The share of the most frequent keys. ``note`` may be called by any thread, the rest by one that folds."""

    __slots__ = ("_calls", "_counts", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[int] = deque(maxlen=_WAITING)
        self._counts: dict[int, float] = {}
        self._calls = 0.0

    def note(self, key: int) -> None:
        """Take in one call by the hash of its key."""
        self._waiting.append(key)

    def fold(self) -> None:
        """Take what waits into the summary; before the figure is read, every few seconds."""
        taken: list[int] = []
        with suppress(IndexError):
            # A bound: the live side may append as quickly as this takes.
            for _ in range(_WAITING):
                taken.append(self._waiting.popleft())  # noqa: PERF401  # what was taken must survive the end
        if not taken:
            return
        counts: Counter[int] = Counter()
        counts.update(taken)
        merged = self._counts
        for key, count in counts.items():
            merged[key] = merged.get(key, 0.0) + count
        self._calls += len(taken)
        if len(merged) > _KEPT:
            cut = nlargest(_KEPT + 1, merged.values())[-1]
            merged = {key: count - cut for key, count in merged.items() if count > cut}
        if self._calls > _MEMORY:
            self._calls /= 2
            merged = {key: count / 2 for key, count in merged.items()}
        self._counts = merged

    def share(self, keys: int = 1) -> float | None:
        """Return the share of calls, 0 to 1, that the most frequent ``keys`` make up; ``None`` of too few calls."""
        if self._calls < _ENOUGH:
            return None
        return sum(nlargest(keys, self._counts.values())) / self._calls
