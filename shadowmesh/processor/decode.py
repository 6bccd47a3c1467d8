"""
OTLP bytes become legs, and the interceptors' own counters become points of the funnel and of how calls were drawn.

A span is a leg when it has a role and a pair id; every other span is ignored. A span that says it is a leg
and cannot be one is rejected, alone: its neighbours count. Figures no backend can have meant, such as -1
tokens for "I do not know", are read as not said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError as ProtobufError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from shadowmesh import names
from shadowmesh.errors import DecodeError
from shadowmesh.model import Leg
from shadowmesh.processor.decode_aliases import end_of, resolve
from shadowmesh.processor.decode_attributes import COST, FIELDS, GAPS, LEG, MOST_TEXT, NOTHING, Attributes
from shadowmesh.processor.decode_records import Maker
from shadowmesh.processor.funnel import FunnelPoint, FunnelSeries
from shadowmesh.processor.sampling import Figure, SamplingPoint, SamplingSeries

# Eight times what SDKs let a span have.
_MOST_ATTRIBUTES = 1024
# In the year 2262, where an int64 ends.
_LATEST_NS = 1 << 63
_ROLES = frozenset(names.Role)
_FIGURES = {
    names.METRIC_MIRROR_SAMPLING_ELIGIBLE: Figure.ELIGIBLE,
    names.METRIC_MIRROR_SAMPLING_SAMPLED: Figure.SAMPLED,
    names.METRIC_MIRROR_SAMPLING_EXPECTED: Figure.EXPECTED,
}
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)
_ROLE, _PAIR_ID, _END, _STATUS, _FIELDS, _GAPS, _COST = (
    LEG.place[name] for name in ("role", "pair_id", "end", "status", "fields", "chunk_gaps", "cost")
)
_TRACE_ID, _SPAN_ID, _PARENT, _STARTED, _ENDED = (
    LEG.place[name] for name in ("trace_id", "span_id", "parent_span_id", "started_ns", "ended_ns")
)
_ROLE_KEY, _PAIR_KEY = names.ROLE.encode(), names.PAIR_ID.encode()


class SpanView(NamedTuple):
    """How the messages of the OTLP view are made from bytes; each raises protobuf's DecodeError."""

    request: Callable[[bytes], Any]
    span: Callable[[bytes], Any]
    attribute: Callable[[bytes], Any]


class Spans(NamedTuple):
    """
    What one trace request holds; ``reason`` says why the first rejected span can never be a leg.

    ``sizes`` are the bytes on the wire of each leg, without the attributes that no leg has.
    """

    legs: list[Leg]
    ignored: int
    rejected: int
    reason: str
    sizes: list[int]


class SpanDecoder:
    """Decodes trace requests, and remembers what they repeat."""

    def __init__(self, view: SpanView) -> None:
        self._view = view
        self._attributes = Attributes(view.attribute)

    def decode(self, data: bytes) -> Spans:
        """
        Return the legs in the bytes of an ``ExportTraceServiceRequest``.

        Raises:
            DecodeError: the bytes are no such request.
        """
        legs: list[Leg] = []
        sizes: list[int] = []
        ignored = rejected = 0
        reason = ""
        for span in self._spans(data):
            # Somebody else's, seen without looking into it; what has the keys in some other place is sorted out below.
            if _ROLE_KEY not in span or _PAIR_KEY not in span:
                ignored += 1
                continue
            try:
                found = self._leg(span)
            except DecodeError as error:
                rejected += 1
                reason = reason or str(error)
                continue
            if found is None:
                ignored += 1
            else:
                legs.append(found[0])
                sizes.append(found[1])
        self._attributes.age(len(legs))
        return Spans(legs, ignored, rejected, reason, sizes)

    def _spans(self, data: bytes) -> Iterator[bytes]:
        request = _parsed(self._view.request, data, "an ExportTraceServiceRequest")
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                yield from scope.spans

    def _leg(self, data: bytes) -> tuple[Leg, int] | None:
        """Return the leg and its size, ``None`` for another's span; raise DecodeError for a leg that cannot be one."""
        span = _parsed(self._view.span, data, "a span")
        if len(span.attributes) > _MOST_ATTRIBUTES:
            raise DecodeError(f"leg with more than {_MOST_ATTRIBUTES} attributes")
        # In the order of decode_attributes.MAKERS, and behind them the aliases.
        values, fields, gaps, cost = LEG.blank.copy(), FIELDS.blank.copy(), GAPS.blank.copy(), COST.blank.copy()
        aliases: dict[str, Any] = {}
        records: tuple[Any, ...] = (values, fields, gaps, cost, aliases)
        known, read = self._attributes.known.get, self._attributes.read
        size = len(data)
        for attribute in span.attributes:
            said = known(attribute) or read(attribute)
            if said is NOTHING:
                size -= len(attribute)
            else:
                record, place, value = said
                records[record][place] = value
        if values[_ROLE] is MISSING or values[_PAIR_ID] is MISSING:
            return None
        _refuse_impossible(span)
        if size > MOST_TEXT and sum(map(_characters, (values, fields, cost, aliases.values()))) > MOST_TEXT:
            raise DecodeError(f"leg with more than {MOST_TEXT} characters in its attributes")
        if aliases:
            _translate(aliases, values, fields, cost)
        if values[_END] is MISSING:
            values[_END] = end_of(values[_STATUS])
        parent = span.parent_span_id
        values[_TRACE_ID] = int.from_bytes(span.trace_id, "big")
        values[_SPAN_ID] = int.from_bytes(span.span_id, "big")
        values[_PARENT] = int.from_bytes(parent, "big") if _is_id(parent, _NO_SPAN) else 0
        values[_STARTED], values[_ENDED] = span.start_time_unix_nano, span.end_time_unix_nano
        values[_FIELDS] = FIELDS.make(fields)
        values[_GAPS] = None if GAPS.missing(gaps) else GAPS.make(gaps)
        values[_COST] = None if COST.missing(cost) else COST.make(cost)
        if (field := LEG.missing(values)) is not None:
            raise DecodeError(f"leg without {field}")
        leg = LEG.make(values)
        if leg.role not in _ROLES or not leg.pair_id or (leg.role == names.Role.SHADOW and not leg.target):
            raise DecodeError("leg that is neither live nor the shadow of a target, or has no pair id")
        return leg, size


