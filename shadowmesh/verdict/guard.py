"""
The variance guard: evidence is worth less where pairs come in bursts.

The evidence protects "never worse at any time". Alternating outages are not that, and failures do come in outages: with
equal error rates of 1 per cent and outages of 20 requests it says FAIL 67 % of the time instead of 5 %. So the log
evidence is divided by how many times more the sums of blocks (dispatch minutes) vary than those of independent pairs
would, and there have to be enough blocks. This is a heuristic and no theorem; its form and constants come from
simulation (``tests/sim``): at equal rates, outages of a second to a minute leave 4 to 9 % of false FAILs at alpha 5 %.
No factor helps as long as no outage was seen: to certify their absence takes many minutes. The factor is the design
effect of cluster sampling; see Miller, arXiv:2411.00640, on why it matters. ``sessions`` asks the same by session.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

import numpy as np

from shadowmesh.verdict import bins
from shadowmesh.verdict.blocks import PLACE_BITS, PREFIX, summed_in_time
from shadowmesh.verdict.cells import View
from shadowmesh.verdict.facts import Floats, Ints
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.tally import Tally

_LEAST_BLOCKS: Final = 10
"""Of a coarser scale: with fewer, how much they vary is not known."""
SIGNIFICANT: Final = 2.33
"""
By luck alone a factor of independent blocks is ``1 ± sqrt(2 / (blocks - 1))``; that of a coarse scale counts from so
many times the deviation on, which one in a hundred reaches.
"""


def guarded(log_evidence: float, factor: float) -> float:
    """Return the log evidence that is left at a variance factor."""
    return log_evidence / factor if log_evidence > 0 else log_evidence


def variance_factor(sizes: Floats, sums: Floats, variance: float) -> float:
    """
    Return how many times the sums of blocks vary more than sums of independent pairs would; at least 1.

    The greatest over scales, each with blocks of twice the length: minutes alone do not see outages longer than a
    minute (a false FAIL in 54 % instead of 10 to 14 % of runs with outages of five minutes, at alpha 5 %).

    Args:
        sizes: pairs by block, in the order of time.
        sums: the sum of their values by block.
        variance: of a single value.
    """
    factor = at_one_scale(sizes, sums, variance)
    while len(sizes) >= 2 * _LEAST_BLOCKS:
        even = len(sizes) // 2 * 2
        sizes, sums = sizes[:even].reshape(-1, 2).sum(axis=1), sums[:even].reshape(-1, 2).sum(axis=1)
        coarser = at_one_scale(sizes, sums, variance)
        if coarser > 1 + SIGNIFICANT * sqrt(2 / (len(sizes) - 1)):
            factor = max(factor, coarser)
    return factor


def at_one_scale(sizes: Floats, sums: Floats, variance: float) -> float:
    """
    Return the factor of these blocks; at least 1.

    ``sum (S_i - n_i m)^2`` over its expectation ``v (N - sum n_i^2 / N)``, with ``m`` the mean and ``v`` the variance
    over all ``N`` pairs. For blocks of equal size it is ``B Var(block mean) / Var(X)``.
    """
    total = float(sizes.sum())
    if len(sizes) < 2 or variance <= 0:
        return 1.0
    spread = float(((sums - sizes * (sums.sum() / total)) ** 2).sum())
    expected = variance * (total - float((sizes**2).sum()) / total)
    return max(1.0, spread / expected) if expected > 0 else 1.0


def series(ledger: Ledger, sizes: str, sums: str) -> tuple[Floats, Floats]:
    """Return two block tallies side by side, for the blocks that have a size."""
    blocks, counts = summed_in_time(*ledger.tally(sizes).loose())
    return counts.astype(np.float64), _aligned(ledger.tally(sums), blocks)


def latency_series(ledger: Ledger, measure: str, place: int, shift: int, *, by: str = PREFIX) -> tuple[Floats, Floats]:
    """
    Return by block the pairs and the sum of ``1{shadow >= edge + shift} - 1{live >= edge}``.

    Args:
        place: of the quantile; ``edge`` is that of the nearest coarse bin.
        shift: the ratio in bins, taken to whole coarse bins.
        by: how the names of tallies begin: those of blocks, or of sessions.
    """
    edge, steps = _coarse_edge(place, shift)
    blocks = ledger.tally(f"{by}pairs").items()[0]
    if not len(blocks):
        return np.empty(0), np.empty(0)
    sizes, live_beyond = _in_blocks(ledger.tally(f"{by}live.{measure}"), blocks, edge)
    _, shadow_beyond = _in_blocks(ledger.tally(f"{by}shadow.{measure}"), blocks, edge + steps)
    return sizes, shadow_beyond - live_beyond


def latency_variance(view: View, place: int, shift: int) -> float:
    """Return the variance of that difference of a single pair, as a view reads it."""
    edge, steps = _coarse_edge(place, shift)
    live, shadow = (bins.COARSE * (each - 1) + 1 for each in (edge, edge + steps))
    beyond = view.beyond(live - 1)
    both = float(beyond.counts[beyond.shadow >= shadow].sum())
    ups, downs = float(view.shadows[max(0, shadow) :].sum()) - both, float(beyond.counts.sum()) - both
    return (ups + downs) / view.pairs - ((ups - downs) / view.pairs) ** 2 if view.pairs else 0.0


def _coarse_edge(place: int, shift: int) -> tuple[int, int]:
    return round((np.clip(place, 1, bins.BINS) - 1) / bins.COARSE) + 1, round(shift / bins.COARSE)


def _in_blocks(tally: Tally, blocks: Ints, edge: int) -> tuple[Floats, Floats]:
    """Return by block how many legs a tally has, and how many of them at ``edge`` or beyond."""
    keys, counts = tally.loose()
    at, first, weights = keys >> PLACE_BITS, int(blocks[0]), counts.astype(np.float64)
    width, numbers = int(blocks[-1]) - first + 1, blocks - first
    if width > 4 * len(blocks) + 4096:
        at, width, numbers = np.searchsorted(blocks, at), len(blocks), np.arange(len(blocks))
    else:
        at -= first
    at = np.clip(at, 0, width - 1)
    beyond = np.flatnonzero((keys & ((1 << PLACE_BITS) - 1)) >= edge)
    legs, legs_beyond = np.bincount(at, weights, width), np.bincount(at[beyond], weights[beyond], width)
    return legs[numbers].astype(np.float64), legs_beyond[numbers].astype(np.float64)


def _aligned(tally: Tally, blocks: Ints) -> Floats:
    keys, sums = summed_in_time(*tally.loose())
    found = np.zeros(len(blocks))
    at = np.searchsorted(blocks, keys)
    known = (at < len(blocks)) & (blocks[np.minimum(at, max(0, len(blocks) - 1))] == keys) if len(blocks) else at < 0
    found[at[known]] = sums[known]
    return found
