"""
What the demo found, computed from the OTLP that left the processor and from what the client saw.

Outcomes, costs and checks are the processor's own, from its compare spans and metrics. Times and tokens are read
from the forwarded legs, because a table needs quantiles and a histogram has only buckets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import quantiles

from shadowmesh import names
from shadowmesh.cli.demo.pairs import About, ComparedPair, about_of, compared_pairs
from shadowmesh.cli.demo.sink import Sink
from shadowmesh.cli.demo.traffic import Sent
from shadowmesh.compare.comparison import succeeded
from shadowmesh.model import Leg
from shadowmesh.report.records import CheckCounts, CostRow, Funnel, Group, MetricRow, Quantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything the demo prints."""

    sent: Sent
    funnel: Funnel
    groups: tuple[Group, ...]
    checks: tuple[CheckCounts, ...]
    example: ComparedPair | None


def collect(sink: Sink, sent: Sent, about: About) -> Results:
    """Return what the sink holds about one target."""
    pairs = compared_pairs(sink.spans(), about)
    # Nothing is measured on a failure: a call that fails at once is quick and cheap.
    measured = [pair for pair in pairs if succeeded(pair.live) and succeeded(pair.shadow)]
    shapes = (
        ("unary", [pair for pair in measured if not pair.live.streaming]),
        ("streaming", [pair for pair in measured if pair.live.streaming]),
    )
    return Results(
        sent=sent,
        funnel=_funnel(sink, sent, about),
        groups=tuple(_group(name, members) for name, members in shapes),
        checks=_checks(sink, about),
        example=_example(shapes[1][1] or shapes[0][1]),
    )


def _funnel(sink: Sink, sent: Sent, about: About) -> Funnel:
    requests = _totals(sink, names.METRIC_MIRROR_REQUESTS, about, names.MIRROR_DECISION, names.MIRROR_DROP_REASON)
    decisions, reasons = Counter[str](), Counter[str]()
    for (decision, reason), count in requests.items():
        decisions[decision] += count
        if decision == names.Decision.DROPPED:
            reasons[reason] += count
    outcomes = _totals(sink, names.METRIC_PAIRS, about, names.PAIR_OUTCOME)
    return Funnel(
        experiment=about[0],
        target=about[1],
        eligible=sent.total,
        decisions=dict(decisions),
        drop_reasons=dict(reasons),
        outcomes={outcome: count for (outcome,), count in outcomes.items()},
    )


def _checks(sink: Sink, about: About) -> tuple[CheckCounts, ...]:
    counts = _totals(sink, names.METRIC_PAIR_CHECKS, about, names.CHECK_NAME, names.CHECK_RESULT)
    return tuple(
        CheckCounts(
            name=check,
            match=counts[check, names.CheckResult.MATCH],
            mismatch=counts[check, names.CheckResult.MISMATCH],
            not_comparable=counts[check, names.CheckResult.NOT_COMPARABLE],
        )
        for check in names.Check
    )


def _totals(sink: Sink, metric: str, about: About, *keys: str) -> Counter[tuple[str, ...]]:
    totals = Counter[tuple[str, ...]]()
    for said, count in sink.counter(metric):
        if about_of(said) == about:
            totals[tuple(said.get(key, "") for key in keys)] += int(count)
    return totals


def _group(name: str, pairs: Sequence[ComparedPair]) -> Group:
    streaming = name == "streaming"
    metrics: Iterable[tuple[str, str, Callable[[Leg], float | None], bool]] = (
        ("duration", "s", lambda leg: leg.duration, True),
        ("time_to_first_chunk", "s", lambda leg: leg.time_to_first_chunk, streaming),
        ("time_per_output_token", "s", _time_per_output_token, streaming),
        ("output_tokens", "{token}", lambda leg: leg.fields.output_tokens, True),
        ("output_rate", "{token}/s", _output_rate, True),
    )
    rows = tuple(_row(metric, unit, pairs, value) for metric, unit, value, wanted in metrics if wanted)
    return Group(name=name, pairs=len(pairs), rows=rows, cost=_cost(pairs))


def _time_per_output_token(leg: Leg) -> float | None:
    first, tokens = leg.time_to_first_chunk, leg.fields.output_tokens
    return (leg.duration - first) / (tokens - 1) if first is not None and tokens and tokens > 1 else None


def _output_rate(leg: Leg) -> float | None:
    tokens, generating = leg.fields.output_tokens, leg.duration - (leg.time_to_first_chunk or 0.0)
    # One token is generated in no time after the first chunk, which is itself.
    known = tokens and generating > 0 and not (leg.streaming and tokens == 1)
    return tokens / generating if tokens and known else None


def _row(name: str, unit: str, pairs: Sequence[ComparedPair], value: Callable[[Leg], float | None]) -> MetricRow:
    both = [(value(pair.live), value(pair.shadow)) for pair in pairs]
    known = [(live, shadow) for live, shadow in both if live is not None and shadow is not None]
    return MetricRow(
        name=name,
        unit=unit,
        pairs=len(known),
        live=_quantiles([live for live, _ in known]),
        shadow=_quantiles([shadow for _, shadow in known]),
        ratio=_quantiles([shadow / live for live, shadow in known if live]),
        delta=_quantiles([shadow - live for live, shadow in known]),
    )


def _quantiles(values: Sequence[float]) -> Quantiles | None:
    if not values:
        return None
    if len(values) == 1:
        return Quantiles(values[0], values[0])
    cuts = quantiles(values, n=20, method="inclusive")
    return Quantiles(cuts[9], cuts[18])


def _cost(pairs: Sequence[ComparedPair]) -> CostRow:
    """Return both means; a side is unknown as soon as one of its calls could not be priced."""
    facts = [pair.compare_span.attributes for pair in pairs]
    currencies = {fact.get(names.COST_CURRENCY) for fact in facts}
    currency = currencies.pop() if len(currencies) == 1 else None
    shadow = [fact.get(names.COST_AMOUNT) for fact in facts]
    delta = [fact.get(names.PAIR_COST_DELTA) for fact in facts]
    # The compare span has the shadow's cost and the difference; the legs were priced after they were sent.
    live = [
        cost - more if cost is not None and more is not None else None for cost, more in zip(shadow, delta, strict=True)
    ]
    return CostRow(live=_per_1000(live, currency), shadow=_per_1000(shadow, currency), currency=currency)


def _per_1000(costs: Sequence[float | None], currency: str | None) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return 1000 * sum(known) / len(known) if known and len(known) == len(costs) and currency else None


def _example(pairs: Sequence[ComparedPair]) -> ComparedPair | None:
    """Return the pair whose shadow took as long as the median one: neither the best nor the worst to show."""
    ranked = sorted(pairs, key=lambda pair: (pair.shadow.duration, pair.live.pair_id))
    return ranked[len(ranked) // 2] if ranked else None
