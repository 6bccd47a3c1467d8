"""
Straw men: how verdicts are commonly read, in the same worlds. Each has to break the limits that the product keeps.

They show that the worlds are hard enough to tell an honest test from one that only looks so.
"""

from __future__ import annotations

import numpy as np
from sim.draws import Floats, Ints, Random, latencies
from sim.looking import first

_Z_95 = 1.6449
"""One-sided, 95 %."""
_Z_TWO_SIDED_98 = 2.3263
"""Two-sided, p < 0.02."""


def z_test(random: Random, runs: int, *, won: float, null: float = 0.5, pairs: int = 20_000, step: int = 100) -> Floats:
    """A test made for one look, read again every ``step`` pairs."""
    hits = random.binomial(step, won, (runs, pairs // step)).cumsum(axis=1)
    sizes = step * np.arange(1, pairs // step + 1)
    scores = (hits - sizes * null) / np.sqrt(sizes * null * (1 - null))
    return _first(scores > _Z_95, step)


def win_point_estimate(
    random: Random, runs: int, *, won: float, least: int = 10_000, pairs: int = 50_000, step: int = 100
) -> Floats:
    """'More than half of the pairs won, of at least 10 000', read until it is so."""
    hits = random.binomial(step, won, (runs, pairs // step)).cumsum(axis=1)
    sizes = step * np.arange(1, pairs // step + 1)
    return _first((hits / sizes > 0.5) & (sizes >= least), step)


def quantile_point_estimate(
    random: Random, runs: int, *, ratio: float, least: int = 500, pairs: int = 10_000, step: int = 100
) -> Floats:
    """'The P95 is below 1.2 times the live one', read from ``least`` pairs on until it is so."""
    decided = np.empty(runs)
    for run in range(runs):
        live, shadow = latencies(random, (pairs,), ratio=ratio, correlation=0.6)
        sizes = range(least, pairs + 1, step)
        decided[run] = first((size, _p95(shadow[:size]) < 1.2 * _p95(live[:size])) for size in sizes)
    return decided


def mann_whitney(random: Random, runs: int, *, pairs: int = 10_000, step: int = 500) -> Floats:
    """The rank test of two samples at p < 0.02, normal approximation without ties, read again every ``step`` pairs."""
    decided = np.empty(runs)
    for run in range(runs):
        live, shadow = latencies(random, (pairs,), ratio=1.0, correlation=0.0)
        sizes = range(step, pairs + 1, step)
        decided[run] = first((size, abs(_rank_score(live[:size], shadow[:size])) > _Z_TWO_SIDED_98) for size in sizes)
    return decided


def _p95(durations: Floats) -> float:
    return float(np.quantile(durations, 0.95))


def _rank_score(ours: Floats, theirs: Floats) -> float:
    """Return the standardised Mann-Whitney U of two samples of one size."""
    size = len(ours)
    ranks = np.empty(2 * size)
    ranks[np.argsort(np.concatenate([ours, theirs]))] = np.arange(1, 2 * size + 1)
    won = ranks[:size].sum() - size * (size + 1) / 2
    return float((won - size**2 / 2) / np.sqrt(size**2 * (2 * size + 1) / 12))


def _first(decides: np.ndarray, step: int) -> Floats:
    looks: Ints = decides.argmax(axis=1) + 1
    return np.where(decides.any(axis=1), looks * float(step), np.inf)
