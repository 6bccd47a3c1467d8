"""
OTLP bytes become legs, and the interceptors' own counters become points of the funnel.

A span is a leg when it has a role and a pair id; every other span is ignored. A span that says it is a leg
and cannot be one is rejected, alone: its neighbours count. Figures no backend can have meant, such as -1
tokens for "I do not know", are read as not said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError as ProtobufError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from shadowmesh import names
from shadowmesh.errors import DecodeError
from shadowmesh.model import Leg
from shadowmesh.processor.funnel import FunnelPoint, FunnelSeries
from shadowmesh.telemetry.attributes import LEG_KEYS, from_attributes

# What one leg may make us hold. The pairing buffer is bounded in legs, and by this in bytes as well.
_MOST_TEXT = 16 * 1024
_MOST_ITEMS = 64

_ROLES = frozenset(names.Role)
_NEVER_NEGATIVE = frozenset(
    {
        names.GEN_AI_USAGE_INPUT_TOKENS,
        names.GEN_AI_USAGE_OUTPUT_TOKENS,
        names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
        names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
        names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
        names.STREAM_WRITE_STALL,
        names.COST_AMOUNT,
    }
)


class Spans(NamedTuple):
    """What one trace request holds; ``reason`` says why the first rejected span can never be a leg."""

    legs: list[Leg]
    ignored: int
    rejected: int
    reason: str


def decode_spans(data: bytes) -> Spans:
    """
    Return the legs in the bytes of an ``ExportTraceServiceRequest``.

    Raises:
        DecodeError: the bytes are no such request.
    """
    request = ExportTraceServiceRequest()
    _parse(request, data)
    legs: list[Leg] = []
    ignored = 0
    reasons: list[str] = []
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                try:
                    leg = _leg(span)
                except DecodeError as error:
                    reasons.append(str(error))
                    continue
                if leg is None:
                    ignored += 1
                else:
                    legs.append(leg)
    return Spans(legs, ignored, len(reasons), reasons[0] if reasons else "")


def decode_funnel(data: bytes) -> list[FunnelPoint]:
    """
    Return the interceptors' funnel counters in the bytes of an ``ExportMetricsServiceRequest``.

    All other metrics are skipped, and so are points that say no experiment, target or decision.

    Raises:
        DecodeError: the bytes are no such request.
    """
    request = ExportMetricsServiceRequest()
    _parse(request, data)
    points: list[FunnelPoint] = []
    for resource in request.resource_metrics:
        ours = [
            metric
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == names.METRIC_MIRROR_REQUESTS
        ]
        if ours:
            instance = _text(_attributes(resource.resource.attributes), names.SERVICE_INSTANCE_ID)
            points += [point for metric in ours for point in _funnel_points(metric, instance)]
    return points


def _parse(request: ExportTraceServiceRequest | ExportMetricsServiceRequest, data: bytes) -> None:
    try:
        request.ParseFromString(data)
    except ProtobufError as error:
        raise DecodeError(f"not an {type(request).__name__}") from error


def _leg(span: Span) -> Leg | None:
    """Return the leg, ``None`` for somebody else's span; raise DecodeError for a leg that cannot be one."""
    values: dict[str, Any] = {}
    for attribute in span.attributes:
        key = attribute.key
        if key in LEG_KEYS:
            values[key] = attribute.value
    if names.ROLE not in values or names.PAIR_ID not in values:
        return None
    if not _is_id(span.trace_id, 16) or not _is_id(span.span_id, 8):
        raise DecodeError("leg without a valid trace id and span id")
    if span.end_time_unix_nano < span.start_time_unix_nano:
        raise DecodeError("leg that ends before it starts")
    leg = from_attributes(
        _leg_values(values),
        trace_id=int.from_bytes(span.trace_id, "big"),
        span_id=int.from_bytes(span.span_id, "big"),
        parent_span_id=int.from_bytes(span.parent_span_id, "big") if _is_id(span.parent_span_id, 8) else 0,
        started_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
    )
    if leg.role not in _ROLES or not leg.pair_id or (leg.role == names.Role.SHADOW and not leg.target):
        raise DecodeError("leg that is neither live nor the shadow of a target, or has no pair id")
    return leg


def _is_id(value: bytes, length: int) -> bool:
    return len(value) == length and any(value)


def _leg_values(raw: dict[str, AnyValue]) -> dict[str, Any]:
    """Return the attributes as Python values, without the figures that cannot be meant."""
    values: dict[str, Any] = {}
    text = 0
    # This loop is most of what a span costs, so the common kinds are spelled out.
    for key, any_value in raw.items():
        kind = any_value.WhichOneof("value")
        value: Any
        if kind == "string_value":
            value = any_value.string_value
            text += len(value)
        elif kind == "int_value":
            value = any_value.int_value
            if value < 0 and key in _NEVER_NEGATIVE:
                continue
        elif kind == "double_value":
            value = any_value.double_value
            if not math.isfinite(value) or (value < 0 and key in _NEVER_NEGATIVE):
                continue
        elif kind == "array_value":
            value = _texts(any_value.array_value)
            text += sum(map(len, value))
        elif kind is None:
            continue
        else:
            # A bool, or what no leg has (bytes, maps): left as it is, to be refused by its type.
            value = getattr(any_value, kind)
        values[key] = value
    if text > _MOST_TEXT:
        raise DecodeError(f"leg with more than {_MOST_TEXT} characters in its attributes")
    return values


def _texts(array: ArrayValue) -> tuple[str, ...]:
    items = array.values
    if len(items) > _MOST_ITEMS or any(item.WhichOneof("value") != "string_value" for item in items):
        raise DecodeError(f"list that is longer than {_MOST_ITEMS} or holds something else than strings")
    return tuple(item.string_value for item in items)


def _attributes(attributes: Iterable[KeyValue]) -> dict[str, AnyValue]:
    return {attribute.key: attribute.value for attribute in attributes}


def _text(attributes: dict[str, AnyValue], key: str) -> str:
    """Return a short text attribute, empty when it is missing, is no text, or is too long to be a name."""
    value = attributes.get(key)
    text: str = value.string_value if value is not None else ""
    return text if len(text) <= 256 else ""


def _funnel_points(metric: Metric, instance: str) -> Iterator[FunnelPoint]:
    cumulative = metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    for point in metric.sum.data_points:
        attributes = _attributes(point.attributes)
        experiment = _text(attributes, names.EXPERIMENT_NAME)
        target = _text(attributes, names.TARGET_NAME)
        decision = _text(attributes, names.MIRROR_DECISION)
        value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
        if not (experiment and target and decision and 0 <= value < math.inf):
            continue
        series = FunnelSeries(
            instance=instance,
            experiment=experiment,
            target=target,
            decision=decision,
            reason=_text(attributes, names.MIRROR_DROP_REASON),
            method=_text(attributes, names.RPC_METHOD),
            operation=_text(attributes, names.GEN_AI_OPERATION_NAME),
        )
        yield FunnelPoint(
            series=series,
            cumulative=cumulative,
            started_ns=point.start_time_unix_nano,
            at_ns=point.time_unix_nano,
            value=int(value),
        )
