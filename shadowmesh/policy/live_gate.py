"""
The live gate: one decision per call, from what is known before a byte of the request is read.

Whatever does not change from call to call is made once, with the plan: the live path looks up and compares. Where only
the request can tell, the gate says so, and decides when it has been read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from shadowmesh.model import Metadata
from shadowmesh.names import META_PREVIOUS_ATTEMPTS, META_TARGET, Decision, DropReason
from shadowmesh.policy.conditions import Conditions
from shadowmesh.policy.draws import Draw
from shadowmesh.policy.experiment import ExperimentSettings, TargetSettings
from shadowmesh.policy.headers import AllowList
from shadowmesh.policy.marker import TELLING, refusal
from shadowmesh.policy.notice import Notice
from shadowmesh.policy.retries import Attempts
from shadowmesh.policy.routes import Route, Routes
from shadowmesh.policy.sampling import Sampler
from shadowmesh.policy.target_state import TargetState


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


# Of a call that its client tries again only the first attempt is mirrored: gRPC says so with every further one, retried
# or hedged (gRFC A6). The others are a shadow's marker.
_TELLING = TELLING | {META_PREVIOUS_ATTEMPTS}
_DISABLED = frozenset(
    (DropReason.MARKED, DropReason.RETRY, DropReason.OTHER_MODEL, DropReason.OFF_SLOT, DropReason.HARM)
)
Counted = FunnelKey | Draw
"""A line of the funnel, or how a call was drawn: one that was not taken is its ``not_sampled``, see :func:`lines`."""
Count = Callable[[Counted], None]
"""Counts one exchange."""
Missing = Callable[[str], None]
"""Counts a call without the sampling key of this experiment; from any thread that samples."""


def lines(counted: Mapping[Counted, int]) -> dict[FunnelKey, int]:
    """Return the lines of the funnel out of what a gate has counted."""
    found: dict[FunnelKey, int] = {}
    for key, times in counted.items():
        if isinstance(key, FunnelKey):
            line = key
        elif not key.taken:
            line = FunnelKey(key.experiment, key.target, Decision.NOT_SAMPLED.value, "")
        else:
            continue
        found[line] = found.get(line, 0) + times
    return found


_NOTHING_KNOWN: Mapping[tuple[str, str], TargetState] = {}


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
        known: Mapping[tuple[str, str], TargetState] = _NOTHING_KNOWN,
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
        missing: Missing | None = None,
        before: LiveGate | None = None,
    ) -> None:
        """
        Compile the experiments; ``before`` is the gate before a reload, whose state is kept where it still fits.

        Attributes:
            instance_id: what our own shadows bear, empty until it is known.
            arrived: told of the target that a shadow call on a covered method was made for, from any thread.
        """
        self._count = count
        self.arrived: Callable[[str], object] | None = None if before is None else before.arrived
        self.instance_id: str = "" if before is None else before.instance_id
        known = _NOTHING_KNOWN if before is None else {**before.gone, **before.states}
        old: Mapping[str, Plan] = {} if before is None else before.plans
        plans = [Plan(settings, known, old.get(settings.name), missing) for settings in experiments]
        self.plans: dict[str, Plan] = {plan.name: plan for plan in plans}
        self.states: dict[tuple[str, str], TargetState] = {
            (plan.name, name): state for plan in plans for name, state in plan.states.items()
        }
        # Of targets that a reload has removed while calls were under way: one that comes back finds them.
        self.gone: dict[tuple[str, str], TargetState] = {
            key: state for key, state in known.items() if key not in self.states and state.outstanding
        }
        self._routes: Routes[Plan] = Routes(Route(plan.settings.methods, plan, plan.when) for plan in plans)

    def give_back(self, experiment: str, target: str, times: int) -> None:
        """So many shadow calls of a target have ended."""
        state = self.states.get((experiment, target)) or self.gone.get((experiment, target))
        if state is not None:
            state.give(times)

    def covers(self, method: str) -> bool:
        """Return whether any experiment covers ``method``."""
        return self._routes.find(method) is not None

    # Whole, though long: a live call pays for every further function.
    def decide(  # noqa: C901, PLR0912
        self,
        method: str,
        metadata: Metadata,
        draw: Callable[[], bytes],
        now: Callable[[], int],
        plan: Plan | None = None,
        place: Callable[[], float] | None = None,
    ) -> Ticket | None:
        """
        Return who takes part in this call, or ``None`` when the handler is to stay untouched.

        Where the request has to be read first, the ticket says so and nothing is counted yet; then it is asked again.

        Args:
            draw: gives a sampling key by chance; called only when a target's rate lies strictly between 0 and 1.
            now: the monotonic clock, nanoseconds; asked only where attempts are told apart by a key.
            plan: whose call it is, when that is known.
            place: gives the call's place in [0, 1), when the request was read for it; called as ``draw`` is.
        """
        if plan is None:
            plans = self._routes.choose(method, metadata)
            if not plans:
                return None
            plan = plans[0]
            # Where nobody would get a shadow nothing is worth reading: such calls are the first plan's.
            if plan.asks and any(one.open for one in plans) and not self._refused_by_all(plans, metadata):
                return Ticket(plan, (), True, Undecided(plans, method, metadata, Notice()))
        for key, _ in metadata:
            if key in _TELLING:
                if reason := self._refusal(plan, metadata):
                    self.disable(plan, reason)
                    return None
                break
        if plan.attempts is not None and not plan.attempts.first(method, metadata, now()):
            self.disable(plan, DropReason.RETRY)
            return None
        at = 0.0
        if plan.drawn:
            at = plan.sampler.place(metadata, draw) if place is None else place()
        admissions = []
        mirrored = False
        for target in plan.targets:
            if at >= target.rate:
                self._count(target.not_sampled)
                continue
            if target.taken is not None:
                self._count(target.taken)
            if target.state.closed:
                admissions.append(target.admission._replace(drop_reason=target.state.closed))
            else:
                admissions.append(target.admission)
                mirrored = True
        # Made of a tuple, which takes half as long as naming its fields does.
        return Ticket._make((plan, tuple(admissions), mirrored, None)) if admissions else None

    def disable(self, plan: Plan, reason: str) -> None:
        """Count a call that was never considered, for ``reason``, at every target of a plan."""
        for target in plan.targets:
            self._count(plan.key(target.admission._replace(drop_reason=reason)))

    def states_for(self, plan: Plan) -> Mapping[str, TargetState]:
        """
        Return the states of a plan's targets. Where a reload has put another server under a name meanwhile, it is that
        one's: it gets the shadow, and its place is given back.
        """
        now = self.plans.get(plan.name)
        return plan.states if now is None or now is plan else {**plan.states, **now.states}

    def told(self, metadata: Metadata) -> None:
        """Say of a shadow call that it has arrived, and which target it was made for."""
        if self.arrived is not None:
            for key, value in metadata:
                if key == META_TARGET and isinstance(value, str):
                    self.arrived(value)

    def _refused_by_all(self, plans: tuple[Plan, ...], metadata: Metadata) -> bool:
        for key, _ in metadata:
            if key in _TELLING:
                return all(self._why_refused(plan, metadata) for plan in plans)
        return False

    def _refusal(self, plan: Plan, metadata: Metadata) -> str:
        self.told(metadata)
        return self._why_refused(plan, metadata)

    def _why_refused(self, plan: Plan, metadata: Metadata) -> str:
        if any(key == META_PREVIOUS_ATTEMPTS for key, _ in metadata):
            return DropReason.RETRY
        return refusal(metadata, own=self.instance_id, trusted=plan.trusting)
