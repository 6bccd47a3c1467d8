"""What a simulation found, and whether that is within the limit."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, inf, isfinite

import numpy as np
from sim.draws import Floats

NEVER = inf
_SURE = 0.999


def most_hits(runs: int, chance: float) -> int:
    """
    Return the 99.9 % quantile of a binomial: more hits than this and the chance is not what was promised.

    So a simulation of an error of exactly ``chance`` raises a false alarm in one of a thousand seeds; ours are fixed.
    """
    summed = 0.0
    for hits in range(runs + 1):
        summed += comb(runs, hits) * chance**hits * (1 - chance) ** (runs - hits)
        if summed >= _SURE:
            return hits
    return runs


def fewest_hits(runs: int, chance: float) -> int:
    """Return the 0.1 % quantile: fewer hits than this and the chance is less than was promised."""
    return runs - most_hits(runs, 1 - chance)


@dataclass(frozen=True, slots=True)
class AtMost:
    """Of all runs at most ``share`` may decide so, up to binomial luck (``exact``: no luck granted)."""

    share: float
    exact: bool = False

    def limit(self, runs: int) -> float:
        return self.share if self.exact else most_hits(runs, self.share) / runs

    def met(self, share: float, runs: int) -> bool:
        return share <= self.limit(runs)


@dataclass(frozen=True, slots=True)
class AtLeast:
    """Of all runs at least ``share`` have to decide so by ``pairs``, up to binomial luck."""

    share: float
    pairs: float = inf

    def limit(self, runs: int) -> float:
        return fewest_hits(runs, self.share) / runs

    def met(self, share: float, runs: int) -> bool:
        return share >= self.limit(runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    One row of the table.

    Args:
        share: of the runs that decided as the row says, 0 to 1.
        limit: what ``share`` was held against, luck included; ``at_most`` says from which side.
        straw: it is a straw man: the table is right only if it breaks the limit.
        median, most: pairs until half of the runs had decided, and four fifths; ``None``: fewer did.
    """

    name: str
    about: str
    runs: int
    share: float
    limit: float
    at_most: bool
    within: bool
    straw: bool
    median: float | None
    most: float | None

    @property
    def ok(self) -> bool:
        return self.within != self.straw


def outcome(name: str, about: str, bound: AtMost | AtLeast, *, decided_at: Floats, straw: bool = False) -> Outcome:
    """Judge pairs until the decision, one per run, ``NEVER`` where there was none."""
    runs = len(decided_at)
    by = bound.pairs if isinstance(bound, AtLeast) else inf
    share = float(np.mean((decided_at <= by) & (decided_at < NEVER)))
    return Outcome(
        name=name,
        about=about,
        runs=runs,
        share=share,
        limit=bound.limit(runs),
        at_most=isinstance(bound, AtMost),
        within=bound.met(share, runs),
        straw=straw,
        median=_needed(decided_at, 0.5),
        most=_needed(decided_at, 0.8),
    )


def _needed(decided_at: Floats, share: float) -> float | None:
    found = float(np.quantile(decided_at, share, method="inverted_cdf"))
    return found if isfinite(found) else None
