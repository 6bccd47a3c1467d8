"""What a leg cost, and when nobody can know."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.legs import lasting, live, shadow, usage

from shadowmesh.model import Cost, Fields, Leg
from shadowmesh.names import CostSource
from shadowmesh.pricing import ListPrices, PriceSettings, Pricing, TokenPrices, bundled_list_prices

PER_MILLION = TokenPrices(input=1.0, output=10.0)


class FixedList:
    """List prices that price every model of one provider alike."""

    version = "list 1"
    currency = "USD"

    def __init__(self) -> None:
        self.asked_at: list[datetime] = []

    def amount(self, provider: str, model: str, fields: Fields, at: datetime) -> float | None:
        self.asked_at.append(at)
        return 7.0 if provider == "openai" else None


def price(leg: Leg, *entries: PriceSettings, list_prices: FixedList | None = None) -> Cost | None:
    return Pricing(entries, list_prices=list_prices).cost(leg, source=CostSource.COLLECTOR)


def amount(leg: Leg, **entry: Any) -> float | None:
    cost = price(leg, PriceSettings(**entry))
    return None if cost is None else cost.amount


def test_tokens_are_billed_per_million_with_currency_source_and_version() -> None:
    entry = PriceSettings(per_million_tokens=PER_MILLION, currency="EUR", version="2026-01")
    assert price(live(fields=usage(1_000_000, 200_000)), entry) == Cost(
        amount=3.0, currency="EUR", source="collector", pricing_version="2026-01"
    )


def test_cached_and_reasoning_tokens_are_billed_at_their_own_price_when_given() -> None:
    leg = live(fields=usage(1000, 100, cached_input_tokens=400, reasoning_output_tokens=50))
    own = TokenPrices(input=1.0, output=10.0, cached_input=0.1, reasoning_output=20.0)
    assert amount(leg, per_million_tokens=PER_MILLION) == pytest.approx((1000 + 100 * 10) / 1e6)
    assert amount(leg, per_million_tokens=own) == pytest.approx((600 + 400 * 0.1 + 50 * 10 + 50 * 20) / 1e6)


@pytest.mark.parametrize(
    "fields",
    [usage(None, 10), usage(10, None), usage(None, None), usage(10, 10, cached_input_tokens=11)],
    ids=["no input", "no output", "nothing", "more cached than read"],
)
def test_usage_that_is_missing_or_contradicts_itself_costs_unknown(fields: Fields) -> None:
    prices = TokenPrices(input=1.0, output=1.0, cached_input=0.5)
    assert amount(live(fields=fields), per_million_tokens=prices) is None


def test_a_kind_of_token_that_is_free_need_not_be_counted() -> None:
    embeddings = TokenPrices(input=1.0, output=0.0)
    assert amount(live(fields=usage(1_000_000, None)), per_million_tokens=embeddings) == 1.0


def test_seconds_are_those_of_the_call_without_the_clients_stall() -> None:
    assert amount(live(**lasting(3.0), write_stall=1.0), per_second=0.5) == 1.0


def test_accelerator_hours_are_shared_between_the_calls_in_flight() -> None:
    entry = {"per_accelerator_hour": 3.6, "accelerators": 8}
    assert amount(live(**lasting(10.0), concurrency=4.0), **entry) == pytest.approx(0.02)
    assert amount(live(**lasting(10.0), concurrency=0.5), **entry) == pytest.approx(0.08)
    assert amount(live(**lasting(10.0)), **entry) is None


def test_kinds_add_up_and_one_unknown_part_makes_the_sum_unknown() -> None:
    entry = {"per_second": 1.0, "per_million_tokens": PER_MILLION}
    assert amount(live(**lasting(1.0), fields=usage(1_000_000, 0)), **entry) == 2.0
    assert amount(live(**lasting(1.0)), **entry) is None


@pytest.mark.parametrize(
    ("condition", "leg", "holds"),
    [
        ({"target": "candidate"}, shadow(), True),
        ({"target": "candidate"}, shadow(target="control"), False),
        ({"target": "candidate"}, live(), False),
        ({"role": "live"}, live(), True),
        ({"role": "live"}, shadow(), False),
        ({"model": "llama-*"}, live(fields=usage(1, 1, request_model="llama-3")), True),
        ({"model": "llama-*"}, live(fields=usage(1, 1, request_model="qwen")), False),
        ({"model": "b"}, live(fields=usage(1, 1, request_model="a", response_model="b")), True),
        ({"model": "*"}, live(), False),
        ({"provider": "openai"}, live(fields=usage(1, 1, provider="openai")), True),
        ({"provider": "openai", "model": "x"}, live(fields=usage(1, 1, provider="openai")), False),
    ],
)
def test_an_entry_prices_the_legs_that_meet_all_its_conditions(
    condition: dict[str, Any], leg: Leg, *, holds: bool
) -> None:
    assert (amount(leg, per_second=1.0, **condition) is not None) == holds


def test_the_first_entry_that_applies_wins_even_when_it_cannot_tell() -> None:
    first, second = PriceSettings(per_million_tokens=PER_MILLION), PriceSettings(per_second=1.0)
    assert price(live(), first, second, list_prices=FixedList()) is None
    assert price(live(**lasting(0.5)), PriceSettings(model="other", per_second=9.0), second) == Cost(
        amount=0.5, currency="USD", source="collector"
    )


def test_a_cost_the_provider_stated_wins_over_every_price() -> None:
    stated = Cost(amount=42.0, currency="GBP", source="provider")
    assert price(live(cost=stated), PriceSettings(per_second=1.0)) == stated


def test_a_shed_leg_never_ran_and_has_no_cost() -> None:
    assert price(shadow(end="shed", status=None), PriceSettings(per_second=1.0)) is None


def test_list_prices_are_asked_last_at_the_time_of_the_call_and_only_for_a_known_provider_and_model() -> None:
    prices = FixedList()
    known = usage(1, 1, provider="openai", request_model="m")
    assert price(live(fields=known), list_prices=prices) == Cost(
        amount=7.0, currency="USD", source="collector", pricing_version="list 1"
    )
    assert prices.asked_at == [datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)]
    assert price(live(fields=usage(1, 1, request_model="m")), list_prices=prices) is None
    assert price(live(fields=usage(1, 1, provider="openai")), list_prices=prices) is None
    assert price(live(fields=usage(1, 1, provider="acme", request_model="m")), list_prices=prices) is None
    assert price(live(fields=known)) is None


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"per_second": -1.0},
        {"per_second": float("inf")},
        {"per_second": 1, "currency": "dollars"},
        {"per_accelerator_hour": 1, "accelerators": 0},
        {"per_second": 1, "target": "x", "role": "live"},
    ],
)
def test_an_entry_that_prices_nothing_or_contradicts_itself_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PriceSettings.model_validate(entry)


@given(st.none() | st.integers(0, 10**9), st.none() | st.integers(0, 10**9), st.none() | st.floats(1, 1e6))
def test_a_cost_is_unknown_or_a_finite_amount_that_is_not_negative(
    tokens: int | None, cached: int | None, concurrency: float | None
) -> None:
    cost = amount(
        live(fields=usage(tokens, tokens, cached_input_tokens=cached), concurrency=concurrency),
        per_million_tokens=TokenPrices(input=1.0, output=1.0, cached_input=0.0),
        per_accelerator_hour=2.0,
    )
    assert cost is None or 0 <= cost < 1e12


@pytest.fixture
def listed() -> ListPrices:
    """Return the public list, where its package is installed; it ships its data and never fetches."""
    pytest.importorskip("genai_prices")
    prices = bundled_list_prices()
    assert prices is not None
    return prices


NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "dollars"),
    [
        (usage(1_000_000, 0), 2.5),
        (usage(0, 1_000_000), 10.0),
        (usage(1_000_000, 0, cached_input_tokens=1_000_000), 1.25),
        (usage(0, 1_000_000, reasoning_output_tokens=500_000), 10.0),
    ],
    ids=["input", "output", "cached input", "reasoning is part of the output"],
)
def test_a_listed_model_has_its_list_price(listed: ListPrices, fields: Fields, dollars: float) -> None:
    assert listed.amount("openai", "gpt-4o", fields, NEW_YEAR) == pytest.approx(dollars)
    assert listed.version.startswith("genai-prices ")


def test_an_unlisted_model_or_provider_is_unknown_each_time(listed: ListPrices) -> None:
    for provider, model in [("openai", "our-own-model"), ("our-servers", "gpt-4o")] * 2:
        assert listed.amount(provider, model, usage(1, 1), NEW_YEAR) is None


@pytest.mark.parametrize("fields", [usage(1, None), usage(None, 1), usage(10, 10, cached_input_tokens=11)])
def test_half_a_usage_or_a_contradiction_has_no_list_price(listed: ListPrices, fields: Fields) -> None:
    assert listed.amount("openai", "gpt-4o", fields, NEW_YEAR) is None


def test_without_the_package_there_are_no_list_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert bundled_list_prices() is None
