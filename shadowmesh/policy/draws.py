"""
How many calls were drawn for a target and how many of them were taken, where each call is drawn by itself.

One count for each call and target says both, so whoever reads the counts at any moment sees every call among the drawn
and the taken ones, or among neither. The funnel does not show that: there a call that was taken is counted when its
exchange begins, later than one that was not, and once for every exchange of a stream.

Calls that share a sampling key stand or fall together and are not counted here, since of them the share that is taken
says nothing. Nor is what takes all calls, or none: nothing is drawn for it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Draw(NamedTuple):
    """One outcome: under this configuration of the experiment, at this rate (0 to 1), and whether it was ``taken``."""

    experiment: str
    target: str
    config_digest: str
    rate: float
    taken: bool


class DrawnKey(NamedTuple):
    """Whose calls were drawn: evidence is kept by the same configurations."""

    experiment: str
    target: str
    config_digest: str


class Drawn(NamedTuple):
    """Calls that were ``eligible``, those of them that were ``sampled``, and how many that is ``expected`` to be."""

    eligible: int = 0
    sampled: int = 0
    expected: float = 0.0


def drawn(counted: Mapping[Key, int]) -> dict[DrawnKey, Drawn]:
    """Return what was drawn, of counts among which there may be others."""
    sums: dict[DrawnKey, Drawn] = {}
    for draw, calls in counted.items():
        if isinstance(draw, Draw):
            key = DrawnKey(draw.experiment, draw.target, draw.config_digest)
            eligible, sampled, expected = sums.get(key, Drawn())
            sums[key] = Drawn(eligible + calls, sampled + calls * draw.taken, expected + calls * draw.rate)
    return sums
