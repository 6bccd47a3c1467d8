"""What is left of every budget and time-box of a process, as its engines last said it (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum

from shadowmesh.mirror.frames import Left
from shadowmesh.names import BudgetLimit, TimeBoxLimit
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.experiment import ExperimentSettings

_Limit = tuple[str, str, str, str]
"""Experiment, target, name of the limit, currency."""


class LimitsLeft:
    """
    The sum over the engines, each of which has a part of every limit.

    While a worker is down its last word stands: nothing is spent for it meanwhile, and what it had left is what its
    successor says in its place. That one goes on from there where ``mirror.budget.state`` is set, and else begins with
    nothing spent. Before an engine has said anything its part is missing.
    """

    def __init__(self, experiments: Iterable[ExperimentSettings]) -> None:
        self._said: dict[tuple[int, str, str, str], Remaining] = {}
        self.rule(experiments)

    def rule(self, experiments: Iterable[ExperimentSettings]) -> None:
        """Forget what is said of limits that these experiments, which are in force now, do not have."""
        self._in_force = frozenset(limit for one in experiments for limit in _limits(one))
        for key, one in self._said.copy().items():
            if one[:4] not in self._in_force:
                self._said.pop(key, None)

    def hear(self, frame: Left) -> None:
        """Take an engine's word; from any thread."""
        # Also of a limit that is none of ours: an engine may hear of a reload before we do.
        self._said[(frame.worker, *frame.remaining[:3])] = frame.remaining

    def totals(self) -> list[Remaining]:
        """Return what is left of each limit in force that an engine has spoken of, in the order they first did."""
        parts: dict[_Limit, list[Remaining]] = {}
        for one in self._said.copy().values():
            # What a late engine says of a limit that is gone does not bring it back.
            if one[:4] in self._in_force:
                parts.setdefault(one[:4], []).append(one)
        return [
            Remaining(*limit, fsum(one.amount for one in said), fsum(one.left for one in said))
            for limit, said in parts.items()
        ]


def _limits(experiment: ExperimentSettings) -> Iterable[_Limit]:
    for target in experiment.targets:
        about = (experiment.name, target.name)
        if target.budget is not None:
            yield from ((*about, limit.value, target.budget.currency) for limit in target.budget.money)
            if target.budget.tokens is not None:
                yield (*about, BudgetLimit.TOKENS.value, "")
        if experiment.time_box is not None and experiment.time_box.pairs is not None:
            yield (*about, TimeBoxLimit.PAIRS.value, "")
