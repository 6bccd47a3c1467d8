"""Where a test that changes its answer once does so, in few askings."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Final

import numpy as np

from shadowmesh.verdict.facts import Ints, Mask

_GUESSES: Final = 12
"""Of a crossing; what a smooth function has not shown by then is halved."""


def first_where(holds: Callable[[Ints], Mask], low: int, high: int, *, at_once: int) -> int:
    """
    Return the first whole number from ``low`` on at which a test holds, ``high`` if it does at none before.

    Args:
        holds: answers for many ascending numbers at a time; where it holds it does at all greater ones.
        at_once: how many it is asked of at a time.
    """
    while low < high:
        step = -((low - high) // at_once)
        places = np.arange(low + step - 1, high, step)
        found = holds(places)
        at = int(np.argmax(found)) if found.any() else len(places)
        low, high = (int(places[at - 1]) + 1 if at else low), (int(places[at]) if at < len(places) else high)
    return high


def last_reached(evidence: Callable[[int], float], threshold: float, places: int, *, guess: float, fall: float) -> int:
    """
    Return the last place from 0 on at which evidence reaches a threshold; at 0 it does, at ``places`` it does not.

    The root of evidence about a mean is nearly a straight line, so it is found by secants.

    Args:
        evidence: a log, falling from place to place.
        threshold: more than 0.
        guess: where the place may be; ``fall`` by how much the root may fall there from a place to the next.
    """
    low, high, at, asked = 0, places, guess, 0
    wanted, before = sqrt(threshold), None
    while high - low > 1:
        place = int(min(max(at, low + 1), high - 1)) if asked < _GUESSES else (low + high) // 2
        log = evidence(place)
        found = sqrt(max(log, 0.0)) - wanted
        if before is not None and (before[1] - found) / (place - before[0]) > 0:
            fall = (before[1] - found) / (place - before[0])
        before, asked = (place, found), asked + 1
        low, high = (place, high) if log >= threshold else (low, place)
        # Just beyond the crossing, so that its two sides close in on it.
        at = place + found / fall + (1 if log >= threshold else 0)
    return low
