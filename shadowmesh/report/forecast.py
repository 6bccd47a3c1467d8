"""How many shadows a configuration will make of an observed load, what they cost, and when it ends by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from shadowmesh.config import Config
from shadowmesh.model import Cost, Fields, Leg
from shadowmesh.names import CallEnd, CostSource, Role
from shadowmesh.policy.budget import BudgetSettings
from shadowmesh.policy.experiment import ExperimentSettings, TargetSettings
from shadowmesh.policy.timebox import TimeBoxSettings
from shadowmesh.pricing import Pricing
from shadowmesh.report import units

SPAN = {"per_hour": "an hour", "per_day": "a day (UTC)", "total": "in all"}
"""How a limit on money is called."""
_HOUR, _DAY = 3600, 86400


@dataclass(frozen=True, slots=True)
class Load:
    """What somebody has observed: covered calls per second, and of each its tokens, its seconds and its model."""

    rate: float
    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None
    model: str | None = None


class Forecast(NamedTuple):
    """Shadows per second at one target, and their money per hour; ``None`` is unknown, never 0."""

    shadows: float
    cost_per_hour: float | None
    currency: str | None


def forecast(config: Config, target: TargetSettings, pricing: Pricing, load: Load) -> Forecast:
    """Return what one target will get, within its limits, and what that costs."""
    shadows = load.rate * target.rate * _on_share(config)
    if target.max_rate is not None:
        shadows = min(shadows, target.max_rate)
    if load.seconds is not None:
        shadows = min(shadows, target.max_in_flight / load.seconds)
    cost = _cost(pricing, target, load, shadows)
    return (
        Forecast(shadows, None, None)
        if cost is None
        else Forecast(shadows, cost.amount * shadows * _HOUR, cost.currency)
    )


def said(experiment: ExperimentSettings, target: TargetSettings, load: Load, expected: Forecast) -> Iterator[str]:
    """Return a forecast in words."""
    shadows, per_hour, currency = expected
    yield (
        f"At {load.rate:g} calls a second: {shadows:.4g} shadows a second, {shadows * _HOUR:,.0f} an hour, "
        f"{shadows * _DAY:,.0f} a day."
    )
    if per_hour is None:
        yield "What they cost is unknown: nothing prices such a call (mirror.prices, or say its tokens and seconds)."
    else:
        money = [units.money(amount, currency) for amount in (per_hour, 24 * per_hour)]
        yield f"They cost {money[0]} an hour, {money[1]} a day."
    yield from _ends(experiment.time_box, target.budget, load, expected)


def _ends(box: TimeBoxSettings | None, budget: BudgetSettings | None, load: Load, expected: Forecast) -> Iterator[str]:
    shadows, per_hour, currency = expected
    if not shadows:
        return
    if box is not None and box.pairs is not None:
        yield f"It has its {box.pairs:,} pairs after {units.elapsed(box.pairs / shadows)}."
    if budget is None:
        return
    if per_hour and currency == budget.currency:
        for limit, amount in budget.money.items():
            seconds = amount / per_hour * _HOUR
            if seconds < {"per_hour": _HOUR, "per_day": _DAY}.get(limit.value, float("inf")):
                yield f"Its budget {SPAN[limit.value]} is used up after {units.elapsed(seconds)}."
    if budget.tokens is not None and load.input_tokens is not None and load.output_tokens is not None:
        each = load.input_tokens + load.output_tokens
        if each:
            yield f"Its tokens are used up after {units.elapsed(budget.tokens / (each * shadows))}."


def _on_share(config: Config) -> float:
    guard = config.mirror.harm_guard
    return 1 - 1 / guard.one_off_in if guard.enabled else 1.0


def _cost(pricing: Pricing, target: TargetSettings, load: Load, shadows: float) -> Cost | None:
    """Return what one shadow will cost."""
    if load.seconds is not None:
        return pricing.cost(_leg(target, load, shadows, load.seconds), source=CostSource.LOCAL)
    cost, longer = (pricing.cost(_leg(target, load, shadows, age), source=CostSource.LOCAL) for age in (0.0, 1.0))
    # One that is priced by the second costs nobody knows what while nobody says how long it takes.
    return cost if cost == longer else None


def _leg(target: TargetSettings, load: Load, shadows: float, seconds: float) -> Leg:
    """Return a shadow as it will be, for whoever prices it."""
    return Leg(
        experiment="",
        pair_id="",
        role=Role.SHADOW.value,
        method="",
        trace_id=0,
        span_id=0,
        started_ns=0,
        ended_ns=round(seconds * 1e9),
        end=CallEnd.COMPLETED.value,
        target=target.name,
        # Without the seconds of a call neither they nor what runs beside it can be priced.
        concurrency=None if load.seconds is None else shadows * seconds,
        fields=Fields(
            request_model=load.model or target.transform.model,
            input_tokens=load.input_tokens,
            output_tokens=load.output_tokens,
        ),
    )
