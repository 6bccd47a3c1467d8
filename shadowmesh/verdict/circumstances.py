"""Under what circumstances pairs were compared, read from ledgers: how far their numbers carry, and no part of them."""

from __future__ import annotations

import numpy as np

from shadowmesh.verdict import bins, prompts
from shadowmesh.verdict.blocks import PLACE_BITS
from shadowmesh.verdict.circumstance_keys import (
    ANSWER,
    LAG,
    PROMPTS,
    SIDES,
    SUMS,
    Sum,
    calls_at,
    load,
    seconds_of,
)
from shadowmesh.verdict.facts import Floats, State
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.legs import STATES
from shadowmesh.verdict.records import Cached, Circumstances, Lag, Load, Prompts

_LATE = 0.95


def circumstances(ledger: Ledger) -> Circumstances:
    """Return what a ledger of all pairs says of them; ``None`` is what no pair says."""
    return Circumstances(
        warm_up=_warm_up(ledger),
        prompts=_prompts(ledger),
        load=_load(ledger),
        cached=_cached(ledger),
        lag=_lag(ledger),
    )


def _warm_up(ledger: Ledger) -> int:
    live, shadow = np.divmod(np.arange(STATES**2), STATES)
    left_out = (live == State.WARM_UP) | (shadow == State.WARM_UP)
    return int(ledger.tally("states").dense(STATES**2)[left_out].sum())


def _prompts(ledger: Ledger) -> Prompts | None:
    buckets, pairs = ledger.tally(PROMPTS).loose()
    total = int(pairs.sum())
    return Prompts(distinct=min(round(prompts.distinct(buckets)), total), pairs=total) if total else None


def _load(ledger: Ledger) -> Load | None:
    live, shadow = (_loads(ledger, side) for side in SIDES)
    if not len(live):
        return None
    return Load(
        live_mean=_mean_load(live),
        shadow_mean=_mean_load(shadow),
        live_median=calls_at(_middle(live, 0.5)),
        shadow_median=calls_at(_middle(shadow, 0.5)),
        pairs=int(live.sum()),
    )


def _loads(ledger: Ledger, side: str) -> Floats:
    keys, counts = ledger.tally(load(side)).loose()
    return np.bincount(keys >> PLACE_BITS, counts).astype(np.float64)


def _mean_load(counts: Floats) -> float:
    return sum(calls_at(at) * float(counts[at]) for at in np.flatnonzero(counts).tolist()) / float(counts.sum())


def _cached(ledger: Ledger) -> Cached | None:
    sums = ledger.tally(SUMS).dense(len(Sum))
    live, shadow = float(sums[Sum.INPUT_LIVE]), float(sums[Sum.INPUT_SHADOW])
    if not (live and shadow):
        return None
    # Somebody may count them apart.
    return Cached(
        live=min(1.0, float(sums[Sum.CACHED_LIVE]) / live),
        shadow=min(1.0, float(sums[Sum.CACHED_SHADOW]) / shadow),
        pairs=int(sums[Sum.PAIRS]),
    )


def _lag(ledger: Ledger) -> Lag | None:
    lag, answer = (np.bincount(*ledger.tally(name).loose()).astype(np.float64) for name in (LAG, ANSWER))
    if not len(lag):
        return None
    return Lag(
        p95=seconds_of(_middle(lag, _LATE)),
        first_answer=float(bins.MIDDLES[_middle(answer, 0.5)]),
        pairs=int(lag.sum()),
    )


def _middle(counts: Floats, quantile: float) -> int:
    """Return the bin of a quantile."""
    running = np.cumsum(counts)
    return int(np.searchsorted(running, quantile * running[-1]))
