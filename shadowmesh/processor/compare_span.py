"""
The ``shadowmesh.compare`` span: what a pair showed, in the trace that has both legs.

Its id is a hash of the pair and the target and its time the end of the later leg, so that a replay makes
the same span again and a trace store keeps one of them.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind

from shadowmesh import names
from shadowmesh.model import Change, Comparison, Leg
from shadowmesh.names import Check, Outcome
from shadowmesh.processor.settings import CompareThresholdSettings
from shadowmesh.telemetry.attributes import Value
from shadowmesh.telemetry.spans import finished_span, span_context

_SCOPE = InstrumentationScope(names.SCOPE_PROCESSOR, schema_url=names.SCHEMA_URL)
_MATCHES = (
    (Check.STATUS_CODE, names.MATCH_STATUS_CODE),
    (Check.FINISH_REASON, names.MATCH_FINISH_REASON),
    (Check.OUTPUT_EXACT, names.MATCH_OUTPUT),
)


class _Row(NamedTuple):
    """A change of the comparison, by the name of its field, and where its delta and ratio go."""

    field: str
    delta: str
    ratio: str
    whole: bool = False


_CHANGES = (
    _Row("duration", names.PAIR_DURATION_DELTA, names.PAIR_DURATION_RATIO),
    _Row("time_to_first_chunk", names.PAIR_TIME_TO_FIRST_CHUNK_DELTA, names.PAIR_TIME_TO_FIRST_CHUNK_RATIO),
    _Row("time_per_output_token", names.PAIR_TIME_PER_OUTPUT_TOKEN_DELTA, names.PAIR_TIME_PER_OUTPUT_TOKEN_RATIO),
    _Row("output_rate", names.PAIR_OUTPUT_RATE_DELTA, names.PAIR_OUTPUT_RATE_RATIO),
    _Row("chunk_gap_p95", names.PAIR_CHUNK_GAP_P95_DELTA, names.PAIR_CHUNK_GAP_P95_RATIO),
    _Row("chunk_gap_max", names.PAIR_CHUNK_GAP_MAX_DELTA, names.PAIR_CHUNK_GAP_MAX_RATIO),
    _Row("stall_count", names.PAIR_STALL_COUNT_DELTA, names.PAIR_STALL_COUNT_RATIO, whole=True),
    _Row("input_tokens", names.PAIR_INPUT_TOKENS_DELTA, names.PAIR_INPUT_TOKENS_RATIO, whole=True),
    _Row("output_tokens", names.PAIR_OUTPUT_TOKENS_DELTA, names.PAIR_OUTPUT_TOKENS_RATIO, whole=True),
    _Row("cost", names.PAIR_COST_DELTA, names.PAIR_COST_RATIO),
)

FIGURES = frozenset({names.COST_AMOUNT, *(name for row in _CHANGES for name in (row.delta, row.ratio))})
"""The attributes that are measured, and so differ from span to span."""


def remarkable(comparison: Comparison, threshold: CompareThresholdSettings) -> bool:
    """Return whether a pair whose two legs are here is worth a span; what cannot be compared says nothing by itself."""
    if comparison.outcome != Outcome.MATCHED or False in comparison.matches.values():
        return True
    for change, factor in (
        (comparison.duration, threshold.duration),
        (comparison.time_to_first_chunk, threshold.time_to_first_chunk),
    ):
        if change is not None and abs(change.delta) > threshold.least_time and _beyond(change, factor):
            return True
    return any(
        change is not None and _beyond(change, factor)
        for change, factor in (
            (comparison.input_tokens, threshold.tokens),
            (comparison.output_tokens, threshold.tokens),
            (comparison.cost, threshold.cost),
        )
    )


def _beyond(change: Change, factor: float) -> bool:
    """Of nothing, anything is more than so many times."""
    low, high = sorted((change.live, change.shadow))
    return high > low * factor


def compare_span(live: Leg, shadow: Leg, comparison: Comparison, resource: Resource) -> ReadableSpan:
    """Return the span of a pair whose two legs are here: a child of the shadow leg, with links to both."""
    ended_ns = max(live.ended_ns, shadow.ended_ns)
    return finished_span(
        name=names.COMPARE_SPAN,
        kind=SpanKind.INTERNAL,
        context=span_context(shadow.trace_id, compare_span_id(shadow.pair_id, shadow.target)),
        parent_span_id=shadow.span_id,
        started_ns=ended_ns,
        # Jaeger warns of a span that ends when it begins, and gives it this nanosecond itself.
        ended_ns=ended_ns + 1,
        attributes=_attributes(shadow, comparison),
        resource=resource,
        scope=_SCOPE,
        links=[Link(span_context(leg.trace_id, leg.span_id)) for leg in (live, shadow)],
    )


def compare_span_id(pair_id: str, target: str) -> int:
    """Return the same id for the same pair and target, always; never 0, which is no id."""
    digest = blake2b(f"{pair_id}\0{target}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") or 1


def _attributes(shadow: Leg, comparison: Comparison) -> dict[str, Value]:
    attributes: dict[str, Value] = {
        names.PAIR_ID: shadow.pair_id,
        names.EXPERIMENT_NAME: shadow.experiment,
        names.TARGET_NAME: shadow.target,
        names.PAIR_OUTCOME: str(comparison.outcome),
    }
    for field, delta, ratio, whole in _CHANGES:
        change: Change | None = getattr(comparison, field)
        if change is not None:
            attributes[delta] = int(change.delta) if whole else float(change.delta)
            if change.ratio is not None:
                attributes[ratio] = float(change.ratio)
    if shadow.cost is not None:
        # The shadow's: what the processor priced stands on no leg's span. The live cost is this minus the
        # delta.
        attributes[names.COST_AMOUNT] = float(shadow.cost.amount)
        attributes[names.COST_CURRENCY] = shadow.cost.currency
        attributes[names.COST_SOURCE] = str(shadow.cost.source)
        if shadow.cost.pricing_version is not None:
            attributes[names.COST_PRICING_VERSION] = shadow.cost.pricing_version
    for check, name in _MATCHES:
        matches = comparison.matches.get(check)
        if matches is not None:
            attributes[name] = matches
    return attributes
