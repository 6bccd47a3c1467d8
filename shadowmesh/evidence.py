"""
How much counts say about a mean, valid at every look.

An observation ``X`` takes one of finitely many values, and a ledger counts how often each was seen. The evidence
against "the mean is at most ``null_mean``" (or at least) is the wealth of a gambler who bets constant shares against
it: a mixture over 24 shares, as a function of the counts alone. Every factor has a conditional mean of at most 1 where
the null holds, so the wealth is a nonnegative supermartingale that starts at 1, and the chance that it *ever* reaches
``1 / alpha`` is at most ``alpha`` (Ville's inequality). One may look after every observation and stop when one likes;
nothing needs to be normal, identically distributed or independent, as long as ``E[X | past]`` is on the null's side.
Because the bets never change, the order does not matter and ledgers merge by addition.

Sources: Waudby-Smith and Ramdas, arXiv:2010.09686 (betting); Orabona and Jun, arXiv:2110.14099 (mixtures of bets). All
logarithms are natural.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, inf, log, log1p
from typing import Literal

Side = Literal[1, -1]
"""``1`` gathers evidence that the mean is above the null's, ``-1`` that it is below."""

_BETS = 24
_SMALLEST, _LARGEST = 0.004, 0.95
SHARES = tuple(_SMALLEST * (_LARGEST / _SMALLEST) ** (place / (_BETS - 1)) for place in range(_BETS))
"""Shares of the largest bet that cannot ruin; a geometric grid, so that weak and strong effects find one that suits."""
# A billionth of the range: far below what any count can tell.
_HALVINGS = 30


class MeanEvidence:
    """
    The evidence against one null about the mean of ``values``.

    Making it costs ``24 · len(values)`` logarithms; asking it costs a multiplication per bet and value seen.

    Args:
        values: what an observation can be; the place of a value here is the place of its count later.
        null_mean: the boundary of the null, within the range of ``values`` and in their unit.
        side: where the truth is suspected; the null is the other side, its boundary included.

    Raises:
        ValueError: there are no values, or ``null_mean`` is outside their range.
    """

    __slots__ = ("_rows",)

    def __init__(self, values: Sequence[float], null_mean: float, *, side: Side) -> None:
        if not values or not min(values) <= null_mean <= max(values):
            raise ValueError(f"a mean of {null_mean} is not possible for these values")
        gains = [side * (value - null_mean) for value in values]
        ruin = -min(gains)
        self._rows = tuple(tuple(_log_factor(share, gain, ruin) for gain in gains) for share in SHARES)

    def log_evidence(self, counts: Sequence[int]) -> float:
        """
        Return the logarithm of the evidence; reject when it is at least ``log_threshold(alpha)``, at any time.

        Args:
            counts: how often each value was seen, in the order of ``values``.

        Returns:
            0 for no observations; infinity when something was seen that the null rules out.

        Raises:
            ValueError: there are more or fewer counts than values.
        """
        wealths = [
            sum(count * factor for count, factor in zip(counts, row, strict=True) if count) for row in self._rows
        ]
        most = max(wealths)
        if most == inf:
            return inf
        return most + log(sum(exp(wealth - most) for wealth in wealths) / _BETS)


def _log_factor(share: float, gain: float, ruin: float) -> float:
    """Return ``log(1 + share · gain / ruin)``; where nothing can be lost (``ruin`` is 0), any gain refutes the null."""
    if ruin > 0:
        return log1p(share * (gain / ruin))
    return inf if gain > 0 else 0.0


def log_threshold(alpha: float) -> float:
    """
    Return the log evidence at which a null is rejected with an error of at most ``alpha`` over all looks together.

    Raises:
        ValueError: ``alpha`` is not strictly between 0 and 1.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is {alpha}, not between 0 and 1")
    return -log(alpha)


def mean_interval(values: Sequence[float], counts: Sequence[int], *, alpha: float) -> tuple[float, float]:
    """
    Return the means that are not rejected at ``alpha / 2`` on either side.

    It holds the true mean at every look together with probability ``1 - alpha`` (a confidence sequence). The
    evidence falls monotonically as the null moves towards the truth, so each end is found by bisection; it is off by at
    most a billionth of the range, outwards. Without observations it is the whole range.

    Raises:
        ValueError: no values, lengths that differ, or ``alpha`` outside (0, 1).
    """
    threshold = log_threshold(alpha / 2)
    low, high = min(values), max(values)
    seen = [(value, count) for value, count in zip(values, counts, strict=True) if count]
    # Values never seen cost nothing, but the ends of the range bound the bets.
    support = [low, high, *(value for value, _ in seen)]
    tally = [0, 0, *(count for _, count in seen)]

    def rejected(side: Side) -> Callable[[float], bool]:
        return lambda mean: MeanEvidence(support, mean, side=side).log_evidence(tally) >= threshold

    return _bisect(low, high, rejected(1)), _bisect(high, low, rejected(-1))


def _bisect(outer: float, inner: float, rejected: Callable[[float], bool]) -> float:
    """Return the last rejected mean on the way from ``outer`` to ``inner``, or ``outer`` if it is not rejected."""
    if not rejected(outer):
        return outer
    for _ in range(_HALVINGS):
        middle = (outer + inner) / 2
        if rejected(middle):
            outer = middle
        else:
            inner = middle
    return outer
