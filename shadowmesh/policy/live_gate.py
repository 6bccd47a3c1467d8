"""
The live gate: one decision per call, from what is known before a byte of the request is read.

Whatever does not change from call to call is made once, with the plan: the live path looks up and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from shadowmesh.model import Metadata
from shadowmesh.names import META_PREVIOUS_ATTEMPTS, META_ROLE, Decision, DropReason, Role
from shadowmesh.policy.experiment import ExperimentSettings, TargetSettings
from shadowmesh.policy.headers import AllowList
from shadowmesh.policy.limits import Tokens
from shadowmesh.policy.routes import Routes
from shadowmesh.policy.sampling import position, salt_of


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


# A shadow call is never mirrored again, and of a call that its client tries again only the first attempt is: gRPC
# sends the second of these with every further attempt, retried or hedged (gRFC A6).
_TELLING = frozenset((META_ROLE, META_PREVIOUS_ATTEMPTS))
_DISABLED = frozenset((DropReason.MARKED, DropReason.RETRY, DropReason.OFF_SLOT, DropReason.HARM))
Count = Callable[[FunnelKey], None]
"""Counts one exchange."""


class TargetState:
    """What the live side knows of one target now; ``closed`` is a drop reason sent back by the engine."""

    __slots__ = ("_settings", "closed", "tokens")

    def __init__(self, settings: TargetSettings) -> None:
        self.tokens = Tokens(settings.max_in_flight)
        self.closed = ""
        self._settings = settings

    def fits(self, settings: TargetSettings) -> bool:
        """Return whether this is the state of the same server under the same cap."""
        mine = self._settings
        return (mine.address, mine.tls, mine.max_in_flight) == (settings.address, settings.tls, settings.max_in_flight)


_NOTHING_KNOWN: Mapping[tuple[str, str], TargetState] = {}


class Admission(NamedTuple):
    """One sampled target of an exchange; a ``drop_reason`` says that its shadow is shed."""

    target: str
    probability: float
    drop_reason: str = ""


class TargetPlan:
    """One target, compiled for the live path."""

    __slots__ = ("admission", "mirrored", "name", "not_sampled", "rate", "state")

    def __init__(self, experiment: str, settings: TargetSettings, known: TargetState | None) -> None:
        self.name = settings.name
        self.rate = settings.rate
        self.state = known if known is not None and known.fits(settings) else TargetState(settings)
        self.admission = Admission(settings.name, settings.rate)
        # Plain strings: an enum's hash is a Python function, and these are looked up once per call.
        about = (experiment, settings.name)
        self.mirrored = FunnelKey(*about, Decision.MIRRORED.value, "")
        self.not_sampled = FunnelKey(*about, Decision.NOT_SAMPLED.value, "")


class Ticket(NamedTuple):
    """
    A call that is sampled for at least one target: by which experiment, who takes part, and whether any shadow is
    to be called as far as is known yet.
    """

    plan: Plan
    admissions: tuple[Admission, ...]
    mirrored: bool


class Plan:
    """An experiment, compiled for the live path."""

    __slots__ = ("_mirrored", "drawn", "headers", "name", "salt", "states", "targets")

    def __init__(
        self, settings: ExperimentSettings, known: Mapping[tuple[str, str], TargetState] = _NOTHING_KNOWN
    ) -> None:
        self.name = settings.name
        self.targets = tuple(
            TargetPlan(settings.name, target, known.get((settings.name, target.name))) for target in settings.targets
        )
        self.states: Mapping[str, TargetState] = {target.name: target.state for target in self.targets}
        self._mirrored = {target.name: target.mirrored for target in self.targets}
        self.drawn = any(0.0 < target.rate < 1.0 for target in self.targets)
        self.salt = salt_of(settings.name)
        # One list for all targets: a key leaves the live side if any target may see it; the engine filters again
        # for each target.
        self.headers = AllowList(key for target in settings.targets for key in target.metadata) or None

    def key(self, admission: Admission) -> FunnelKey:
        """Return the line of the funnel that an exchange with this admission belongs to."""
        if not admission.drop_reason:
            return self._mirrored[admission.target]
        decision = Decision.DISABLED if admission.drop_reason in _DISABLED else Decision.DROPPED
        return FunnelKey(self.name, admission.target, decision.value, str(admission.drop_reason))


class LiveGate:
    """
    Decides, and counts what is decided here: ``not_sampled`` and ``disabled``. The rest is counted at the start
    of the exchange, when it is final.
    """

    def __init__(
        self,
        experiments: tuple[ExperimentSettings, ...],
        count: Count,
        *,
        known: Mapping[tuple[str, str], TargetState] = _NOTHING_KNOWN,
    ) -> None:
        """Compile the experiments; ``known`` are the states of targets before a reload, by experiment and name."""
        self._count = count
        plans = [Plan(settings, known) for settings in experiments]
        self.states = {(plan.name, name): state for plan in plans for name, state in plan.states.items()}
        self._routes: Routes[Plan] = Routes(
            (settings.methods, plan) for settings, plan in zip(experiments, plans, strict=True)
        )

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
            if key in _TELLING:
                reason = DropReason.RETRY if key == META_PREVIOUS_ATTEMPTS else DropReason.MARKED
                if reason is DropReason.RETRY or value == Role.SHADOW:
                    for target in plan.targets:
                        self._count(plan.key(target.admission._replace(drop_reason=reason)))
                    return None
        place = position(plan.salt, draw()) if plan.drawn else 0.0
        admissions = []
        mirrored = False
        for target in plan.targets:
            if place >= target.rate:
                self._count(target.not_sampled)
            elif target.state.closed:
                admissions.append(target.admission._replace(drop_reason=target.state.closed))
            else:
                admissions.append(target.admission)
                mirrored = True
        return Ticket(plan, tuple(admissions), mirrored) if admissions else None
