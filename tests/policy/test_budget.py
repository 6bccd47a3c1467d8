"""A budget is overshot by no more than is said, is not fooled by the clock, and never takes the unknown for nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadowmesh.names import BudgetLimit
from shadowmesh.policy.budget import LOST, NOTHING, Budget, BudgetSettings, Reservation, Usage, refused

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
# 2026-03-01T00:00:00Z
MIDNIGHT = 1_772_323_200 * SECOND
UNKNOWN = Usage(None, None, settled=True)


def budget(part: float = 1.0, state: dict[str, Any] | None = None, **settings: Any) -> Budget:
    return Budget(BudgetSettings.model_validate(settings), part=part, state=state)


def money(amount: float) -> Usage:
    return Usage(amount, None, settled=True)


def spend(account: Budget, amount: float, now_ns: int = MIDNIGHT) -> None:
    """Make one whole call."""
    assert account.refusal(now_ns) is None
    account.settle(account.reserve(), money(amount), now_ns)


# --- limits -------------------------------------------------------------------------------------------------------


def test_what_fits_is_admitted_and_what_does_not_is_not() -> None:
    account = budget(total=1.0)
    for _ in range(4):
        spend(account, 0.25)
    assert account.refusal(MIDNIGHT) is BudgetLimit.TOTAL
    assert account.readings(MIDNIGHT)[BudgetLimit.TOTAL] == (1.0, 0.0)


def test_calls_in_flight_hold_what_the_largest_of_late_has_cost() -> None:
    account = budget(total=1.0)
    spend(account, 0.3)
    first, second = account.reserve(), account.reserve()
    assert account.refusal(MIDNIGHT) is BudgetLimit.TOTAL, "0.3 spent and twice 0.3 held leave 0.1"
    assert account.refusal(MIDNIGHT, flying=False) is None
    account.settle(first, money(0.1), MIDNIGHT)
    assert account.refusal(MIDNIGHT) is None
    account.settle(second, money(0.1), MIDNIGHT)
    assert account.readings(MIDNIGHT)[BudgetLimit.TOTAL].left == pytest.approx(0.5)


def test_calls_go_one_at_a_time_until_the_cost_of_one_is_known() -> None:
    account = budget(total=1.0)
    held = account.reserve()
    assert held == Reservation(None, None)
    assert account.refusal(MIDNIGHT) is BudgetLimit.TOTAL
    account.settle(held, LOST, MIDNIGHT)
    held = account.reserve()
    assert account.refusal(MIDNIGHT) is BudgetLimit.TOTAL, "nothing is known yet"
    account.settle(held, money(0.1), MIDNIGHT)
    assert account.refusal(MIDNIGHT) is None
    assert account.readings(MIDNIGHT)[BudgetLimit.TOTAL].left == pytest.approx(0.8), "the lost one counts as well"


def test_a_call_larger_than_the_whole_limit_does_not_end_mirroring_for_ever() -> None:
    account = budget(per_hour=1.0)
    spend(account, 3.0)
    assert account.refusal(MIDNIGHT) is BudgetLimit.PER_HOUR
    spend(account, 3.0, MIDNIGHT + HOUR)
    assert account.refusal(MIDNIGHT + HOUR) is BudgetLimit.PER_HOUR


def test_one_dear_call_is_forgotten_after_many_cheap_ones() -> None:
    account = budget(total=20.0)
    spend(account, 5.0)
    for _ in range(128):
        spend(account, 0.01)
    for _ in range(100):
        assert account.refusal(MIDNIGHT) is None
        account.reserve()


def test_tokens_are_limited_beside_money() -> None:
    account = budget(tokens=100, total=1.0)
    account.settle(account.reserve(), Usage(0.01, 60, settled=True), MIDNIGHT)
    assert account.refusal(MIDNIGHT) is BudgetLimit.TOKENS
    assert account.readings(MIDNIGHT)[BudgetLimit.TOKENS] == (100, 40)


def test_where_only_tokens_are_limited_nobody_asks_for_a_price() -> None:
    account = budget(tokens=100)
    account.settle(account.reserve(), Usage(None, 10, settled=True), MIDNIGHT)
    assert account.refusal(MIDNIGHT) is None


def test_a_part_of_a_budget_is_a_part_of_every_limit() -> None:
    readings = budget(0.25, per_hour=1.0, per_day=8.0, total=100.0, tokens=1000).readings(MIDNIGHT)
    assert {limit.value: reading.limit for limit, reading in readings.items()} == {
        "per_hour": 0.25, "per_day": 2.0, "total": 25.0, "tokens": 250.0,
    }  # fmt: skip


# --- the clock ----------------------------------------------------------------------------------------------------


def test_an_hour_ends_with_the_hour_and_a_day_at_midnight_utc() -> None:
    account = budget(per_hour=1.0, per_day=2.0)
    late = MIDNIGHT + 22 * HOUR
    spend(account, 1.0, late)
    assert account.refusal(late + HOUR - 1) is BudgetLimit.PER_HOUR
    spend(account, 1.0, late + HOUR)
    assert account.refusal(MIDNIGHT + DAY - 1) in (BudgetLimit.PER_HOUR, BudgetLimit.PER_DAY)
    assert account.readings(MIDNIGHT + DAY - 1)[BudgetLimit.PER_DAY].left == 0
    assert account.refusal(MIDNIGHT + DAY) is None
    assert account.readings(MIDNIGHT + DAY) == {BudgetLimit.PER_HOUR: (1.0, 1.0), BudgetLimit.PER_DAY: (2.0, 2.0)}


def test_a_call_counts_in_the_hour_it_is_settled_in() -> None:
    account = budget(per_hour=1.0)
    spend(account, 0.4)
    held = account.reserve()
    assert account.readings(MIDNIGHT + HOUR)[BudgetLimit.PER_HOUR].left == pytest.approx(0.6), "it is still held"
    account.settle(held, money(0.5), MIDNIGHT + HOUR)
    assert account.readings(MIDNIGHT + HOUR)[BudgetLimit.PER_HOUR].left == pytest.approx(0.5)


@pytest.mark.parametrize("back", [1, HOUR // 2, HOUR, 30 * HOUR, 400 * DAY])
def test_a_clock_that_is_set_back_brings_no_money_back(back: int) -> None:
    account = budget(per_hour=1.0, per_day=1.0, total=5.0)
    spend(account, 1.0, MIDNIGHT)
    assert account.refusal(MIDNIGHT - back) is BudgetLimit.PER_HOUR
    assert account.refusal(MIDNIGHT) is not None or back > HOUR


def test_a_clock_that_was_a_year_ahead_for_a_moment_does_not_stop_the_hours() -> None:
    account = budget(per_hour=1.0)
    spend(account, 1.0, MIDNIGHT + 365 * DAY)
    assert account.refusal(MIDNIGHT) is BudgetLimit.PER_HOUR
    assert account.refusal(MIDNIGHT + HOUR) is None


# --- what is not known --------------------------------------------------------------------------------------------


def test_a_call_that_ended_well_and_has_no_price_blocks() -> None:
    account = budget(total=100.0)
    spend(account, 1.0)
    account.settle(account.reserve(), UNKNOWN, MIDNIGHT)
    assert account.refusal(MIDNIGHT) is BudgetLimit.UNPRICED
    assert account.readings(MIDNIGHT)[BudgetLimit.TOTAL].left == 98, "and it counts as the largest of late, not as 0"


def test_a_new_configuration_lifts_the_block_and_keeps_what_was_spent() -> None:
    account = budget(total=100.0)
    spend(account, 1.0)
    account.settle(account.reserve(), UNKNOWN, MIDNIGHT)
    account.adopt(BudgetSettings(total=50.0), 1.0)
    assert account.refusal(MIDNIGHT) is None
    assert account.readings(MIDNIGHT)[BudgetLimit.TOTAL] == (50, 48)


def test_an_unpriced_call_counts_as_the_fallback_says() -> None:
    account = budget(total=1.0, tokens=1000, unpriced={"per_call": 0.2, "tokens": 300})
    account.settle(account.reserve(), UNKNOWN, MIDNIGHT)
    assert account.readings(MIDNIGHT) == {BudgetLimit.TOTAL: (1.0, 0.8), BudgetLimit.TOKENS: (1000, 700)}
    assert account.refusal(MIDNIGHT) is None


def test_a_call_that_broke_off_counts_as_the_largest_of_late() -> None:
    account = budget(total=1.0)
    spend(account, 0.1)
    spend(account, 0.3)
    account.settle(account.reserve(), LOST, MIDNIGHT)
    assert account.readings(MIDNIGHT)[BudgetLimit.TOTAL].left == pytest.approx(0.3)
    assert account.refusal(MIDNIGHT) is None, "it does not block"


def test_a_call_that_was_refused_costs_nothing() -> None:
    account = budget(total=1.0, unpriced={"per_call": 0.2})
    for _ in range(100):
        account.settle(account.reserve(), NOTHING, MIDNIGHT)
    assert account.readings(MIDNIGHT)[BudgetLimit.TOTAL].left == 1.0


@pytest.mark.parametrize(
    ("status", "answers", "free"),
    [
        ("UNAVAILABLE", 0, True),
        ("RESOURCE_EXHAUSTED", 0, True),
        ("INVALID_ARGUMENT", 0, True),
        ("UNAVAILABLE", 3, False),
        ("DEADLINE_EXCEEDED", 0, False),
        ("CANCELLED", 0, False),
        ("INTERNAL", 0, False),
        ("OK", 0, False),
        (None, 0, False),
    ],
)
def test_refused_is_what_a_backend_did_not_work_on(status: str | None, answers: int, free: bool) -> None:
    assert refused(status, answers) is free


# --- over a restart -----------------------------------------------------------------------------------------------


def test_what_was_spent_outlives_a_restart_and_what_was_in_flight_counts_as_spent() -> None:
    account = budget(per_hour=1.0, per_day=2.0, total=10.0, tokens=100)
    account.settle(account.reserve(), Usage(0.25, 10, settled=True), MIDNIGHT)
    account.reserve()
    after = budget(per_hour=1.0, per_day=2.0, total=10.0, tokens=100, state=account.state(MIDNIGHT))
    assert {limit: reading.left for limit, reading in after.readings(MIDNIGHT).items()} == {
        BudgetLimit.PER_HOUR: 0.5, BudgetLimit.PER_DAY: 1.5, BudgetLimit.TOTAL: 9.5, BudgetLimit.TOKENS: 80,
    }  # fmt: skip
    assert after.reserve() == Reservation(0.25, 10), "and what a call costs is still known"


def test_a_call_in_flight_of_which_nothing_is_known_is_remembered() -> None:
    account = budget(total=10.0)
    account.reserve()
    after = budget(total=10.0, state=account.state(MIDNIGHT))
    spend(after, 0.5)
    assert after.readings(MIDNIGHT)[BudgetLimit.TOTAL].left == 9.0


def test_after_a_restart_in_another_hour_only_the_hour_is_new() -> None:
    account = budget(per_hour=1.0, total=10.0)
    spend(account, 1.0)
    after = budget(per_hour=1.0, total=10.0, state=account.state(MIDNIGHT))
    assert after.readings(MIDNIGHT + HOUR) == {BudgetLimit.PER_HOUR: (1.0, 1.0), BudgetLimit.TOTAL: (10.0, 9.0)}


@pytest.mark.parametrize("back", [1, HOUR, 30 * HOUR])
def test_a_restart_under_a_clock_that_was_set_back_brings_no_money_back(back: int) -> None:
    account = budget(per_hour=1.0, per_day=1.0, total=5.0)
    spend(account, 1.0)
    after = budget(per_hour=1.0, per_day=1.0, total=5.0, state=account.state(MIDNIGHT))
    assert after.refusal(MIDNIGHT - back) is BudgetLimit.PER_HOUR
    assert after.readings(MIDNIGHT - back)[BudgetLimit.TOTAL].left == 4.0


def test_after_a_restart_on_another_day_the_day_is_new_and_what_was_spent_in_all_is_not() -> None:
    account = budget(per_day=1.0, total=10.0, tokens=100)
    account.settle(account.reserve(), Usage(1.0, 60, settled=True), MIDNIGHT)
    after = budget(per_day=1.0, total=10.0, tokens=100, state=account.state(MIDNIGHT + DAY - 1))
    assert after.refusal(MIDNIGHT + DAY - 1) is BudgetLimit.PER_DAY
    assert {limit.value: reading.left for limit, reading in after.readings(MIDNIGHT + DAY).items()} == {
        "per_day": 1.0, "total": 9.0, "tokens": 40,
    }  # fmt: skip


def test_money_of_another_currency_is_another_account() -> None:
    account = budget(total=10.0)
    spend(account, 1.0)
    after = budget(total=10.0, currency="EUR", state=account.state(MIDNIGHT))
    assert after.readings(MIDNIGHT)[BudgetLimit.TOTAL].left == 10.0


@pytest.mark.parametrize(
    "change",
    [
        lambda money: money.update(spent={"total": [0, -1.0]}),
        lambda money: money.update(spent={"total": [0, float("nan")]}),
        lambda money: money.update(spent={"total": [0, "much"]}),
        lambda money: money.update(spent={"total": [0]}),
        lambda money: money.update(spent={"total": 4}),
        lambda money: money.update(unknown=-1),
        lambda money: money.update(unknown=True),
        lambda money: money.update(largest=None),
    ],
)
def test_a_state_that_is_none_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    state = budget(total=1.0).state(MIDNIGHT)
    change(state["money"])
    with pytest.raises(ValueError, match=r"not a|an account"):
        budget(total=1.0, state=state)


# --- the bound ----------------------------------------------------------------------------------------------------

# Integers of cents, so that sums are exact.
COSTS = st.one_of(st.none(), st.integers(0, 50).map(float))
STEPS = st.one_of(
    st.just("admit"),
    st.tuples(st.integers(0, 30), COSTS, st.booleans()),
    st.integers(0, 3 * HOUR),
)


@given(st.lists(STEPS, max_size=150), st.integers(1, 300).map(float), st.sampled_from(["per_hour", "per_day", "total"]))
def test_a_limit_is_overshot_by_at_most_the_calls_in_flight_times_the_largest_call(
    steps: list[Any], limit: float, which: str
) -> None:
    settings: dict[str, Any] = {which: limit, "unpriced": {"per_call": 7}}
    account = budget(**settings)
    width = {"per_hour": HOUR, "per_day": DAY, "total": 1 << 62}[which]
    now = MIDNIGHT
    flying: list[Reservation] = []
    most, largest, spent = 0, 0.0, {now // width: 0.0}
    for step in steps:
        if step == "admit":
            if account.refusal(now) is None:
                flying.append(account.reserve())
                most = max(most, len(flying))
        elif isinstance(step, tuple):
            place, cost, settled = step
            if flying:
                left = account.readings(now)
                account.settle(flying.pop(place % len(flying)), Usage(cost, None, settled=settled), now)
                charged = cost if cost is not None else 7.0 if settled or not largest else largest
                largest = max(largest, charged)
                spent[now // width] = spent.get(now // width, 0.0) + charged
                assert left
        else:
            now += step
        assert max(spent.values()) <= limit + most * largest
        reading = next(iter(account.readings(now).values()))
        # What is said to be left is there: spent of this period, and what flies, is in it.
        assert reading.left <= max(limit - spent.get(now // width, 0.0), 0.0)


@given(st.lists(st.tuples(st.booleans(), st.one_of(st.none(), st.integers(1, 9).map(float))), max_size=200))
def test_calls_of_unknown_cost_before_the_first_known_one_are_in_the_bound(steps: list[tuple[bool, Any]]) -> None:
    account = budget(total=50.0)
    flying: list[Reservation] = []
    most, blind, known, largest = 0, 0, False, 0.0
    for admit, cost in steps:
        if admit and account.refusal(MIDNIGHT) is None:
            flying.append(account.reserve())
            most = max(most, len(flying))
        elif flying:
            account.settle(flying.pop(), Usage(cost, None, settled=False), MIDNIGHT)
            blind += cost is None and not known
            known, largest = known or cost is not None, max(largest, cost or 0.0)
    stored = account.state(MIDNIGHT)["money"]["spent"]["total"][1]
    assert stored <= 50.0 + (most + blind) * largest + len(flying) * largest


# --- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({}, ()),
        ({"currency": "USD"}, ()),
        ({"per_hour": 0}, ("per_hour",)),
        ({"per_day": -1}, ("per_day",)),
        ({"total": float("inf")}, ("total",)),
        ({"tokens": 1.5}, ("tokens",)),
        ({"total": 1, "currency": "dollars"}, ("currency",)),
        ({"total": 1, "pre_hour": 2}, ("pre_hour",)),
        ({"tokens": 5, "unpriced": {"per_call": 1}}, ()),
    ],
)
def test_a_wrong_budget_names_its_key(settings: dict[str, Any], place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        BudgetSettings.model_validate(settings)
    assert caught.value.errors()[0]["loc"] == place


@pytest.mark.parametrize("replicas", [1, 3, 7])
def test_the_parts_of_all_replicas_are_the_whole_and_one_that_is_alone_gets_no_more_than_its_own(replicas: int) -> None:
    fleet = [budget(1 / replicas, total=21.0) for _ in range(replicas)]
    while fleet[0].refusal(MIDNIGHT) is None:
        spend(fleet[0], 0.1)
    assert fleet[0].readings(MIDNIGHT)[BudgetLimit.TOTAL].left < 0.1
    assert sum(one.readings(MIDNIGHT)[BudgetLimit.TOTAL].limit for one in fleet) == pytest.approx(21.0)
    assert all(one.readings(MIDNIGHT)[BudgetLimit.TOTAL].left == 21.0 / replicas for one in fleet[1:])


@pytest.mark.parametrize("unpriced", ["free", 0, {"per_call": 0}, {}])
def test_an_unpriced_call_is_never_free(unpriced: Any) -> None:
    with pytest.raises(ValidationError):
        BudgetSettings.model_validate({"total": 1, "unpriced": unpriced})
