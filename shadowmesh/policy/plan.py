"""
An experiment, compiled for the live path, and what the gate can say of a call by it.

Whatever does not change from call to call is made here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from shadowmesh.model import Metadata
from shadowmesh.names import Decision, DropReason
from shadowmesh.policy.conditions import Conditions
from shadowmesh.policy.draws import Draw
from shadowmesh.policy.experiment import ExperimentSettings, TargetSettings
from shadowmesh.policy.funnel import Counted, FunnelKey
from shadowmesh.policy.headers import AllowList
from shadowmesh.policy.notice import Notice
from shadowmesh.policy.retries import Attempts
from shadowmesh.policy.sampling import Sampler
from shadowmesh.policy.target_state import TargetState

_DISABLED = frozenset(
    (DropReason.MARKED, DropReason.RETRY, DropReason.OTHER_MODEL, DropReason.OFF_SLOT, DropReason.HARM)
)
Missing = Callable[[str], None]
"""Counts a call without the sampling key of this experiment; from any thread that samples."""
NOTHING_KNOWN: Mapping[tuple[str, str], TargetState] = {}
"""The states of targets before there are any."""


class Admission(NamedTuple):
    """One sampled target of an exchange; a ``drop_reason`` says that its shadow is shed."""

    target: str
    probability: float
    drop_reason: str = ""


class TargetPlan:
    """One target, compiled for the live path."""

    __slots__ = ("admission", "mirrored", "name", "not_sampled", "rate", "state", "taken")

    def __init__(
        self, experiment: ExperimentSettings, settings: TargetSettings, known: TargetState | None, *, keyed: bool
    ) -> None:
        """
        Compile.

        Args:
            keyed: whether calls that share a key are sampled alike.

        Attributes:
            not_sampled: what counts a call that passes by.
            taken: what counts one that is taken, where each is drawn by itself.
        """
        self.name = settings.name
        self.rate = settings.rate
        self.state = known if known is not None and known.fits(settings) else TargetState(settings, known)
        self.admission = Admission(settings.name, settings.rate)
        # Plain strings: an enum's hash is a Python function, and these are looked up once per call.
        about = (experiment.name, settings.name)
        self.mirrored = FunnelKey(*about, Decision.MIRRORED.value, "")
        self.not_sampled: Counted = FunnelKey(*about, Decision.NOT_SAMPLED.value, "")
        self.taken: Draw | None = None
        if 0.0 < settings.rate < 1.0 and not keyed:
            self.taken = Draw(*about, experiment.digest, settings.rate, taken=True)
            self.not_sampled = self.taken._replace(taken=False)


class Undecided(NamedTuple):
    """
    A call of which only the request tells whose it is, or whether it is sampled; it is tapped until that is read.

    ``plans`` are those whose call it may be, in order. ``unwanted`` is given when nobody wants what passes.
    """

    plans: tuple[Plan, ...]
    method: str
    metadata: Metadata
    unwanted: Notice


class Ticket(NamedTuple):
    """
    A call that is sampled for at least one target: by which experiment, who takes part, and whether any shadow is
    to be called as far as is known yet. Of one that is ``undecided`` only the first of its plans is known.
    """

    plan: Plan
    admissions: tuple[Admission, ...]
    mirrored: bool
    undecided: Undecided | None = None


class Plan:
    """An experiment, compiled for the live path."""

    __slots__ = ("_mirrored", "asks", "attempts", "drawn", "headers", "name", "sampler", "settings",
                 "states", "targets", "trusting", "when")  # fmt: skip

    def __init__(
        self,
        settings: ExperimentSettings,
        known: Mapping[tuple[str, str], TargetState] = NOTHING_KNOWN,
        before: Plan | None = None,
        missing: Missing | None = None,
    ) -> None:
        """
        Compile; ``before`` is the plan of the same experiment before a reload.

        Attributes:
            drawn: whether any target takes some calls and not others.
            asks: whether the request has to be read to tell if a call is this experiment's, or sampled.
        """
        self.name = settings.name
        self.settings = settings
        self.trusting = settings.trust_marker
        self.when = Conditions(settings.when)
        self.attempts: Attempts | None = Attempts(settings.retries) if settings.retries.keys else None
        self.sampler: Sampler = Sampler(
            settings.name, settings.sampling, missing=None if missing is None else partial(missing, settings.name)
        )
        if before is not None:
            # What was seen of calls lately outlives a reload that asks the same of them.
            if before.settings.retries == settings.retries:
                self.attempts = before.attempts
            if before.settings.sampling == settings.sampling:
                self.sampler = before.sampler
        self.targets = tuple(
            TargetPlan(settings, target, known.get((settings.name, target.name)), keyed=self.sampler.keyed)
            for target in settings.targets
        )
        self.states: Mapping[str, TargetState] = {target.name: target.state for target in self.targets}
        self._mirrored = {target.name: target.mirrored for target in self.targets}
        self.drawn = any(0.0 < target.rate < 1.0 for target in self.targets)
        self.asks = self.when.reads_model or (self.drawn and self.sampler.field is not None)
        # One list for all targets: a key leaves the live side if any target may see it; the engine filters again
        # for each target.
        keys = tuple(key for target in settings.targets for key in target.metadata)
        # Where markers are not believed, shadows bear the ids of all a call has gone through, to end what goes round.
        self.headers = AllowList(keys, never=settings.never, passes_instances=not settings.trust_marker) or None

    @property
    def open(self) -> bool:
        """Whether any target takes calls now."""
        return any(target.rate > 0.0 and not target.state.closed for target in self.targets)

    def key(self, admission: Admission) -> FunnelKey:
        """Return the line of the funnel that an exchange with this admission belongs to."""
        if not admission.drop_reason:
            return self._mirrored[admission.target]
        decision = Decision.DISABLED if admission.drop_reason in _DISABLED else Decision.DROPPED
        return FunnelKey(self.name, admission.target, decision.value, str(admission.drop_reason))
