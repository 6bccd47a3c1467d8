"""
The live gate: one decision per call, from what is known before a byte of the request is read.

Whatever does not change from call to call stands in a ``plan``: the live path looks up and compares. Where only the
request can tell, the gate says so, and decides when it has been read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shadowmesh.model import Metadata
from shadowmesh.names import META_PREVIOUS_ATTEMPTS, META_TARGET, DropReason
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.funnel import Count
from shadowmesh.policy.marker import TELLING, refusal
from shadowmesh.policy.notice import Notice
from shadowmesh.policy.plan import NOTHING_KNOWN, Missing, Plan, Ticket, Undecided
from shadowmesh.policy.routes import Route, Routes
from shadowmesh.policy.target_state import TargetState

# Of a call that its client tries again only the first attempt is mirrored: gRPC says so with every further one, retried
# or hedged (gRFC A6). The others are a shadow's marker.
_TELLING = TELLING | {META_PREVIOUS_ATTEMPTS}


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
        known = NOTHING_KNOWN if before is None else {**before.gone, **before.states}
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
