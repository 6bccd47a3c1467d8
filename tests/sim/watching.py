"""What is watched beside the verdict: whether shedding has to do with length, and whether errors have just risen."""

from __future__ import annotations

import numpy as np
from sim.draws import Floats, Random
from sim.looking import first
from sim.whole import growing
from sim.worlds import World

from shadowmesh.verdict.change import ChangeDetector
from shadowmesh.verdict.coverage import shed_by_length

_ALPHA = 0.05


def shed_bias_at(random: Random, runs: int, *, world: World, pairs: int = 20_000, step: int = 500) -> Floats:
    """Return the pairs until the verdict says that what was shed has to do with length."""
    decided = np.empty(runs)
    for run in range(runs):
        looks = growing(world.draw(random, pairs), step)
        decided[run] = first((size, shed_by_length(ledgers["0"], _ALPHA) is not None) for size, ledgers in looks)
    return decided


def alarmed_at(random: Random, runs: int, *, changed: float, quiet: int, pairs: int, step: int) -> Floats:
    """
    Return the pairs from a change on until the alarm.

    Args:
        changed: the chance of the shadow's failures from then on; before and on the other side it is 1 %.
        quiet: pairs before the change.
    """
    decided = np.empty(runs)
    for run in range(runs):
        detector = ChangeDetector()
        detector.observe_all(_differences(random, 0.01, quiet))
        differences = _differences(random, changed, pairs)
        decided[run] = first(
            (end, detector.observe_all(differences[end - step : end])) for end in range(step, pairs + 1, step)
        )
    return decided


def _differences(random: Random, shadow: float, size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return (random.random(size) < shadow).astype(np.int64) - (random.random(size) < 0.01)
