"""What the simulated worlds draw: pairs whose truth is known, because it is an argument."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Random = np.random.Generator

LATENCY_SPREAD = 0.6
"""Standard deviation of the logarithm of a duration: the P95 is then 2.7 times the median."""
SIMILARITY_SPREAD = 0.05


def latencies(
    random: Random, size: tuple[int, ...], *, ratio: float, correlation: float, given: Floats | None = None
) -> tuple[Floats, Floats]:
    """
    Return lognormal durations of live and shadow in seconds; each quantile of the shadow's is ``ratio`` times live's.

    Args:
        correlation: of the logarithms within a pair, as long requests are long on both sides.
        given: the durations of live, where they have been drawn already.
    """
    live = random.standard_normal(size) if given is None else np.log(given) / LATENCY_SPREAD
    shadow = correlation * live + np.sqrt(1 - correlation**2) * random.standard_normal(size)
    return np.exp(LATENCY_SPREAD * live), ratio * np.exp(LATENCY_SPREAD * shadow)


def quantile(share: float) -> float:
    """Return a quantile of live's durations, in seconds."""
    return float(np.exp(LATENCY_SPREAD * NormalDist().inv_cdf(share)))


def similarities(random: Random, size: tuple[int, ...], *, mean: float, spread: float = SIMILARITY_SPREAD) -> Floats:
    """Return similarities between 0 and 1, beta-distributed with this mean and standard deviation."""
    weight = mean * (1 - mean) / spread**2 - 1
    return random.beta(mean * weight, (1 - mean) * weight, size)


def outcomes(random: Random, *, runs: int, looks: int, step: int, shares: tuple[float, ...]) -> Ints:
    """
    Return how often each value was seen up to each look, shape ``(runs, looks, values)``.

    Args:
        step: independent observations between two looks.
        shares: the chance of each value.
    """
    return random.multinomial(step, shares, size=(runs, looks)).cumsum(axis=1)


def difference_shares(shadow: float, live: float) -> tuple[float, float, float]:
    """Return the chances of the differences 1, 0 and -1 of two independent failures with these chances."""
    worse, better = shadow * (1 - live), live * (1 - shadow)
    return worse, 1 - worse - better, better


def outages(random: Random, *, seconds: float, share: float, outage: float) -> Floats:
    """
    Return when outages of ``outage`` seconds begin, ascending and at least until ``seconds``, exponential times apart.

    Args:
        share: of all time that is an outage; not 0.
    """
    gap = outage * (1 - share) / share
    # Half as many again as are expected, and some, so that they last to the end.
    gaps = random.exponential(gap, int(seconds / (gap + outage) * 1.5) + 30)
    begins = np.cumsum(gaps + outage) - outage
    if random.random() < share:
        begins -= gaps[0] + random.random() * outage  # The world did not begin when we began to look.
    return begins


def down_at(random: Random, moments: Floats, *, share: float, outage: float) -> NDArray[np.bool_]:
    """Return whether there is an outage at each of these seconds, which ascend."""
    if share == 0:
        return np.zeros(len(moments), dtype=np.bool_)
    begins = outages(random, seconds=float(moments[-1]), share=share, outage=outage)
    latest = np.searchsorted(begins, moments, side="right") - 1
    return (latest >= 0) & (moments < begins[latest] + outage)


def failing_per_minute(random: Random, *, minutes: int, rate: int, share: float, outage: float) -> Ints:
    """Return how many of the pairs of each minute fail, all of them in outages, with ``rate`` pairs in every second."""
    if share == 0:
        return np.zeros(minutes, dtype=np.int64)
    begins = outages(random, seconds=60.0 * minutes, share=share, outage=outage)
    edges = np.column_stack([begins, begins + outage]).ravel()
    down = np.column_stack([np.arange(len(begins)), np.arange(1, len(begins) + 1)]).ravel() * outage
    failed: Floats = np.round(np.interp(np.arange(minutes + 1) * 60.0, edges, down) * rate)
    return np.diff(failed).astype(np.int64)
