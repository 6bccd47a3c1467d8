"""What a configuration will do, in words, and what it will cost at a rate of calls that somebody has observed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from shadowmesh.config import Config
from shadowmesh.mirror.judged_experiment import JudgedExperimentSettings
from shadowmesh.names import TargetKind
from shadowmesh.policy.budget import BudgetSettings, FallbackSettings
from shadowmesh.policy.experiment import ExperimentSettings, OnLiveCancel, TargetSettings
from shadowmesh.policy.sampling import SamplingKey
from shadowmesh.policy.timebox import TimeBoxSettings
from shadowmesh.policy.warm_up import WarmUpSettings
from shadowmesh.pricing import Pricing
from shadowmesh.report import explain_policies, units
from shadowmesh.report.explain_criteria import of_criteria
from shadowmesh.report.forecast import SPAN, Load, forecast, said

SCHEMA = "shadowmesh.explain/1"
# What has sentences of its own; every other key that was set is listed.
_TOLD_OF_EXPERIMENTS = explain_policies.TOLD_OF_EXPERIMENTS | {
    "name", "methods", "preset", "time_box", "targets", "enabled", "criteria",
}  # fmt: skip
_TOLD_OF_TARGETS = explain_policies.TOLD_OF_TARGETS | {
    "name", "kind", "address", "rate", "max_rate", "deadline", "max_in_flight", "on_live_cancel", "breaker", "budget",
    "enabled", "warm_up",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Explained:
    """A target: what will be done, and at a load shadows per second and money per hour; ``None`` is unknown."""

    name: str
    sentences: tuple[str, ...]
    shadows_per_second: float | None = None
    cost_per_hour: float | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment: what it covers, and its targets."""

    name: str
    sentences: tuple[str, ...]
    targets: tuple[Explained, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A whole configuration; ``sentences`` are about all experiments."""

    experiments: tuple[Experiment, ...]
    sentences: tuple[str, ...]
    schema: str = SCHEMA


def explain(config: Config, pricing: Pricing, load: Load | None = None) -> Explanation:
    """
    Return what the interceptor will do.

    Args:
        pricing: prices shadows, as the mirror will.
        load: what live calls are like; without it nothing is said of rates and costs.
    """
    experiments = [
        Experiment(
            experiment.name,
            tuple(_of_experiment(experiment)),
            tuple(_target(config, experiment, target, pricing, load) for target in experiment.targets),
        )
        for experiment in config.experiments
    ]
    return Explanation(tuple(experiments), tuple(_of_all(config)))


def lines(explanation: Explanation) -> Iterator[str]:
    """Return the explanation as lines of text."""
    for experiment in explanation.experiments:
        yield f"experiment {experiment.name}"
        yield from (f"  {sentence}" for sentence in experiment.sentences)
        for target in experiment.targets:
            yield f"  {target.name}"
            yield from (f"    {sentence}" for sentence in target.sentences)
    if not explanation.experiments:
        yield "Nothing is mirrored: there is no experiment."
    yield "everywhere"
    yield from (f"  {sentence}" for sentence in explanation.sentences)


def _of_experiment(experiment: JudgedExperimentSettings) -> Iterator[str]:
    if not experiment.enabled:
        yield "It is switched off: nothing below happens."
    preset = f", with the defaults of the preset {experiment.preset}" if experiment.preset else ""
    yield f"It mirrors calls of {', '.join(experiment.methods)}{preset}."
    yield from explain_policies.of_experiment(experiment)
    yield from _of_requests(experiment)
    if experiment.time_box is not None:
        yield f"It mirrors {_when(experiment.time_box)}, and then stops by itself."
    yield from of_criteria(experiment)
    yield from _others(experiment, _TOLD_OF_EXPERIMENTS)


def _of_requests(experiment: ExperimentSettings) -> Iterator[str]:
    told, by = [], experiment.sampling.by
    if experiment.when.models:
        told.append("which model is asked for")
    if isinstance(by, SamplingKey) and by.field and any(0 < target.rate < 1 for target in experiment.targets):
        told.append(f"the {by.field} that calls are sampled by")
    if told:
        yield (
            f"Only a request tells {' and '.join(told)}: every call that it covers is tapped until its request is "
            "read, whether it is mirrored then or not."
        )


def _when(box: TimeBoxSettings) -> str:
    parts = []
    if box.start is not None:
        parts.append(f"from {box.start.isoformat()} on")
    if box.end is not None:
        parts.append(f"until {box.end.isoformat()}")
    if box.pairs is not None:
        parts.append(f"at most {box.pairs:,} pairs to each target")
    return ", ".join(parts)


def _target(
    config: Config, experiment: ExperimentSettings, target: TargetSettings, pricing: Pricing, load: Load | None
) -> Explained:
    sentences = list(_of_target(target))
    if load is None:
        return Explained(target.name, tuple(sentences))
    expected = forecast(config, target, pricing, load)
    sentences += said(experiment, target, load, expected)
    return Explained(target.name, tuple(sentences), *expected)


def _of_target(target: TargetSettings) -> Iterator[str]:
    if not target.enabled:
        yield "It is switched off: nothing below happens."
    what = "the live model again, for the noise floor" if target.kind is TargetKind.CONTROL else "a candidate"
    yield f"It is {what}, at {target.address}, and gets {_percent(target.rate)} of the calls."
    most = "" if target.max_rate is None else f"{target.max_rate:g} a second, "
    yield (
        f"At most {most}{target.max_in_flight} run at once, each for up to {units.duration(target.deadline)}; what is "
        "more is shed and counted, the live call never waits."
    )
    if target.on_live_cancel is OnLiveCancel.FOLLOW:
        yield "A shadow whose live call is cut short stops at the same age."
    else:
        yield "A shadow whose live call is cut short runs on to its own end."
    yield _breaker(target)
    yield from _budget(target.budget)
    if target.warm_up is not None:
        yield _warm_up(target.warm_up)
    yield from explain_policies.of_target(target)
    yield from _others(target, _TOLD_OF_TARGETS)


def _warm_up(warm_up: WarmUpSettings) -> str:
    parts = []
    if warm_up.time is not None:
        parts.append(f"{units.elapsed(warm_up.time)} have passed since the first of them")
    if warm_up.calls is not None:
        parts.append(f"it has had {warm_up.calls:,} calls")
    return f"Pairs are no evidence until {' and '.join(parts)}, from each engine that calls it."


def _breaker(target: TargetSettings) -> str:
    breaker = target.breaker
    if not breaker.enabled:
        return "It is called whatever it answers: its breaker is off."
    return (
        f"When {_percent(breaker.failures)} of {breaker.least_calls} calls or more fail within "
        f"{units.duration(breaker.window)}, it is left alone for {units.duration(breaker.open)}, each time twice as "
        f"long, up to {units.elapsed(breaker.open_most)}."
    )


def _budget(budget: BudgetSettings | None) -> Iterator[str]:
    if budget is None:
        yield "It may cost whatever it costs: it has no budget."
        return
    parts = [f"{units.money(amount, budget.currency)} {SPAN[limit.value]}" for limit, amount in budget.money.items()]
    if budget.tokens is not None:
        parts.append(f"{budget.tokens:,} tokens in all")
    yield f"It may cost {', '.join(parts)}, and gets nothing more when that is used up."
    if isinstance(budget.unpriced, FallbackSettings):
        tokens = f" and {budget.unpriced.tokens:,} tokens" if budget.unpriced.tokens is not None else ""
        price = units.money(budget.unpriced.per_call, budget.currency)
        yield f"A call whose cost nothing tells counts as {price}{tokens}."
    else:
        yield "The first call whose cost nothing tells closes it until the configuration changes."


def _of_all(config: Config) -> Iterator[str]:
    mirror, guard = config.mirror, config.mirror.harm_guard
    yield (
        f"At most {units.size(mirror.capture_bytes)} of captured messages are held; a request above "
        f"{units.size(mirror.max_message_bytes)} is not mirrored."
    )
    if guard.enabled:
        yield (
            f"Mirroring is off in one of {guard.one_off_in} slots of {units.duration(guard.slot)}, to see whether it "
            "harms live calls; if it does, it stops itself for good."
        )
    else:
        yield "Nothing watches whether mirroring harms live calls: the harm guard is off."
    limited = any(one.time_box is not None or any(each.budget for each in one.targets) for one in config.experiments)
    if limited and mirror.part < 1:
        yield f"Each engine has {_percent(mirror.part)} of every budget and number of pairs."
    if limited and mirror.budget.state is None:
        yield "A restart forgets what was spent, and how many pairs there were: mirror.budget.state is not set."
    if config.reload.watch:
        yield f"A changed file takes effect within {units.duration(config.reload.every + 1)}, without a restart."
    else:
        yield "A changed file takes effect at the next start."


def _others(settings: BaseModel, told: frozenset[str]) -> Iterator[str]:
    """Return what was set and has no words of its own, so that nothing goes unsaid."""
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name not in told and value != field.get_default(call_default_factory=True):
            yield f"{name}: {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_value(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value))
    return str(value)


def _percent(share: float) -> str:
    return f"{share * 100:.4g} %"
