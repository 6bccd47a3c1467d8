"""
What a ledger shows people: distributions, the course over time, amounts per call. Nothing here decides anything.

Every figure is read from counts, so it is as exact as the bins are wide: 1 per cent for distributions and quantiles,
a few per cent for the course, which is kept in bins of a factor of 1.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from shadowmesh.report.candidate import QUANTILES, Distribution, LoadStep, Moment, PerCall, Timeline
from shadowmesh.verdict import bins, blocks, circumstance_keys
from shadowmesh.verdict.facts import MEASURES, Floats, Ints
from shadowmesh.verdict.ledger import COST_UNITS, MINUTE_NS, Ledger
from shadowmesh.verdict.records import Finding, Gate, Result

_FINE, _ROUGH = 5, 20
"""Bins of a ledger in one that is drawn: a factor of 1.05, and of 1.2 where pairs are few."""
_FEW = 2000
_MOST_MOMENTS = 60
_PAIRS_A_MOMENT = 100
# A P95 of fewer is their largest or second largest figure.
_FEWEST_FOR_A_QUANTILE = 20
_LATENCY = "latency."
_LOADS_A_STEP = 8


def whole(ledgers: Mapping[str, Ledger]) -> Ledger:
    """Return the sum over all strata."""
    total = Ledger()
    for ledger in ledgers.values():
        total.merge(ledger)
    return total


def distributions(ledger: Ledger) -> tuple[Distribution, ...]:
    """Return the measures of which anything is known, of both legs."""
    shown = (_distribution(ledger, measure) for measure in MEASURES)
    return tuple(one for one in shown if sum(one.live) or sum(one.shadow))


def by_load(ledger: Ledger) -> tuple[LoadStep, ...]:
    """
    Return durations by how many calls were in flight beside the legs; none where that was all the same.

    Each side's legs are beside their own calls, so those in one line are not of the same pairs.
    """
    sides = [
        _coarse_counts(ledger, circumstance_keys.load(side), lambda bins_: bins_ // _LOADS_A_STEP)
        for side in circumstance_keys.SIDES
    ]
    steps = sorted(sides[0].keys() | sides[1].keys())
    return tuple(_load_step(step, *(side.get(step) for side in sides)) for step in steps) if len(steps) > 1 else ()


def _load_step(step: int, live: Floats | None, shadow: Floats | None) -> LoadStep:
    found = [
        None if counts is None or counts.sum() < _FEWEST_FOR_A_QUANTILE else _seconds(counts, quantile)
        for counts in (live, shadow)
        for quantile in (0.5, 0.95)
    ]
    return LoadStep(1 << step, *(0 if counts is None else int(counts.sum()) for counts in (live, shadow)), *found)


def _seconds(counts: Floats, quantile: float) -> float | None:
    place = _place(counts, quantile)
    return None if place is None else bins.seconds_at((place - 1) * bins.COARSE + 1)


def timeline(ledger: Ledger, findings: Iterable[Finding] = ()) -> Timeline | None:
    """
    Return the course of what is asked about; ``None`` without pairs.

    Args:
        findings: where the measure, the quantile and the limits come from.
    """
    block, pairs = ledger.tally("blocks.pairs").items()
    if not len(block):
        return None
    asked = {
        finding.name: finding.limit
        for finding in findings
        if finding.gate is Gate.CRITERION and not finding.stratum and finding.result is not Result.OFF
    }
    name = next((name for name in asked if name.startswith(_LATENCY)), f"{_LATENCY}duration.p95")
    measure, quantile = _measured(name)
    groups = min(_MOST_MOMENTS, max(int(pairs.sum()) // _PAIRS_A_MOMENT, 1))
    first, span = int(block[0]), int(block[-1] - block[0]) + 1
    groups = min(groups, span)

    def group_of(at: Ints) -> Ints:
        return (at - first) * groups // span

    def summed(key: str) -> Ints:
        keys, weights = ledger.tally(key).items()
        return np.bincount(group_of(keys), weights, minlength=groups).astype(np.int64)

    counted, errors = summed("blocks.pairs"), summed("blocks.errors")
    live, shadow = (_coarse_counts(ledger, f"blocks.{leg}.{measure}", group_of) for leg in ("live", "shadow"))
    moments = []
    for group in np.flatnonzero(counted):
        at = int(group)
        moments.append(
            Moment(
                started_ns=((first + math.ceil(at * span / groups)) << ledger.shift) * MINUTE_NS,
                pairs=int(counted[at]),
                ratio=_ratio(live.get(at), shadow.get(at), quantile),
                errors=float(errors[at] / counted[at]),
            )
        )
    return Timeline(
        moments=tuple(moments),
        measure=measure,
        quantile=quantile,
        ratio_limit=asked.get(name),
        errors_limit=asked.get("errors"),
    )


def per_call(ledger: Ledger) -> tuple[PerCall, PerCall, str | None, int]:
    """Return means per call of live and shadow, the currency of their cost, and the pairs behind the tokens or cost."""
    costs = ledger.costs()
    currency = max(costs, key=lambda each: costs[each].pairs, default=None)
    if currency is not None and not costs[currency].pairs:
        currency = None
    live: dict[str, float] = {}
    shadow: dict[str, float] = {}
    most = 0
    for name, moments, units in (
        ("input_tokens", ledger.moments.get("input_tokens"), 1.0),
        ("output_tokens", ledger.moments.get("output_tokens"), 1.0),
        ("cost", costs.get(currency or ""), COST_UNITS),
    ):
        if moments is not None and moments.pairs:
            live[name] = moments.live / moments.pairs / units
            shadow[name] = moments.shadow / moments.pairs / units
            most = max(most, moments.pairs)
    return PerCall(**live), PerCall(**shadow), currency, most


def _distribution(ledger: Ledger, measure: str) -> Distribution:
    keys, weights = ledger.tally(f"joint.{measure}").items()
    live, shadow = (
        np.bincount(codes, weights, minlength=bins.CODES)[: bins.LOST].astype(np.float64)
        for codes in divmod(keys, bins.CODES)
    )
    step = _FINE if weights.sum() > _FEW else _ROUGH
    return Distribution(
        name=measure,
        edges=tuple(bins.seconds_at(1) * bins.GAMMA**bin_ for bin_ in range(0, bins.BINS + 1, step)),
        live=_joined(live, step),
        shadow=_joined(shadow, step),
        beyond_live=int(live[bins.BINS :].sum()),
        beyond_shadow=int(shadow[bins.BINS :].sum()),
        live_quantiles=_quantiles(live),
        shadow_quantiles=_quantiles(shadow),
    )


def _joined(codes: Floats, step: int) -> tuple[int, ...]:
    return tuple(int(count) for count in codes[: bins.BINS].reshape(-1, step).sum(axis=1))


def _quantiles(codes: Floats) -> tuple[float | None, ...]:
    """Return quantiles of known and of cut-off figures together; ``None`` where one is among the latter."""
    running = np.cumsum(codes[: bins.BINS])
    total = codes.sum()
    found: list[float | None] = []
    for quantile in QUANTILES:
        at = int(np.searchsorted(running, quantile * total))
        # In the middle of the bin.
        found.append(bins.seconds_at(at + 1) * bins.GAMMA**0.5 if total and at < bins.BINS else None)
    return tuple(found)


def _coarse_counts(ledger: Ledger, name: str, group_of: Callable[[Ints], Ints]) -> dict[int, Floats]:
    """Return the counts by coarse place of each group of blocks."""
    keys, weights = ledger.tally(name).items()
    group = group_of(keys >> blocks.PLACE_BITS)
    place = keys & ((1 << blocks.PLACE_BITS) - 1)
    return {
        int(one): np.bincount(place[found], weights[found], minlength=bins.COARSE_PLACES).astype(np.float64)
        for one in np.unique(group)
        for found in (group == one,)
    }


def _ratio(live: Floats | None, shadow: Floats | None, quantile: float) -> float | None:
    if live is None or shadow is None or min(live.sum(), shadow.sum()) < _FEWEST_FOR_A_QUANTILE:
        return None
    before, after = _place(live, quantile), _place(shadow, quantile)
    return None if before is None or after is None else math.exp((after - before) * bins.COARSE * bins.LOG_GAMMA)


def _place(counts: Floats, quantile: float) -> float | None:
    """Return a quantile as a coarse place and a fraction; ``None`` where it is below or above all that is known."""
    running = np.cumsum(counts)
    rank = quantile * running[-1]
    at = int(np.searchsorted(running, rank))
    if at in {0, len(counts) - 1}:
        return None
    return float(at + (rank - running[at - 1]) / counts[at])


def _measured(name: str) -> tuple[str, float]:
    """Return measure and quantile of ``latency.duration.p95``."""
    measure, _, rest = name.removeprefix(_LATENCY).partition(".p")
    try:
        return measure, float(rest) / 100
    except ValueError:
        return measure, 0.95
