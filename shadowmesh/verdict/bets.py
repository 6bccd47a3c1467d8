"""
The evidence of :mod:`shadowmesh.evidence` for many counts or many values at once, as arrays.

The same mixture over the same shares: ``log mean_j exp(sum_v n_v log(1 + share_j gain_v / ruin))``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from shadowmesh.evidence import SHARES, Side, log_threshold
from shadowmesh.verdict.facts import Floats, Ints

_SHARES: Final = np.array(SHARES)
# A part in 262 144 of the range: less than a million pairs can tell.
_HALVINGS: Final = 18


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
    gains = side * (values - null_mean)
    ruin = -float(gains.min())
    seen = counts > 0
    # log1p of each bet and each value that was seen.
    # Not by the matrix product: for arrays this small its threads cost more than they save, and wait for busy cores.
    wealth = np.einsum("bv,v->b", np.log1p(np.outer(_SHARES, gains[seen] / ruin)), counts[seen].astype(np.float64))
    return Evidence(float(mixed(wealth)), float(wealth.max()) / total)


def interval(values: Floats, least: Ints, most: Ints, *, alpha: float) -> tuple[float, float]:
    """
    Return the means not rejected at ``alpha / 2`` on either side, valid at every look together (a confidence sequence).

    Args:
        least: counts that give the lower end, where what is missing is counted low; ``most`` those for the upper end.
    """
    threshold = log_threshold(alpha / 2)

    def end(outer: float, inner: float, counts: Ints, side: Side) -> float:
        if evidence(values, counts, outer + side * 1e-9, side=side).log < threshold:
            return outer
        for _ in range(_HALVINGS):
            middle = (outer + inner) / 2
            if evidence(values, counts, middle, side=side).log >= threshold:
                outer = middle
            else:
                inner = middle
        return outer

    low, high = float(values[0]), float(values[-1])
    return end(low, high, least, 1), end(high, low, most, -1)


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


def share_rejected(hits: float, total: float, share: float, side: Side, threshold: float) -> bool:
    """Return whether so many ``hits`` among ``total`` show that their probability is on ``side`` of ``share``."""
    return float(mixed(shares(np.asarray(hits), total, share, side))) >= threshold
