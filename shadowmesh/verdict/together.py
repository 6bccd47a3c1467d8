"""What pairs have in common, by which the variance guard sees that they are not independent: a time, a session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from shadowmesh.verdict.blocks import PREFIX as BLOCKS
from shadowmesh.verdict.blocks import Neighbours
from shadowmesh.verdict.facts import Ints, Mask

SESSIONS: Final = "sessions."
"""How the tallies begin that sum by bucket of sessions."""


@dataclass(frozen=True, slots=True)
class Together:
    """Of each pair the block of time and, where any is known, the bucket of its session."""

    block: Neighbours
    session: Neighbours | None

    def where(self, picked: Mask) -> Together:
        """Return those of the pairs that a mask picks."""
        return Together(self.block.where(picked), None if self.session is None else self.session.where(picked))

    def at(self, place: Ints) -> Together:
        """Return the same with a coarse place for each."""
        return Together(self.block.at(place), None if self.session is None else self.session.at(place))

    def summed(self, weights: Ints | None) -> Iterator[tuple[str, Ints, Ints]]:
        """
        Return how the tallies begin, and keys and sums: by block, and where any session is known, by bucket.

        Args:
            weights: what is summed; 1 each without.
        """
        yield BLOCKS, *self.block.summed(weights)
        if self.session is not None:
            keys, sums = self.session.summed(weights)
            # What is of no known session lies below 0, with a place or without.
            known = int(np.searchsorted(keys, 0))
            yield SESSIONS, keys[known:], sums[known:]
