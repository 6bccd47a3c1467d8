"""Sums of both legs' tokens and costs: whole numbers, so that ledgers merge in any order."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from math import sqrt
from typing import Final

import numpy as np

from shadowmesh.verdict.facts import Floats, Ints

_MOST: Final = 1 << 40
_HALF: Final = 20
_PIECE: Final = 1 << 18
_WORD: Final = 1 << 63


@dataclass(slots=True)
class Moments:
    """
    Of one figure, over the pairs in which both legs' are known. Values are whole numbers of a unit the owner knows.

    Args:
        unknown: pairs with a figure missing on one side or on both.
        squares: the sum of the squares of shadow - live.
    """

    pairs: int = 0
    unknown: int = 0
    live: int = 0
    shadow: int = 0
    squares: int = 0

    def add(self, live: Floats, shadow: Floats, *, scale: float = 1.0) -> None:
        """Add a batch; NaN, negative and infinite figures are unknown, those above 2^40 units are cut there."""
        # NaN of either leg is neither.
        known = (np.minimum(live, shadow) >= 0) & (np.maximum(live, shadow) < np.inf)
        if not known.all():
            self.unknown += len(known) - int(known.sum())
            live, shadow = live[known], shadow[known]
        lives, shadows = _units(live, scale), _units(shadow, scale)
        for start in range(0, len(lives), _PIECE):
            one, other = lives[start : start + _PIECE], shadows[start : start + _PIECE]
            self.pairs += len(one)
            self.live += int(one.sum())
            self.shadow += int(other.sum())
            self.squares += _squares(np.abs(other - one))

    def merge(self, other: Moments) -> None:
        """Add another's."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def numbers(self) -> list[int]:
        """Return all of it, in the order of the arguments."""
        return list(astuple(self))

    @property
    def change(self) -> float | None:
        """The mean of shadow - live, in units; ``None`` without pairs."""
        return (self.shadow - self.live) / self.pairs if self.pairs else None

    @property
    def deviation(self) -> float:
        """The standard deviation of shadow - live, in units; 0 below two pairs."""
        if self.pairs < 2:
            return 0.0
        spread = self.squares - (self.shadow - self.live) ** 2 / self.pairs
        return sqrt(max(0.0, spread / (self.pairs - 1)))


def _units(figures: Floats, scale: float) -> Ints:
    return np.minimum(np.rint(figures * scale), _MOST).astype(np.int64)


def _squares(values: Ints) -> int:
    """Return the exact sum of squares, in halves of 20 bits where it may not fit a machine word."""
    if int(values.max()) ** 2 * len(values) < _WORD:
        return int(values @ values)
    high, low = values >> _HALF, values & ((1 << _HALF) - 1)
    return (int((high * high).sum()) << 2 * _HALF) + (int((high * low).sum()) << (_HALF + 1)) + int((low * low).sum())
