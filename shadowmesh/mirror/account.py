"""One target's money, tokens and pairs in the engine: what it may still get, and what its calls came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shadowmesh.model import Leg
from shadowmesh.names import BudgetLimit, CallEnd, CostSource, DropReason, TimeBoxLimit
from shadowmesh.policy.budget import LOST, NOTHING, Budget, BudgetSettings, Remaining, Reservation, Usage, refused
from shadowmesh.policy.timebox import TimeBox, TimeBoxSettings, pairs_in
from shadowmesh.pricing import Pricing

_EMBEDDINGS = "embeddings"


class _Flight:
    """A call in flight: what it holds, of which budget, and what its legs came to so far."""

    __slots__ = ("budget", "held", "usage")

    def __init__(self, budget: Budget, held: Reservation) -> None:
        self.budget = budget
        self.held = held
        self.usage: Usage | None = None


class Account:
    """
    Moments are wall-clock nanoseconds.

    Raises:
        ValueError: ``state`` is none of ours.
    """

    def __init__(self, experiment: str, target: str, *, state: Mapping[str, Any]) -> None:
        self.experiment = experiment
        self.target = target
        self.told = ""
        self._state = dict(state)
        self._budget: Budget | None = None
        self._time_box: TimeBox | None = None
        self._flights: dict[int, _Flight] = {}
        self._pairs = pairs_in(self._state.get("pairs", 0))
        if "budget" in self._state:
            # Read now, whether there is a budget or not: what is damaged is not found out later.
            Budget(BudgetSettings(total=1.0), state=self._state["budget"])

    def rule(self, budget: BudgetSettings | None, time_box: TimeBoxSettings | None, part: float, now_ns: int) -> None:
        """Put these settings in force; what was spent stays spent."""
        self._state = self.state(now_ns)
        if self._time_box is not None:
            self._pairs = self._time_box.pairs
        self._time_box = None if time_box is None else TimeBox(time_box, part=part, pairs=self._pairs)
        if budget is None:
            self._budget = None
        elif self._budget is not None and self._budget.settings.currency == budget.currency:
            self._budget.adopt(budget, part)
        else:
            self._budget = Budget(budget, part=part, state=self._state.get("budget"))

    @property
    def prices(self) -> bool:
        """Whether calls must be priced."""
        return self._budget is not None and bool(self._budget.settings.money)

    @property
    def lasting(self) -> bool:
        """Whether what is counted must outlive a restart."""
        return self._budget is not None or (self._time_box is not None and self._time_box.most_pairs is not None)

    def limit(self, now_ns: int, *, flying: bool = True) -> BudgetLimit | TimeBoxLimit | None:
        """Return what keeps one more call out; without ``flying`` as if nothing were in flight."""
        outside = self._time_box.refusal(now_ns) if self._time_box is not None else None
        if outside is not None or self._budget is None:
            return outside
        return self._budget.refusal(now_ns, flying=flying)

    def enter(self, call: int) -> None:
        """Take in a call that begins; whether it fits was asked before."""
        if self._time_box is not None:
            self._time_box.count()
        if self._budget is not None:
            self._flights[call] = _Flight(self._budget, self._budget.reserve())

    def charge(self, call: int, leg: Leg, pricing: Pricing) -> None:
        """Take in what one exchange of a call came to."""
        flight = self._flights.get(call)
        if flight is not None:
            usage = _usage(leg, pricing, flight.budget.settings.currency)
            flight.usage = usage if flight.usage is None else _sum(flight.usage, usage)

    def settle(self, call: int, now_ns: int) -> None:
        """Take in that a call is over; one that nothing was heard of counts as lost."""
        flight = self._flights.pop(call, None)
        if flight is not None:
            flight.budget.settle(flight.held, flight.usage or LOST, now_ns)

    def remaining(self, now_ns: int) -> list[Remaining]:
        """Return what is left of every limit."""
        about = (self.experiment, self.target)
        found = []
        if self._budget is not None:
            currency = self._budget.settings.currency
            for limit, (amount, left) in self._budget.readings(now_ns).items():
                unit = "" if limit is BudgetLimit.TOKENS else currency
                found.append(Remaining(*about, limit.value, unit, amount, left))
        if self._time_box is not None and self._time_box.most_pairs is not None:
            left = float(self._time_box.pairs_left or 0)
            found.append(Remaining(*about, TimeBoxLimit.PAIRS.value, "", float(self._time_box.most_pairs), left))
        return found

    def state(self, now_ns: int) -> dict[str, Any]:
        """Return what must outlive this process, also of what is not limited any more."""
        state = dict(self._state)
        if self._budget is not None:
            state["budget"] = self._budget.state(now_ns)
        state["pairs"] = self._pairs if self._time_box is None else self._time_box.pairs
        return state


def drop_reason(limit: BudgetLimit | TimeBoxLimit | None) -> str:
    """Return how a call is shed that a limit keeps out."""
    if limit is None:
        return ""
    return DropReason.BUDGET.value if isinstance(limit, BudgetLimit) else DropReason.TIME_BOX.value


def _usage(leg: Leg, pricing: Pricing, currency: str) -> Usage:
    if leg.end == CallEnd.SHED or refused(leg.status, leg.message_count):
        return NOTHING
    cost = pricing.cost(leg, source=CostSource.LOCAL)
    asked, answered = leg.fields.input_tokens, leg.fields.output_tokens
    if answered is None and leg.fields.operation == _EMBEDDINGS:
        answered = 0
    return Usage(
        money=cost.amount if cost is not None and cost.currency == currency else None,
        tokens=None if asked is None or answered is None else asked + answered,
        settled=leg.complete,
    )


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        money=None if one.money is None or other.money is None else one.money + other.money,
        tokens=None if one.tokens is None or other.tokens is None else one.tokens + other.tokens,
        settled=one.settled and other.settled,
    )
