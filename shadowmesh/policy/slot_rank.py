"""
How well the off-slot of a block did among its slots, as a number whose mean is known where mirroring does nothing.

The off-slot is drawn uniformly and independently of the traffic. If mirroring does nothing, each slot would have come
out the same whichever was drawn, so the off-slot's rank is uniform: by the draw alone, whatever the calls of a slot
share, however loads swing and latencies drift. That is a randomisation test per block, and nothing about the traffic is
assumed. The rank is turned into Savage's score (the mean of the ``rank``-th largest of ``n`` exponential variables,
``1/rank + … + 1/n``), whose mean over the ranks is 1 for every ``n`` and which weighs the best ranks most, where harm
puts the off-slot. Hájek, Šidák and Sen, Theory of Rank Tests, 1999.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, log, log1p

_STEPS = 32


def score_values(size: int) -> tuple[float, ...]:
    """Return every score, in steps of 1/32, that a block of ``size`` slots can have."""
    best = sum(1 / rank for rank in range(1, size + 1))
    return tuple(step / _STEPS for step in range(ceil(best * _STEPS) + 1))


def score_place(shares: Sequence[float], off_share: float, draw: Callable[[], float]) -> int:
    """
    Return the place in ``score_values`` of an off-slot's score.

    Two things keep the mean at exactly 1: slots that tie share the mean of their ranks' scores, and a score between two
    steps is rounded to either by chance (rounding down would cost a nat of evidence in a hundred blocks).

    Args:
        shares: of every slot of the block that has one, the off-slot's included; smaller is better.
        draw: a uniform number in [0, 1).
    """
    better = sum(share < off_share for share in shares)
    ties = shares.count(off_share)
    size = len(shares)
    tail = sum(1 / rank for rank in range(better + ties + 1, size + 1))
    # Every tied rank's score holds the tail; 1/rank stands in the scores from the best tied rank to that rank.
    total = ties * tail + sum((rank - better) / rank for rank in range(better + 1, better + ties + 1))
    return int(total / ties * _STEPS + draw())


def chance_count(trials: int, probability: float, draw: Callable[[], float]) -> int:
    """
    Draw from a binomial distribution, at a cost of ``trials · probability`` draws (Devroye 1986, X.4.3).

    Args:
        draw: a uniform number in [0, 1).
    """
    if probability <= 0.0:
        return 0
    scale = log1p(-probability)
    hits, place = 0, _gap(draw, scale)
    while place <= trials:
        hits += 1
        place += _gap(draw, scale)
    return hits


def _gap(draw: Callable[[], float], scale: float) -> int:
    """Return the trials up to and with the next hit."""
    return int(log(1.0 - draw()) / scale) + 1