class Counters(NamedTuple):
    """The interceptors' own counters in one metrics request."""

    funnel: list[FunnelPoint]
    sampling: list[SamplingPoint]


def decode_counters(data: bytes) -> Counters:
    """
    Return the interceptors' counters in the bytes of an ``ExportMetricsServiceRequest``.

    All other metrics are skipped, and so are points that do not say what they are about.

    Raises:
        DecodeError: the bytes are no such request.
    """
    request = _parsed(ExportMetricsServiceRequest.FromString, data, "an ExportMetricsServiceRequest")
    counters = Counters([], [])
    for resource in request.resource_metrics:
        ours = [
            metric
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == names.METRIC_MIRROR_REQUESTS or metric.name in _FIGURES
        ]
        if ours:
            instance = _text(_attributes(resource.resource.attributes), names.SERVICE_INSTANCE_ID)
            for metric in ours:
                figure = _FIGURES.get(metric.name)
                if figure is None:
                    counters.funnel.extend(_funnel_points(metric, instance))
                else:
                    counters.sampling.extend(_sampling_points(metric, instance, figure))
    return counters


def _parsed(parse: Callable[[bytes], Any], data: bytes, what: str) -> Any:
    try:
        return parse(data)
    except ProtobufError as error:
        raise DecodeError(f"not {what}") from error


def _translate(aliases: dict[str, Any], values: list[Any], fields: list[Any], cost: list[Any]) -> None:
    """Let the aliases say what the span's other attributes do not."""
    records: dict[Maker[Any], list[Any]] = {LEG: values, FIELDS: fields, COST: cost}
    said = {maker: maker.said(record) for maker, record in records.items()}
    resolve(aliases, said[LEG], said[FIELDS], said[COST])
    for maker, record in records.items():
        maker.fill(record, said[maker])


def _refuse_impossible(span: Any) -> None:
    if not _is_id(span.trace_id, _NO_TRACE) or not _is_id(span.span_id, _NO_SPAN):
        raise DecodeError("leg without a valid trace id and span id")
    if span.end_time_unix_nano < span.start_time_unix_nano:
        raise DecodeError("leg that ends before it starts")
    if span.end_time_unix_nano >= _LATEST_NS:
        raise DecodeError("leg that ends after the year 2262")


def _characters(values: Iterable[Any]) -> int:
    """Return how much text there is among these values."""
    return sum(
        len(value) if isinstance(value, str) else sum(map(len, value))
        for value in values
        if isinstance(value, (str, tuple))
    )


def _is_id(value: bytes, none: bytes) -> bool:
    return len(value) == len(none) and value != none


def _attributes(attributes: Iterable[KeyValue]) -> dict[str, AnyValue]:
    return {attribute.key: attribute.value for attribute in attributes}


def _text(attributes: dict[str, AnyValue], key: str) -> str:
    """Return a short text attribute, empty when it is missing, is no text, or is too long to be a name."""
    value = attributes.get(key)
    text: str = value.string_value if value is not None else ""
    return text if len(text) <= 256 else ""


def _points(metric: Metric) -> Iterator[tuple[dict[str, AnyValue], dict[str, Any], float]]:
    """Return the attributes, the times and the value of each point of a counter."""
    cumulative = metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    for point in metric.sum.data_points:
        value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
        if 0 <= value < math.inf:
            times = {
                "cumulative": cumulative,
                "started_ns": point.start_time_unix_nano,
                "at_ns": point.time_unix_nano,
            }
            yield _attributes(point.attributes), times, value


def _funnel_points(metric: Metric, instance: str) -> Iterator[FunnelPoint]:
    for attributes, times, value in _points(metric):
        series = FunnelSeries(
            instance=instance,
            experiment=_text(attributes, names.EXPERIMENT_NAME),
            target=_text(attributes, names.TARGET_NAME),
            decision=_text(attributes, names.MIRROR_DECISION),
            reason=_text(attributes, names.MIRROR_DROP_REASON),
            method=_text(attributes, names.RPC_METHOD),
            operation=_text(attributes, names.GEN_AI_OPERATION_NAME),
        )
        if series.experiment and series.target and series.decision:
            yield FunnelPoint(series=series, **times, value=int(value))


def _sampling_points(metric: Metric, instance: str, figure: Figure) -> Iterator[SamplingPoint]:
    for attributes, times, value in _points(metric):
        series = SamplingSeries(
            instance=instance,
            experiment=_text(attributes, names.EXPERIMENT_NAME),
            target=_text(attributes, names.TARGET_NAME),
            config_digest=_text(attributes, names.CONFIG_DIGEST),
        )
        if series.experiment and series.target and series.config_digest:
            yield SamplingPoint(series=series, figure=figure, **times, value=value)
