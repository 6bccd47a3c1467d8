"""25. Budgets of a fleet: bounded under several replicas, over restarts and midnight; unpriced is never free."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from shadowmesh.names import BudgetLimit
from shadowmesh.policy.budget import Budget, BudgetSettings, Reservation, Usage

SECOND = 1_000_000_000
DAY = 86400 * SECOND
# 2026-03-01T00:00:00Z
MIDNIGHT = 1_772_323_200 * SECOND


class Replica:
    """One engine of a fleet: its part of the budget, its calls in flight, and its file."""

    def __init__(self, settings: BudgetSettings, part: float) -> None:
        self.settings = settings
        self.part = part
        self.budget = Budget(settings, part=part)
        self.flying: list[Reservation] = []

    def admit(self, now_ns: int, most: int) -> None:
        if len(self.flying) < most and self.budget.refusal(now_ns) is None:
            self.flying.append(self.budget.reserve())

    def settle(self, cost: float, now_ns: int) -> bool:
        if self.flying:
            self.budget.settle(self.flying.pop(0), Usage(cost, None, settled=True), now_ns)
            return True
        return False

    def restart(self, now_ns: int) -> None:
        """End without a word, and begin with what the file says; calls in flight are gone, and were paid for."""
        stored: dict[str, Any] = json.loads(json.dumps(self.budget.state(now_ns)))
        self.budget = Budget(self.settings, part=self.part, state=stored)
        self.flying.clear()


@pytest.mark.parametrize("replicas", [1, 3, 8])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_fleet_overshoots_a_day_by_no_more_than_its_calls_in_flight(replicas: int, restarts: bool) -> None:
    draw = random.Random(replicas)
    settings = BudgetSettings(per_day=200.0)
    fleet = [Replica(settings, 1 / replicas) for _ in range(replicas)]
    largest, in_flight = 4.0, 5
    spent: dict[int, float] = {}
    # From an hour before midnight to an hour after it.
    now = MIDNIGHT - 3600 * SECOND
    while now < MIDNIGHT + 3600 * SECOND:
        now += draw.randrange(2 * SECOND)
        one = draw.choice(fleet)
        if restarts and draw.random() < 0.002:
            # What flew is paid for, at most at what the largest call costs.
            spent[now // DAY] = spent.get(now // DAY, 0.0) + sum(held.money or 0.0 for held in one.flying)
            one.restart(now)
        elif draw.random() < 0.6:
            one.admit(now, in_flight)
        else:
            cost = draw.uniform(0.01, largest)
            if one.settle(cost, now):
                spent[now // DAY] = spent.get(now // DAY, 0.0) + cost
    before, after = spent[MIDNIGHT // DAY - 1], spent[MIDNIGHT // DAY]
    bound = 200 + replicas * in_flight * largest
    assert max(before, after) <= bound
    assert min(before, after) > 200 - replicas * (in_flight + 1) * largest, "and the budget is there to be used"


def test_midnight_is_that_of_utc_in_every_replica() -> None:
    fleet = [Replica(BudgetSettings(per_day=2.0), 0.5) for _ in range(2)]
    for one in fleet:
        one.admit(MIDNIGHT - 1, 1)
        one.settle(1.0, MIDNIGHT - 1)
        assert one.budget.refusal(MIDNIGHT - 1) is BudgetLimit.PER_DAY
        assert one.budget.refusal(MIDNIGHT) is None


def test_a_model_without_a_price_is_unknown_and_not_free() -> None:
    one = Replica(BudgetSettings(total=100.0), 1.0)
    one.admit(MIDNIGHT, 1)
    one.budget.settle(one.flying.pop(), Usage(None, None, settled=True), MIDNIGHT)
    assert one.budget.refusal(MIDNIGHT) is BudgetLimit.UNPRICED
