"""The live gate: one decision per call, from what is known before a byte of the request is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from shadowmesh.model import Metadata
from shadowmesh.names import META_ROLE, Decision, DropReason, Role
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.headers import AllowList
from shadowmesh.policy.limits import Tokens
from shadowmesh.policy.routes import Routes
from shadowmesh.policy.sampling import position, salt_of

Count = Callable[[str, str, Decision, str], None]
"""Counts one exchange: experiment, target, decision, drop reason (empty unless dropped)."""


class TargetState:
    """What the live side knows of one target now; ``closed`` is a drop reason sent back by the engine."""

    __slots__ = ("closed", "tokens")

    def __init__(self, max_in_flight: int) -> None:
        self.tokens = Tokens(max_in_flight)
        self.closed = ""


class Admission(NamedTuple):
    """One sampled target of an exchange; a ``drop_reason`` says that its shadow is shed."""

    target: str
    probability: float
    drop_reason: str = ""


class Ticket(NamedTuple):
    """A call that is sampled for at least one target: by which experiment, and who takes part."""

    plan: Plan
    admissions: tuple[Admission, ...]


class Plan:
    """An experiment, compiled for the live path."""

    __slots__ = ("drawn", "headers", "name", "rates", "salt", "states")

    def __init__(self, settings: ExperimentSettings, states: Mapping[str, TargetState]) -> None:
        self.name = settings.name
        self.rates = tuple((target.name, target.rate) for target in settings.targets)
        self.drawn = any(0.0 < rate < 1.0 for _, rate in self.rates)
        self.salt = salt_of(settings.name)
        self.states = states
        # One list for all targets: a key leaves the live side if any target may see it; the engine filters again
        # for each target.
        self.headers = AllowList(key for target in settings.targets for key in target.metadata)


class LiveGate:
    """
    Decides, and counts what is decided here: ``not_sampled`` and ``disabled``. The rest is counted at the start
    of the exchange, when it is final.
    """

    def __init__(self, experiments: tuple[ExperimentSettings, ...], count: Count) -> None:
        self._count = count
        self.states: dict[tuple[str, str], TargetState] = {}
        entries = []
        for settings in experiments:
            states = {target.name: TargetState(target.max_in_flight) for target in settings.targets}
            self.states.update({(settings.name, name): state for name, state in states.items()})
            entries.append((settings.methods, Plan(settings, states)))
        self._routes: Routes[Plan] = Routes(entries)

    def covers(self, method: str) -> bool:
        """Return whether any experiment covers ``method``."""
        return self._routes.find(method) is not None

    def decide(self, method: str, metadata: Metadata, draw: Callable[[], bytes]) -> Ticket | None:
        """
        Return who takes part in this call, or ``None`` when the handler is to stay untouched.

        Args:
            draw: gives the sampling key; called only when a target's rate lies strictly between 0 and 1.
        """
        plan = self._routes.find(method)
        if plan is None:
            return None
        for key, value in metadata:
            if key == META_ROLE and value == Role.SHADOW:
                for name, _ in plan.rates:
                    self._count(plan.name, name, Decision.DISABLED, DropReason.MARKED)
                return None
        place = position(plan.salt, draw()) if plan.drawn else 0.0
        admissions = []
        for name, rate in plan.rates:
            if place < rate:
                admissions.append(Admission(name, rate, plan.states[name].closed))
            else:
                self._count(plan.name, name, Decision.NOT_SAMPLED, "")
        return Ticket(plan, tuple(admissions)) if admissions else None
