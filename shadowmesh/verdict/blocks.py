"""
Blocks of time: sums by dispatch minute, by which the variance guard sees that errors come in bursts.

There are at most 2 048 blocks of a ledger; where minutes are more, blocks are 2, 4, 8, … minutes long. That depends on
the minutes that hold pairs and on nothing else, so ledgers that merge agree on it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from shadowmesh.verdict.facts import Ints
from shadowmesh.verdict.tally import summed

PREFIX: Final = "blocks."
PLACE_BITS: Final = 8
"""Of the keys of latency blocks, the lowest bits are a coarse place, of which there are 117."""
MOST: Final = 2048


def low_bits(name: str) -> int:
    """Return how many bits of a block tally's keys are not the block."""
    return PLACE_BITS if name.startswith((PREFIX + "live.", PREFIX + "shadow.")) else 0


def too_short_by(distinct: Ints) -> int:
    """Return how often blocks have to be doubled until there are few enough. The blocks are ascending."""
    times = 0
    while len(distinct) > MOST:
        distinct = np.unique(distinct >> 1)
        times += 1
    return times


def summed_in_time(keys: Ints, weights: Ints | None) -> tuple[Ints, Ints]:
    """Return distinct keys and their sums; quick where, as in a batch of neighbours, keys lie close together."""
    if not len(keys):
        return keys, keys
    first = int(keys.min())
    width = int(keys.max()) - first + 1
    if width > 4 * len(keys) + 4096:
        return summed(keys, weights)
    # Sums of a batch stay far below 2^53, up to which floats are exact.
    sums = np.bincount(keys - first, weights).astype(np.int64)
    found = np.flatnonzero(sums)
    return found + first, sums[found]
