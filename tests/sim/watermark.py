"""
In which order pairs are read: all that were dispatched before a moment, or all that have ended by then.

What ends first is short. A reader of ended pairs sees short ones at first, whatever the model does, and the ratio of
the slow quantiles comes out too small until the long ones are in.
"""

from __future__ import annotations

import numpy as np
from sim.draws import Floats, Random, latencies
from sim.outcome import NEVER

RATIO = 1.5
_MEDIAN_SECONDS = 3.0
_PAIRS_PER_SECOND = 20
_STARTS = 500
"""Starts that one reading is taken over, so that luck does not hide the bias."""
_TOLERANCE = 0.02


def misread_at(random: Random, runs: int, *, seconds: float, behind_watermark: bool) -> Floats:
    """
    Return for each reading its number of pairs where it is more than 2 % off the truth, else ``NEVER``.

    Args:
        seconds: since the first dispatch. Behind a watermark, a reader of that moment waits for all that was dispatched
            before it; without one he takes what has ended.
    """
    decided = np.full(runs, NEVER)
    for run in range(runs):
        size = int(seconds * _PAIRS_PER_SECOND) * _STARTS
        live, shadow = latencies(random, (size,), ratio=RATIO, correlation=0.6)
        dispatched = random.random(size) * seconds
        ended = dispatched + _MEDIAN_SECONDS * np.maximum(live, shadow) <= seconds
        seen = np.ones(size, dtype=bool) if behind_watermark else ended
        reading = np.quantile(shadow[seen], 0.95) / np.quantile(live[seen], 0.95)
        if abs(reading / RATIO - 1) > _TOLERANCE:
            decided[run] = np.count_nonzero(seen) / _STARTS
    return decided
