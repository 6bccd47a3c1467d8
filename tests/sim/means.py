"""Criteria about a mean, in worlds where the null is exactly true, and where it is not."""

from __future__ import annotations

import numpy as np
from sim.draws import Floats, Random, difference_shares, outcomes, similarities
from sim.looking import shown_at

from shadowmesh.evidence import MeanEvidence, Side

DIFFERENCES = (1.0, 0.0, -1.0)
SCORES = (1.0, 0.5, 0.0)
_BINS = 200


def errors(
    random: Random,
    runs: int,
    *,
    shadow: float,
    live: float,
    null: float,
    side: Side,
    pairs: int = 20_000,
    step: int = 50,
) -> Floats:
    """Independent failures on both sides; the evidence is about their difference."""
    shares = difference_shares(shadow, live)
    counts = outcomes(random, runs=runs, looks=pairs // step, step=step, shares=shares)
    return shown_at(counts, MeanEvidence(DIFFERENCES, null, side=side), step=step)


def wins(
    random: Random, runs: int, *, won: float, ties: float, null: float, side: Side, pairs: int = 20_000, step: int = 50
) -> Floats:
    """A judge prefers the shadow in ``won`` of the pairs that are no tie."""
    decisive = 1 - ties
    shares = (won * decisive, ties, (1 - won) * decisive)
    counts = outcomes(random, runs=runs, looks=pairs // step, step=step, shares=shares)
    return shown_at(counts, MeanEvidence(SCORES, null, side=side), step=step)


def similarity(
    random: Random, runs: int, *, mean: float, null: float, side: Side, pairs: int = 20_000, step: int = 50
) -> Floats:
    """Similarities in 200 bins; a pass takes the lower end of each, a fail the upper."""
    ends = np.arange(_BINS + 1) / _BINS
    evidence = MeanEvidence(tuple(ends), null, side=side)
    decided = np.empty(runs)
    for run in range(runs):
        drawn = similarities(random, (pairs,), mean=mean) * _BINS
        places = (np.floor(drawn) if side == 1 else np.ceil(drawn)).astype(np.int64)
        decided[run] = shown_at(_summed(places, step), evidence, step=step)[0]
    return decided


def against_floor(
    random: Random,
    runs: int,
    *,
    mean: float,
    floor: float,
    share: float,
    side: Side,
    pairs: int = 10_000,
    step: int = 50,
) -> Floats:
    """Triples: the shadow's similarity against ``share`` of live and control's, in hundredths, rounded as above."""
    low = -round(share * 100)
    evidence = MeanEvidence(tuple(np.arange(low, 101) / 100), 0.0, side=side)
    decided = np.empty(runs)
    for run in range(runs):
        drawn = similarities(random, (pairs,), mean=mean) - share * similarities(random, (pairs,), mean=floor)
        places = (np.floor(drawn * 100) if side == 1 else np.ceil(drawn * 100)).astype(np.int64) - low
        decided[run] = shown_at(_summed(places, step, values=101 - low), evidence, step=step)[0]
    return decided


def _summed(places: np.ndarray, step: int, *, values: int = _BINS + 1) -> np.ndarray:
    """Return one run's counts of values up to each look, shape ``(1, looks, values)``."""
    looks = len(places) // step
    counts = np.zeros((looks, values), dtype=np.int64)
    np.add.at(counts, (np.arange(looks * step) // step, places[: looks * step]), 1)
    return counts.cumsum(axis=0)[np.newaxis]
