"""What pairs have in common, by which the variance guard sees that they are not independent: a time, a session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shadowmesh.verdict.blocks import PLACE_BITS
from shadowmesh.verdict.blocks import PREFIX as BLOCKS
from shadowmesh.verdict.facts import NO_SESSION, Ints, Mask

SESSIONS: Final = "sessions."
PREFIXES: Final = (BLOCKS, SESSIONS)
"""How the tallies begin that sum by block of time and by bucket of sessions."""


@dataclass(frozen=True, slots=True)
class Together:
    """
    Of each pair the block of time and, where any is known, the bucket of its session.

    Args:
        place: what is to be told apart in either.
    """

    block: Ints
    session: Ints | None
    place: Ints | None = None

    def where(self, picked: Mask) -> Together:
        """Return those of the pairs that a mask picks."""
        return Together(self.block[picked], None if self.session is None else self.session[picked])

    def at(self, place: Ints) -> Together:
        """Return the same with a coarse place for each."""
        return Together(self.block, self.session, place)

    def parts(self, weights: Ints | None) -> Iterator[tuple[Ints, Ints | None]]:
        """
        Return keys and weights by block, and where any session is known, by bucket.

        Args:
            weights: what is summed; 1 each without.
        """
        yield self._keys(self.block), weights
        if self.session is not None:
            known = self.session != NO_SESSION
            yield self._keys(self.session)[known], None if weights is None else weights[known]

    def _keys(self, common: Ints) -> Ints:
        return common if self.place is None else common << PLACE_BITS | self.place
