"""
How the sampling keys of each experiment come: whether a few make up most of its calls, and how many calls have none.

Both make the share of calls something else than the rate, and nobody notices by the rate alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from shadowmesh.policy.plan import Plan
from shadowmesh.policy.skew import KeyFigures
from shadowmesh.telemetry.counters import Tally

_LOG = logging.getLogger("shadowmesh")
SKEWED = 0.2
"""
The share of one key from which on the log says so: at any rate below it, one key decides whether the target gets a
multiple of its rate or not even nearly as much.
"""


class KeyWatch:
    """One per process."""

    def __init__(self) -> None:
        self._missing: Tally[str] = Tally()
        # Metrics and status are read by threads of their own; live calls only append.
        self._folding = threading.Lock()
        self._said: set[str] = set()

    def missed(self, experiment: str) -> None:
        """Count a call without the key; from any thread."""
        self._missing.add(experiment)

    def figures(self, plans: Iterable[Plan]) -> dict[str, KeyFigures]:
        """Take in what has come since the last time, and return the figures of every experiment that has a key."""
        missing, found = self._missing.totals(), {}
        with self._folding:
            for plan in plans:
                if plan.sampler.keyed:
                    plan.sampler.skew.fold()
                    found[plan.name] = KeyFigures(plan.sampler.skew.share(), missing.get(plan.name, 0))
                    self._warn(plan.name, found[plan.name].top_share)
        return found

    def _warn(self, experiment: str, share: float | None) -> None:
        if share is not None and share > SKEWED and experiment not in self._said:
            self._said.add(experiment)
            _LOG.warning(
                "%s: one sampling key makes up %.0f %% of the calls, so the share that is mirrored is not the rate",
                experiment,
                share * 100,
            )
