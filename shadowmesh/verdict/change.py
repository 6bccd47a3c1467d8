"""
Did the candidate just become worse? A change detector for alerts, beside the verdict and never instead of it.

Early evidence outvotes today's in a verdict. The Shiryaev-Roberts e-detector forgets: ``R <- (R + 1) (1 + bet * gain)``
with each pair, averaged over the bets of :mod:`shadowmesh.evidence`. Under "the mean never exceeds ``null_mean``" it
takes at least ``run_length`` pairs on average until it raises a false alarm, whatever the distribution; from 1 per cent
of errors to 5 it needs some 400 pairs at a run length of 100 000. Source: Shin, Ramdas and Rinaldo, arXiv:2203.03532.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from shadowmesh.evidence import SHARES
from shadowmesh.verdict import bins, legs
from shadowmesh.verdict.cells import Cells, View
from shadowmesh.verdict.facts import Ints, PairColumns
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.quantile import quantile_place

RUN_LENGTH: Final = 1e6
_MOST: Final = 1e300
_LEAST_PAIRS: Final = 1000


class ChangeDetector:
    """
    Watches differences of -1, 0 or 1 (shadow - live), in the order of dispatch; 1 is bad.

    Args:
        null_mean: up to which mean nothing is wrong; from 0 to below 1.
        run_length: pairs between two false alarms, on average and at least.

    Raises:
        ValueError: a setting is out of range.
    """

    __slots__ = ("_factors", "_logs", "_values", "run_length")

    def __init__(self, *, null_mean: float = 0.0, run_length: float = RUN_LENGTH) -> None:
        if not 0.0 <= null_mean < 1.0 or run_length < 1.0:
            raise ValueError(f"a null mean of {null_mean} and a run length of {run_length}")
        self.run_length = run_length
        bets = np.array(SHARES) / (1.0 + null_mean)
        self._factors = {value: 1.0 + bets * (value - null_mean) for value in (-1, 0, 1)}
        self._logs = {value: np.log(factor) for value, factor in self._factors.items()}
        self._values = np.zeros(len(SHARES))

    @property
    def level(self) -> float:
        """The mean over bets, in pairs: to be held against ``run_length``."""
        return float(self._values.mean())

    @property
    def alarmed(self) -> bool:
        """Whether it is at or above the run length; it stays there until it falls or is begun anew."""
        return self.level >= self.run_length

    def observe(self, value: int, times: int = 1) -> None:
        """Take the same difference ``times`` over; the effort does not depend on how often."""
        factor, powers = self._factors[value], np.exp(np.minimum(times * self._logs[value], 690.0))
        steady = np.abs(factor - 1.0) < 1e-12
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            added = np.where(steady, float(times), factor * (powers - 1.0) / (factor - 1.0))
            self._values = np.minimum(self._values * powers + added, _MOST)

    def observe_all(self, differences: Ints) -> bool:
        """Take a batch in its order, and return whether it was alarmed at any moment of it."""
        alarmed = self.alarmed
        starts = np.flatnonzero(np.diff(differences, prepend=2))
        for start, times in zip(starts, np.diff(starts, append=len(differences)), strict=True):
            self.observe(int(differences[start]), int(times))
            alarmed = alarmed or self.alarmed
        return alarmed

    def state(self) -> list[float]:
        """Return what :meth:`restore` wants back, for a JSON document."""
        return [float(value) for value in self._values]

    def restore(self, state: object) -> None:
        """
        Go on where another was.

        Raises:
            ValueError: this is no such state.
        """
        if not isinstance(state, list) or len(state) != len(SHARES):
            raise ValueError("not the state of a change detector")
        if not all(type(value) in (int, float) and 0 <= value <= _MOST for value in state):
            raise ValueError("a damaged state of a change detector")
        self._values = np.array(state, np.float64)


def error_differences(columns: PairColumns) -> Ints:
    """Return by how much the shadow's errors exceed live's at least, pair by pair in the order of dispatch."""
    columns = in_order(columns)
    return legs.more_errors(columns.live.state.astype(np.int64) * legs.STATES + columns.shadow.state)[1]


def latency_differences(columns: PairColumns, measure: str, *, place: int, shift: int) -> Ints:
    """
    Return ``1{shadow > place + shift} - 1{live >= place}`` pair by pair in the order of dispatch; 0 where a pair says
    nothing of the measure, and where a leg failed.

    Args:
        place: of live's quantile, as :func:`live_place` finds it.
        shift: the ratio that is still good, in bins (:func:`shadowmesh.verdict.bins.shift`).
    """
    ordered = in_order(columns)
    asked, live, shadow = legs.latency_codes(ordered.live, ordered.shadow, measure)
    beyond = bins.LOWEST_PLACE[shadow] > np.clip(place + shift, 0, bins.BINS)
    differences = np.zeros(len(ordered), np.int64)
    answered = (live != bins.FAILED) & (shadow != bins.FAILED)
    differences[asked] = answered * (beyond.astype(np.int64) - (bins.HIGHEST_PLACE[live] >= place))
    return differences


def live_place(ledger: Ledger, measure: str, quantile: float) -> int | None:
    """Return where live's quantile is; ``None`` where it is not known well enough to watch it."""
    fast = View(1, [Cells(*ledger.tally(f"joint.{measure}").loose())], answered=True)
    place = int(quantile_place(fast.lives, quantile)) if fast.pairs >= _LEAST_PAIRS else 0
    return place if 0 < place < bins.TOP else None


def in_order(columns: PairColumns) -> PairColumns:
    """Return the pairs that are evidence, in the order of dispatch."""
    kept = columns.where(legs.evidence(columns.live.state.astype(np.int64) * legs.STATES + columns.shadow.state))
    order = np.argsort(kept.dispatched_ns, kind="stable")
    return kept.where(order)
