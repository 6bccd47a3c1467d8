"""The lines of the funnel, and what a call is counted as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from shadowmesh.names import Decision
from shadowmesh.policy.draws import Draw


class FunnelKey(NamedTuple):
    """One line of the funnel; ``drop_reason`` is empty unless dropped or disabled."""

    experiment: str
    target: str
    decision: str
    drop_reason: str


class LossKey(NamedTuple):
    """Whose legs are known to be lost, and by whom."""

    experiment: str
    target: str
    reason: str


Counted = FunnelKey | Draw
"""A line of the funnel, or how a call was drawn: one that was not taken is its ``not_sampled``, see :func:`lines`."""
Count = Callable[[Counted], None]
"""Counts one exchange."""


def lines(counted: Mapping[Counted, int]) -> dict[FunnelKey, int]:
    """Return the lines of the funnel out of what a gate has counted."""
    found: dict[FunnelKey, int] = {}
    for key, times in counted.items():
        if isinstance(key, FunnelKey):
            line = key
        elif not key.taken:
            line = FunnelKey(key.experiment, key.target, Decision.NOT_SAMPLED.value, "")
        else:
            continue
        found[line] = found.get(line, 0) + times
    return found
