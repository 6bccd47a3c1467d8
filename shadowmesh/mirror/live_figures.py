"""What a process knows of its mirroring: what it has counted itself, and what its engines have said."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from shadowmesh.mirror.frames import Extra, Left, Lost
from shadowmesh.mirror.key_watch import KeyWatch
from shadowmesh.mirror.limits_left import LimitsLeft
from shadowmesh.names import Decision
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.draws import Drawn, DrawnKey, drawn
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.funnel import Counted, FunnelKey, LossKey, lines
from shadowmesh.policy.live_gate import LiveGate
from shadowmesh.policy.skew import KeyFigures
from shadowmesh.telemetry.counters import Tally


class LiveFigures:
    """
    One per live side; read by metrics and status, from threads of their own.

    Args:
        gate: returns the live gate in force.
        funnel: what gate and admission count.
        keys: what is seen of sampling keys.
    """

    def __init__(self, gate: Callable[[], LiveGate], funnel: Tally[Counted], keys: KeyWatch) -> None:
        self._gate = gate
        self._funnel = funnel
        self._keys = keys
        self._lost: Tally[LossKey] = Tally()
        self._left = LimitsLeft(plan.settings for plan in gate().plans.values())

    def rule(self, experiments: Iterable[ExperimentSettings]) -> None:
        """Forget what is said of limits that these experiments, which are in force now, do not have."""
        self._left.rule(experiments)

    def hear(self, frame: Extra | Lost | Left) -> None:
        """Take an engine's word; from any thread."""
        if isinstance(frame, Extra):
            # The gate saw one call; only the engine can tell how many exchanges it carried.
            for target, _, reason in frame.admissions:
                decision = Decision.DROPPED if reason else Decision.MIRRORED
                self._funnel.add(FunnelKey(frame.experiment, target, decision.value, str(reason)), frame.exchanges)
        elif isinstance(frame, Lost):
            self._lost.add(LossKey(frame.experiment, frame.target, frame.reason), frame.exchanges)
        else:
            self._left.hear(frame)

    def funnel(self) -> dict[FunnelKey, int]:
        """Return the account of every covered exchange so far."""
        return lines(self._funnel.totals())

    def draws(self) -> dict[DrawnKey, Drawn]:
        """Return how calls were drawn, of the configurations in force."""
        known = {(plan.name, plan.settings.digest) for plan in self._gate().plans.values()}
        found = drawn(self._funnel.totals())
        return {key: sums for key, sums in found.items() if (key.experiment, key.config_digest) in known}

    def lost(self) -> dict[LossKey, int]:
        """Return how many exchanges of the funnel are known to have lost their legs."""
        return self._lost.totals()

    def remaining(self) -> list[Remaining]:
        """Return what is left of every budget and time-box in force, see :class:`LimitsLeft`."""
        return self._left.totals()

    def active(self) -> dict[tuple[str, str], int]:
        """Return how many shadows run or wait now, by experiment and target."""
        return {key: state.tokens.taken for key, state in self._gate().states.items()}

    def closed(self) -> dict[tuple[str, str], str]:
        """Return why each target is closed, by experiment and target; empty where it is open."""
        return {key: state.closed for key, state in self._gate().states.items()}

    def sampling(self) -> dict[str, KeyFigures]:
        """Return how the sampling keys of each experiment come that has one."""
        return self._keys.figures(self._gate().plans.values())
