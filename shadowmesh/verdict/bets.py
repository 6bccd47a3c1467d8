"""
The evidence of :mod:`shadowmesh.evidence` for many counts or many values at once, as arrays.

The same mixture over the same shares: ``log mean_j exp(sum_v n_v log(1 + share_j gain_v / ruin))``.
"""

from __future__ import annotations

from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from shadowmesh.evidence import SHARES, Side, log_threshold
from shadowmesh.verdict.facts import Floats, Ints, Mask
from shadowmesh.verdict.search import last_reached

_SHARES: Final = np.array(SHARES)
# A part in 262 144 of the range: less than a million pairs can tell.
_PLACES: Final = 1 << 18


class Evidence(NamedTuple):
    """
    Against one null.

    Args:
        log: the natural logarithm of the evidence.
        growth: by how much it grows with a pair that is as those seen, with the best of the bets; at most 0 where more
            of the same will never show anything.
    """

    log: float
    growth: float


NOTHING: Final = Evidence(0.0, 0.0)


def evidence(values: Floats, counts: Ints, null_mean: float, *, side: Side) -> Evidence:
    """
    Return the evidence of counts of values that the mean is on ``side`` of ``null_mean``.

    Args:
        values: ascending, the ends of what is possible first and last.
        counts: how often each was seen.
    """
    total = int(counts.sum())
    if not total:
        return NOTHING
    seen = counts > 0
    wealth = _wealth(values, values[seen], counts[seen].astype(np.float64), null_mean, side)
    return Evidence(float(mixed(wealth)), float(wealth.max()) / total)


def _wealth(values: Floats, seen: Floats, counts: Floats, null_mean: float, side: Side) -> Floats:
    """Return the wealth of each bet; of ``values`` only the ends matter, which bound the bets."""
    ruin = float(null_mean - values[0] if side == 1 else values[-1] - null_mean)
    # log1p of each bet and each value that was seen.
    # Not by the matrix product: for arrays this small its threads cost more than they save, and wait for busy cores.
    wealth: Floats = np.einsum(
        "bv,v->b", np.log1p(np.multiply.outer(_SHARES, side * (seen - null_mean) / ruin)), counts
    )
    return wealth


def interval(values: Floats, least: Ints, most: Ints, *, alpha: float) -> tuple[float, float]:
    """
    Return the means not rejected at ``alpha / 2`` on either side, valid at every look together (a confidence sequence).

    Args:
        least: counts that give the lower end, where what is missing is counted low; ``most`` those for the upper end.
    """
    return _end(values, least, 1, alpha / 2), _end(values, most, -1, alpha / 2)


def _end(values: Floats, counts: Ints, side: Side, alpha: float) -> float:
    """Return the last mean that is rejected on the way in from an end; the end if it is not."""
    threshold, total = log_threshold(alpha), float(counts.sum())
    outer, inner = (float(values[0]), float(values[-1]))[::side]
    picked = counts > 0
    seen, counted = values[picked], counts[picked].astype(np.float64)

    def shown(null_mean: float) -> float:
        return float(mixed(_wealth(values, seen, counted, null_mean, side)))

    if not total or shown(outer + side * 1e-9) < threshold:
        return outer
    mean = float(seen @ counted) / total
    # As if the sum were normal, and of no less variance than a single pair can make.
    spread = max(float(((seen - mean) ** 2) @ counted) / total, (inner - outer) ** 2 / total)
    step = abs(inner - outer) / _PLACES
    place = last_reached(
        lambda place: shown(outer + (inner - outer) * (place / _PLACES)),
        threshold,
        _PLACES,
        guess=int((abs(mean - outer) - sqrt(2 * threshold * spread / total)) / step),
        fall=step * sqrt(total / (2 * spread)),
    )
    return outer + (inner - outer) * (place / _PLACES)


def balances(ups: ArrayLike, downs: ArrayLike) -> Floats:
    """
    Return the wealths, a row of bets each, of pairs of counts: how often +1 and -1 were seen, against a mean of 0.

    The evidence that the mean is below 0 is that of the counts exchanged.
    """
    up, down = np.asarray(ups, np.float64), np.asarray(downs, np.float64)
    wealths: Floats = np.multiply.outer(up, np.log1p(_SHARES)) + np.multiply.outer(down, np.log1p(-_SHARES))
    return wealths


def mixed(wealths: Floats) -> Floats:
    """Return the log of the mean over bets, which are the last axis."""
    most = wealths.max(axis=-1)
    mixture: Floats = most + np.log(np.exp(wealths - most[..., None]).sum(axis=-1) / len(_SHARES))
    return mixture


def shares(hits: Floats, total: float, share: float, side: Side) -> Floats:
    """Return the wealths, a row of bets each, of ``hits`` among ``total`` against a probability of ``share``."""
    ruin = share if side == 1 else 1.0 - share
    hit, miss = np.log1p(_SHARES * (side * (1.0 - share) / ruin)), np.log1p(_SHARES * (-side * share / ruin))
    wealths: Floats = np.multiply.outer(hits, hit) + np.multiply.outer(total - hits, miss)
    return wealths


def share_rejected(hits: Floats, total: float, share: float, side: Side, threshold: float) -> Mask:
    """Return whether so many ``hits`` among ``total`` show that their probability is on ``side`` of ``share``."""
    rejected: Mask = mixed(shares(hits, total, share, side)) >= threshold
    return rejected
