"""Totals as observations of the interceptor's instruments: one function for each instrument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opentelemetry.metrics import Observation

from shadowmesh import names
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.draws import Drawn, DrawnKey
from shadowmesh.policy.funnel import FunnelKey, LossKey
from shadowmesh.policy.skew import KeyFigures


def funnel(lines: Mapping[FunnelKey, int]) -> Iterable[Observation]:
    """Yield the lines of the funnel."""
    for (experiment, target, decision, reason), count in lines.items():
        about = {**_target(experiment, target), names.MIRROR_DECISION: decision}
        yield Observation(count, {**about, names.MIRROR_DROP_REASON: reason} if reason else about)


def lost(exchanges: Mapping[LossKey, int]) -> Iterable[Observation]:
    """Yield how many exchanges have lost their legs, and by whom."""
    for (experiment, target, reason), count in exchanges.items():
        yield Observation(count, {**_target(experiment, target), names.MIRROR_LOSS_REASON: reason})


def aborts(ended: Mapping[tuple[str, str, str], int]) -> Iterable[Observation]:
    """Yield how many shadows were ended by id, and by whom."""
    for (experiment, target, result), count in ended.items():
        yield Observation(count, {**_target(experiment, target), names.MIRROR_ABORT_RESULT: result})


def active(shadows: Mapping[tuple[str, str], int]) -> Iterable[Observation]:
    """Yield how many shadows of each target are under way."""
    for key, count in shadows.items():
        yield Observation(count, _target(*key))


def queued(hand_overs: int) -> Iterable[Observation]:
    """Yield how many hand-overs wait."""
    yield Observation(hand_overs)


def breakers(closed: Mapping[tuple[str, str], str]) -> Iterable[Observation]:
    """Yield of each target whether its breaker is why it takes no calls."""
    for key, reason in closed.items():
        yield Observation(int(reason == names.DropReason.CIRCUIT_OPEN), _target(*key))


def reloads(results: Mapping[names.ReloadResult, int]) -> Iterable[Observation]:
    """Yield what became of changed configurations: each result from the start, as with the figures of harm."""
    for result in names.ReloadResult:
        yield Observation(results.get(result, 0), {names.MIRROR_RELOAD_RESULT: result.value})


def money(remaining: Iterable[Remaining]) -> Iterable[Observation]:
    """Yield what is left of each limit that is money."""
    for one in remaining:
        if one.currency:
            about = {names.MIRROR_BUDGET_LIMIT: one.limit, names.COST_CURRENCY: one.currency}
            yield Observation(one.left, _target(one.experiment, one.target) | about)


def tokens(remaining: Iterable[Remaining]) -> Iterable[Observation]:
    """Yield what is left of the limits of tokens."""
    return _left(remaining, names.BudgetLimit.TOKENS)


def pairs(remaining: Iterable[Remaining]) -> Iterable[Observation]:
    """Yield what is left of the limits of pairs."""
    return _left(remaining, names.TimeBoxLimit.PAIRS)


def _left(remaining: Iterable[Remaining], limit: str) -> Iterable[Observation]:
    for one in remaining:
        if one.limit == limit:
            yield Observation(one.left, _target(one.experiment, one.target))


def harm(shown_by: str) -> Iterable[Observation]:
    """Yield both figures of harm from the start, so that the first stop is an increase and not a new series."""
    for figure in names.HarmFigure:
        yield Observation(int(shown_by == figure), {names.MIRROR_HARM_REASON: figure.value})


def top_keys(figures: Mapping[str, KeyFigures]) -> Iterable[Observation]:
    """Yield the share of each experiment's most frequent key; of too few calls it is unknown, and never 0."""
    for experiment, keys in figures.items():
        if keys.top_share is not None:
            yield Observation(keys.top_share, {names.EXPERIMENT_NAME: experiment})


def missing_keys(figures: Mapping[str, KeyFigures]) -> Iterable[Observation]:
    """Yield how many calls had no key."""
    for experiment, keys in figures.items():
        yield Observation(keys.missing, {names.EXPERIMENT_NAME: experiment})


def eligible(draws: Mapping[DrawnKey, Drawn]) -> Iterable[Observation]:
    """Yield how many calls were drawn."""
    for key, sums in draws.items():
        yield Observation(sums.eligible, _drawn(key))


def sampled(draws: Mapping[DrawnKey, Drawn]) -> Iterable[Observation]:
    """Yield how many of them were taken."""
    for key, sums in draws.items():
        yield Observation(sums.sampled, _drawn(key))


def expected(draws: Mapping[DrawnKey, Drawn]) -> Iterable[Observation]:
    """Yield how many of them were to be taken."""
    for key, sums in draws.items():
        yield Observation(sums.expected, _drawn(key))


def captured(calls: Mapping[tuple[str, str], int]) -> Iterable[Observation]:
    """Yield what became of calls that were to be captured."""
    for (result, reason), count in calls.items():
        about = {names.CAPTURE_RESULT: result}
        yield Observation(count, {**about, names.MIRROR_DROP_REASON: reason} if reason else about)


def _target(experiment: str, target: str) -> dict[str, str]:
    return {names.EXPERIMENT_NAME: experiment, names.TARGET_NAME: target}


def _drawn(key: DrawnKey) -> dict[str, str]:
    return {**_target(key.experiment, key.target), names.CONFIG_DIGEST: key.config_digest}
