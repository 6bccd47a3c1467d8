"""
The change detectors of one candidate, fed with what each fold adds: one for errors, one for every latency criterion.

What is still good is what the criteria allow, so an alarm says "worse than was asked for, of late". A latency is held
against live's quantile as it was at the fold before: what a bet is about must be known before the pairs it is about.

A detector that has raised an alarm begins anew. Where things stay bad it soon raises another; of those only one in
``repeat_ns`` is news. Pairs that come late, dispatched before others that were fed, are left out: the order is what a
detector goes by, and so nothing is fed twice, not even when ledgers are made anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from shadowmesh.verdict import bins
from shadowmesh.verdict.change import (
    RUN_LENGTH,
    ChangeDetector,
    error_differences,
    in_order,
    latency_differences,
    live_place,
)
from shadowmesh.verdict.facts import Ints, PairColumns
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.settings import CriteriaSettings, LatencySettings

ERRORS = "errors"
# With a null of exactly 0, pairs without any difference alone would raise an alarm after each run length. With this one
# they reach a level of 50 000 and stay there.
_LEAST_NULL_MEAN = 0.001


class Alarm(NamedTuple):
    """
    A detector has reached its run length.

    ``finding`` is what it watches, by the name of the criterion; ``at_ns`` the dispatch of the last pair it was fed;
    ``news`` whether none was raised shortly before.
    """

    finding: str
    at_ns: int
    news: bool


class Watch:
    """
    Watches one evidence key, of which one processor sees its part.

    Args:
        criteria: what is asked of the candidate.
        run_length: of each detector, see :class:`~shadowmesh.verdict.change.ChangeDetector`.
        repeat_ns: for how long after an alarm another of the same kind is none of the news; in times of dispatch.
    """

    def __init__(self, criteria: CriteriaSettings, *, run_length: float = RUN_LENGTH, repeat_ns: int = 0) -> None:
        self._run_length = run_length
        self._repeat_ns = repeat_ns
        self._latency = {each.name: each for each in criteria.latency}
        self._nulls = dict.fromkeys(self._latency, _LEAST_NULL_MEAN)
        if criteria.errors.enabled:
            self._nulls[ERRORS] = max(criteria.errors.allowed, _LEAST_NULL_MEAN)
        self._detectors = {name: self._anew(name) for name in self._nulls}
        self._places: dict[str, int] = {}
        self._told_ns: dict[str, int] = {}
        self._fed_ns = 0
        self._times: list[Ints] = []
        self._differences: dict[str, list[Ints]] = {name: [] for name in self._nulls}

    def add(self, columns: PairColumns) -> None:
        """Take a batch; what is watched is decided by :meth:`settle`, once all batches of a fold are there."""
        columns = in_order(columns)
        self._times.append(columns.dispatched_ns)
        for name in self._watched():
            self._differences[name].append(self._of(name, columns))

    def settle(self, ledgers: Iterable[Ledger]) -> list[Alarm]:
        """
        Feed what was added, in the order of dispatch, and return the alarms.

        Args:
            ledgers: of this key, with what was added: by them the next fold is watched.
        """
        times = np.concatenate([np.zeros(0, np.int64), *self._times])
        order = np.argsort(times, kind="stable")
        order = order[times[order] > self._fed_ns]
        alarms = []
        for name in self._watched():
            differences = np.concatenate([np.zeros(0, np.int64), *self._differences[name]])[order]
            self._differences[name].clear()
            if self._detectors[name].observe_all(differences):
                self._detectors[name] = self._anew(name)
                alarms.append(self._alarm(name, int(times[order[-1]])))
        self._times.clear()
        if len(order):
            self._fed_ns = int(times[order[-1]])
        ledgers = list(ledgers)
        for name, settings in self._latency.items():
            self._look(name, settings, ledgers)
        return alarms

    def levels(self) -> dict[str, float]:
        """Return how far every detector is, as a share of the run length."""
        return {name: detector.level / self._run_length for name, detector in self._detectors.items()}

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` wants back, for a JSON document; not between ``add`` and ``settle``."""
        return {
            "fed_ns": self._fed_ns,
            "places": self._places,
            "told_ns": self._told_ns,
            "detectors": {name: detector.state() for name, detector in self._detectors.items()},
        }

    def restore(self, state: object) -> None:
        """
        Go on where another was; what is watched now and was not then begins anew.

        Raises:
            ValueError: this is no such state.
        """
        try:
            self._restore(state)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("not the state of a watch") from error

    def _restore(self, state: Any) -> None:
        self._fed_ns = int(state["fed_ns"])
        self._places = {name: int(place) for name, place in state["places"].items() if name in self._latency}
        self._told_ns = {name: int(at_ns) for name, at_ns in state["told_ns"].items()}
        for name, detector in self._detectors.items():
            if name in state["detectors"]:
                detector.restore(state["detectors"][name])

    def _anew(self, name: str) -> ChangeDetector:
        return ChangeDetector(null_mean=self._nulls[name], run_length=self._run_length)

    def _watched(self) -> list[str]:
        """Return what can be watched already: latencies once live's quantile is known."""
        return [name for name in self._detectors if name == ERRORS or name in self._places]

    def _of(self, name: str, columns: PairColumns) -> Ints:
        if name == ERRORS:
            return error_differences(columns)
        settings = self._latency[name]
        shift = bins.shift(settings.ratio, upwards=True)
        return latency_differences(columns, settings.measure, place=self._places[name], shift=shift)

    def _alarm(self, name: str, at_ns: int) -> Alarm:
        news = at_ns - self._told_ns.get(name, at_ns - self._repeat_ns) >= self._repeat_ns
        if news:
            self._told_ns[name] = at_ns
        return Alarm(name, at_ns, news)

    def _look(self, name: str, settings: LatencySettings, ledgers: list[Ledger]) -> None:
        """Find live's quantile, over all methods."""
        whole, tally = Ledger(), f"joint.{settings.measure}"
        for ledger in ledgers:
            whole.tally(tally).merge(ledger.tally(tally))
        place = live_place(whole, settings.measure, settings.quantile)
        if place is not None:
            self._places[name] = place
