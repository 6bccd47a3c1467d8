"""Sessions whose exchanges fail together, spread over all the time that one looks: no block of time shows them (b7)."""

from __future__ import annotations

import numpy as np
from sim.draws import Floats, Random
from sim.looking import first
from sim.means import DIFFERENCES

from shadowmesh.evidence import MeanEvidence, Side, log_threshold
from shadowmesh.model import SESSION_BUCKETS
from shadowmesh.verdict.guard import guarded as left
from shadowmesh.verdict.guard import variance_factor
from shadowmesh.verdict.sessions import of_sums

_A_MINUTE = 60
_LOOK = 5


def decided_at(
    random: Random,
    runs: int,
    *,
    shadow: float,
    live: float,
    together: bool,
    null: float,
    side: Side,
    known: bool,
    sessions: int = 1000,
    each: int = 20,
    blocks: int = 20,
    pairs: int = 20_000,
    alpha: float = 0.05,
) -> Floats:
    """
    Return the pairs until the difference of errors is shown, looked at every five minutes at a pair per second.

    Args:
        shadow, live: share of the sessions whose every exchange fails there, independently of the other side; or, not
            ``together``, of the exchanges.
        known: whether the guard knows which session a pair is of.
        sessions: how many there are, each of so many exchanges at times by chance.
        blocks: dispatch minutes that there have to be.
    """
    evidence, threshold = MeanEvidence(DIFFERENCES, null, side=side), log_threshold(alpha)
    pairs = min(pairs, sessions * each)
    decided = np.empty(runs)
    for run in range(runs):
        of = random.permutation(np.repeat(np.arange(sessions), each))[:pairs]
        bucket = random.integers(0, SESSION_BUCKETS, sessions)[of]
        worse, better = (
            (random.random(sessions) < share)[of] if together else random.random(pairs) < share
            for share in (shadow, live)
        )
        values = worse.astype(np.int64) - better
        decided[run] = first(
            (
                seen,
                minutes >= blocks
                and left(
                    evidence.log_evidence([int((part == value).sum()) for value in (1, 0, -1)]),
                    _factor(part, bucket[:seen] if known else None),
                )
                >= threshold,
            )
            for minutes in range(_LOOK, pairs // _A_MINUTE + 1, _LOOK)
            for seen in [minutes * _A_MINUTE]
            for part in [values[:seen]]
        )
    return decided


def _factor(values: np.ndarray[tuple[int], np.dtype[np.int64]], bucket: np.ndarray | None) -> float:
    variance, minutes = float(values.var()), values.reshape(-1, _A_MINUTE).sum(axis=1).astype(np.float64)
    by_time = variance_factor(np.full(len(minutes), float(_A_MINUTE)), minutes, variance)
    if bucket is None:
        return by_time
    sizes, sums = (
        np.bincount(bucket, weights, SESSION_BUCKETS).astype(np.float64) for weights in (np.ones(len(bucket)), values)
    )
    return max(by_time, of_sums(sizes, sums, variance, len(values)))
