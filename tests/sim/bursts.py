"""Errors that come in outages, which no pair-wise evidence is made for: what the variance guard is there for (b7)."""

from __future__ import annotations

import numpy as np
from sim.draws import Floats, Ints, Random, failing_per_minute
from sim.looking import first
from sim.means import DIFFERENCES

from shadowmesh.evidence import MeanEvidence, Side, log_threshold
from shadowmesh.verdict.guard import guarded as left
from shadowmesh.verdict.guard import variance_factor


def decided_at(
    random: Random,
    runs: int,
    *,
    shadow: float,
    live: float,
    outage: float,
    rate: int,
    null: float,
    side: Side,
    minutes: int,
    blocks: int,
    guarded: bool = True,
    alpha: float = 0.05,
) -> Floats:
    """
    Return the pairs until the difference of errors is shown, looked at each minute; both sides fail in outages only.

    Args:
        shadow, live: share of the time that each is down, independently of the other.
        outage: length of each in seconds.
        rate: pairs per second.
        blocks: dispatch minutes that there have to be.
        guarded: with the variance guard, or the bare evidence at any time.
    """
    evidence, threshold = MeanEvidence(DIFFERENCES, null, side=side), log_threshold(alpha)
    size = 60 * rate
    sizes = size * np.arange(1, minutes + 1)
    decided = np.empty(runs)
    for run in range(runs):
        worse, better = (
            failing_per_minute(random, minutes=minutes, rate=rate, share=share, outage=outage)
            for share in (shadow, live)
        )
        ups, downs = worse.cumsum(), better.cumsum()
        counts = np.column_stack([ups, sizes - ups - downs, downs]).tolist()
        sums = worse - better
        decided[run] = first(
            (
                (minute + 1) * size,
                (shown := evidence.log_evidence(seen)) >= threshold
                and (
                    not guarded
                    or (minute + 1 >= blocks and left(shown, _factor(sums[: minute + 1], seen, size)) >= threshold)
                ),
            )
            for minute, seen in enumerate(counts)
        )
    return decided


def _factor(sums: Ints, seen: list[int], size: int) -> float:
    pairs = sum(seen)
    mean = (seen[0] - seen[2]) / pairs
    sizes = np.full(len(sums), float(size))
    return variance_factor(sizes, sums.astype(np.float64), (seen[0] + seen[2]) / pairs - mean**2)
