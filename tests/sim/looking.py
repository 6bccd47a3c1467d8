"""Looking again and again: pairs until a test says yes for the first time, by the product's own evidence."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from sim.draws import Floats, Ints
from sim.outcome import NEVER

from shadowmesh.evidence import MeanEvidence, log_threshold


def first(looks: Iterable[tuple[int, bool]]) -> float:
    """Return the pairs of the first look that decides, or ``NEVER``; later looks are not drawn."""
    return next((pairs for pairs, decided in looks if decided), NEVER)


def shown_at(counts: Ints, evidence: MeanEvidence, *, step: int, alpha: float = 0.05) -> Floats:
    """
    Return for each run the pairs at which the evidence first crosses the threshold of ``alpha``.

    Args:
        counts: of each value up to each look, shape ``(runs, looks, values)``.
        step: pairs between two looks.
    """
    threshold = log_threshold(alpha)
    decided = [
        first(((look + 1) * step, evidence.log_evidence(seen) >= threshold) for look, seen in enumerate(run))
        for run in counts.tolist()
    ]
    return np.array(decided, dtype=np.float64)
