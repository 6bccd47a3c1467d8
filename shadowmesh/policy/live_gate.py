"""
The live gate: one decision per call, from what is known before a byte of the request is read.

Whatever does not change from call to call is made once, with the plan: the live path looks up and compares.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from shadowmesh.model import Metadata
from shadowmesh.names import META_PREVIOUS_ATTEMPTS, META_TARGET, Decision, DropReason
from shadowmesh.policy.conditions import Conditions
from shadowmesh.policy.experiment import ExperimentSettings, TargetSettings
from shadowmesh.policy.headers import AllowList
from shadowmesh.policy.limits import RateLimit, Tokens
from shadowmesh.policy.marker import TELLING, refusal
from shadowmesh.policy.retries import Attempts
from shadowmesh.policy.routes import Route, Routes
from shadowmesh.policy.sampling import Sampler


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
_DISABLED = frozenset((DropReason.MARKED, DropReason.RETRY, DropReason.OFF_SLOT, DropReason.HARM))
Count = Callable[[FunnelKey], None]
"""Counts one exchange."""


class TargetState:
    """What the live side knows of one target now; ``closed`` is a drop reason sent back by the engine."""

    __slots__ = ("_owed", "_settings", "closed", "pace", "tokens")

    def __init__(self, settings: TargetSettings, before: TargetState | None = None) -> None:
        """Begin; ``before`` is the state of another server, or under another cap, that had the same name."""
        # Calls of the one before are still under way: their places are not ours to give.
        self._owed = deque((None,) * (before.outstanding if before is not None else 0))
        self.tokens = Tokens(settings.max_in_flight)
        self.pace = None if settings.max_rate is None else RateLimit(settings.max_rate, settings.burst)
        self.closed = ""
        self._settings = settings

    def fits(self, settings: TargetSettings) -> bool:
        """Return whether this is the state of the same server under the same caps."""
        mine = self._settings
        return (mine.address, mine.tls, mine.max_in_flight, mine.max_rate, mine.burst) == (
            settings.address,
            settings.tls,
            settings.max_in_flight,
            settings.max_rate,
            settings.burst,
        )

    @property
    def outstanding(self) -> int:
        """How many calls under this name have not ended."""
        return self.tokens.taken + len(self._owed)

    def give(self, times: int) -> None:
        """So many calls under this name have ended."""
        for _ in range(min(times, len(self._owed))):
            try:
                self._owed.pop()
            except IndexError:
                break
            times -= 1
        self.tokens.give(times)

    def take(self, now_ns: int) -> str:
        """Take a place among the calls in flight, and return why there is none; empty where there is."""
        if not self.tokens.take():
            return DropReason.CONCURRENCY_LIMIT
        if self.pace is None or self.pace.take(now_ns):
            return ""
        self.tokens.give()
        return DropReason.RATE_LIMIT


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
        self.state = known if known is not None and known.fits(settings) else TargetState(settings, known)
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

    __slots__ = ("_mirrored", "attempts", "drawn", "headers", "name", "sampler", "settings", "states", "targets",
                 "trusting")  # fmt: skip

    def __init__(
        self,
        settings: ExperimentSettings,
        known: Mapping[tuple[str, str], TargetState] = _NOTHING_KNOWN,
        before: Plan | None = None,
    ) -> None:
        """Compile; ``before`` is the plan of the same experiment before a reload."""
        self.name = settings.name
        self.settings = settings
        self.trusting = settings.trust_marker
        self.attempts: Attempts | None = Attempts(settings.retries) if settings.retries.keys else None
        self.sampler: Sampler = Sampler(settings.name, settings.sampling)
        if before is not None:
            # What was seen of calls lately outlives a reload that asks the same of them.
            if before.settings.retries == settings.retries:
                self.attempts = before.attempts
            if before.settings.sampling == settings.sampling:
                self.sampler = before.sampler
        self.targets = tuple(
            TargetPlan(settings.name, target, known.get((settings.name, target.name))) for target in settings.targets
        )
        self.states: Mapping[str, TargetState] = {target.name: target.state for target in self.targets}
        self._mirrored = {target.name: target.mirrored for target in self.targets}
        self.drawn = any(0.0 < target.rate < 1.0 for target in self.targets)
        # One list for all targets: a key leaves the live side if any target may see it; the engine filters again
        # for each target.
        keys = tuple(key for target in settings.targets for key in target.metadata)
        # Where markers are not believed, shadows bear the ids of all a call has gone through, to end what goes round.
        self.headers = AllowList(keys, never=settings.never, passes_instances=not settings.trust_marker) or None

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
        plans = [Plan(settings, known, old.get(settings.name)) for settings in experiments]
        self.plans: dict[str, Plan] = {plan.name: plan for plan in plans}
        self.states: dict[tuple[str, str], TargetState] = {
            (plan.name, name): state for plan in plans for name, state in plan.states.items()
        }
        # Of targets that a reload has removed while calls were under way: one that comes back finds them.
        self.gone: dict[tuple[str, str], TargetState] = {
            key: state for key, state in known.items() if key not in self.states and state.outstanding
        }
        self._routes: Routes[Plan] = Routes(
            Route(settings.methods, plan, Conditions(settings.when))
            for settings, plan in zip(experiments, plans, strict=True)
        )

    def give_back(self, experiment: str, target: str, times: int) -> None:
        """So many shadow calls of a target have ended."""
        state = self.states.get((experiment, target)) or self.gone.get((experiment, target))
        if state is not None:
            state.give(times)

    def covers(self, method: str) -> bool:
        """Return whether any experiment covers ``method``."""
        return self._routes.find(method) is not None

    def decide(
        self, method: str, metadata: Metadata, draw: Callable[[], bytes], now: Callable[[], int]
    ) -> Ticket | None:
        """
        Return who takes part in this call, or ``None`` when the handler is to stay untouched.

        Args:
            draw: gives a sampling key by chance; called only when a target's rate lies strictly between 0 and 1.
            now: the monotonic clock, nanoseconds; asked only where attempts are told apart by a key.
        """
        plans = self._routes.choose(method, metadata)
        if not plans:
            return None
        plan = plans[0]
        for key, _ in metadata:
            if key in _TELLING:
                if reason := self._refusal(plan, metadata):
                    self._disabled(plan, reason)
                    return None
                break
        if plan.attempts is not None and not plan.attempts.first(method, metadata, now()):
            self._disabled(plan, DropReason.RETRY)
            return None
        place = plan.sampler.place(metadata, draw) if plan.drawn else 0.0
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

    def _refusal(self, plan: Plan, metadata: Metadata) -> str:
        if self.arrived is not None:
            for key, value in metadata:
                if key == META_TARGET and isinstance(value, str):
                    self.arrived(value)
        if any(key == META_PREVIOUS_ATTEMPTS for key, _ in metadata):
            return DropReason.RETRY
        return refusal(metadata, own=self.instance_id, trusted=plan.trusting)

    def _disabled(self, plan: Plan, reason: str) -> None:
        for target in plan.targets:
            self._count(plan.key(target.admission._replace(drop_reason=reason)))
