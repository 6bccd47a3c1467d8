"""
How many different prompts there were, from a few bits of each.

A thousand pairs of one prompt say less than a thousand pairs of as many: their answers are alike. So live legs bear a
bucket of the prompt (:data:`~shadowmesh.model.PROMPT_BUCKETS`): nine bits of a keyed hash are a place, the zeros that
follow are a rank, which is ``k`` for one prompt in ``2 ** (k + 1)``. Equal prompts have equal buckets, so which of them
were seen does not depend on how often, and a ledger that counts pairs by bucket merges by addition like all else.

This is the sketch of Flajolet and Martin (Probabilistic counting algorithms for data base applications, JCSS 31, 1985,
doi:10.1016/0022-0000(85)90041-8), read by maximum likelihood: of ``n`` prompts none is in a bucket of probability ``p``
with the chance ``exp(-n p)``. With ``m`` places its relative standard error tends to ``1 / sqrt(m pi^2 / (6 ln 2))``,
the Fisher information of all ranks (Pettie and Wang, arXiv:2007.08051): 2.9 per cent with 512, from a hundred prompts
to a billion; of few it is nearly exact. A HyperLogLog keeps the greatest rank alone, and with as many places is 4.6 per
cent off.
"""

from __future__ import annotations

from math import exp, log, pi, sqrt
from typing import Final

import numpy as np

from shadowmesh.model import PROMPT_BUCKETS, PROMPT_PLACES, PROMPT_RANKS
from shadowmesh.verdict.facts import Ints

TALLY: Final = "prompts"
ERROR: Final = 1 / sqrt(PROMPT_PLACES * pi**2 / (6 * log(2)))
"""The relative standard error of :func:`distinct`."""

# What is not in the last rank by chance has more zeros than are counted.
_RANKS = np.minimum(np.arange(PROMPT_RANKS) + 1, PROMPT_RANKS - 1)
_CHANCES: Final = 0.5**_RANKS / PROMPT_PLACES
_MOST: Final = log(2.0**45)
_STEPS: Final = 50


def distinct(buckets: Ints) -> float:
    """
    Return about how many different prompts these buckets are of; 0 without any.

    Args:
        buckets: that were seen, in any order and any number of times.
    """
    if not len(buckets):
        return 0.0
    seen = np.bincount(buckets, minlength=PROMPT_BUCKETS).reshape(PROMPT_PLACES, PROMPT_RANKS) > 0
    full = seen.sum(axis=0).astype(np.float64)
    # Half a prompt to more than any ledger holds; the slope of the likelihood only ever falls.
    low, high = log(0.5), _MOST
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _slope(exp(middle), full) > 0 else (low, middle)
    return exp((low + high) / 2)


def _slope(prompts: float, full: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Return how the log likelihood of so many prompts grows, with so many full buckets of each rank."""
    expected = np.minimum(prompts * _CHANCES, 700.0)
    return float((_CHANCES * (full / np.expm1(expected) - (PROMPT_PLACES - full))).sum())
