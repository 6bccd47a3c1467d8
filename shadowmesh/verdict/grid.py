"""Similarities as whole numbers: thousandths, and the key of a pair of them."""

from __future__ import annotations

from typing import Final

import numpy as np

from shadowmesh.verdict.facts import Floats, Ints

STEPS: Final = 1000
NO_FLOOR: Final = STEPS + 1
"""The step of a floor that is not known."""
FLOORS: Final = STEPS + 2
KEYS: Final = (STEPS + 1) * FLOORS


def steps(shares: Floats) -> Ints:
    """Return the step at or below each share; a perfect one has a step of its own."""
    # 0.29 * 1000 is 289.99999999999994.
    return np.minimum(np.maximum(np.floor(shares * STEPS + 1e-9), 0), STEPS).astype(np.int64)


def above(steps: Ints) -> Ints:
    """Return the step that a share on each of these steps does not exceed."""
    return np.minimum(steps + 1, STEPS)
