"""Synthetic exchanges as OTLP: what a processor would send on about them."""

from collections.abc import Mapping
from dataclasses import replace

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link

from shadowmesh import names
from shadowmesh.compare.comparison import compare
from shadowmesh.model import Cost, Fields, Leg, Pair, TraceContext
from shadowmesh.processor.compare_span import compare_span
from shadowmesh.telemetry.spans import inbound_span, leg_span, span_context

RESOURCE = Resource({"service.name": "test", "service.instance.id": "one"})
ABOUT = ("demo", "trigram")
MS = 1_000_000


def leg(role: names.Role, number: int, *, ms: float, tokens: int, streaming: bool, **changes: object) -> Leg:
    """Return one side of exchange ``number`` that took ``ms`` milliseconds for ``tokens`` output tokens."""
    shadow = role is names.Role.SHADOW
    values: dict[str, object] = {
        "experiment": ABOUT[0],
        "pair_id": f"{number:032x}",
        "role": role,
        "method": "shadowmesh.v1.Inference/" + ("StreamGenerate" if streaming else "Generate"),
        "trace_id": number,
        "span_id": number * 10 + (2 if shadow else 1),
        "parent_span_id": number * 10,
        "started_ns": 10**18,
        "ended_ns": 10**18 + int(ms * MS),
        "end": names.CallEnd.COMPLETED,
        "target": ABOUT[1] if shadow else "",
        "target_kind": names.TargetKind.CANDIDATE if shadow else "",
        "leg_count": 2,
        "expected_targets": () if shadow else (ABOUT[1],),
        "status": "OK",
        "streaming": streaming,
        "message_count": tokens if streaming else 1,
        "time_to_first_chunk": 0.01 if streaming else None,
        "fields": Fields(
            response_model="pydoc-trigram" if shadow else "pydoc-bigram",
            input_tokens=12,
            output_tokens=tokens,
            finish_reasons=("stop",),
        ),
    }
    return Leg(**(values | changes))  # type: ignore[arg-type]


def exchange(number: int, *, live: Leg, shadow: Leg, costs: tuple[float, float] | None = None) -> list[ReadableSpan]:
    """Return the four spans of one exchange; ``costs`` are what the processor priced live and shadow at."""
    context = TraceContext(
        trace_id=number, inbound_span_id=number * 10, remote_span_id=0, inbound_is_ours=True, flags=1
    )
    link = Link(span_context(live.trace_id, live.span_id))
    priced = [live, shadow]
    if costs is not None:
        priced = [_priced(side, amount) for side, amount in zip(priced, costs, strict=True)]
    comparison = compare(Pair(pair_id=live.pair_id, target=ABOUT[1], live=priced[0], shadow=priced[1]))
    return [
        inbound_span(
            context,
            method=live.method,
            started_ns=live.started_ns,
            ended_ns=live.ended_ns,
            status="OK",
            resource=RESOURCE,
        ),
        leg_span(live, resource=RESOURCE),
        leg_span(shadow, resource=RESOURCE, links=[link]),
        compare_span(priced[0], priced[1], comparison, RESOURCE),
    ]


def counters(*points: tuple[str, int, Mapping[str, str]], at: int = 1, instance: str = "one") -> bytes:
    """Return an ``ExportMetricsServiceRequest`` with cumulative counters about the demo's target."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    said = resource.resource.attributes.add(key="service.instance.id")
    said.value.string_value = instance
    scope = resource.scope_metrics.add()
    for name, value, attributes in points:
        metric = scope.metrics.add(name=name)
        metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        metric.sum.is_monotonic = True
        point = metric.sum.data_points.add(as_int=value, time_unix_nano=at)
        about = {names.EXPERIMENT_NAME: ABOUT[0], names.TARGET_NAME: ABOUT[1]}
        for key, text in (about | dict(attributes)).items():
            point.attributes.add(key=key).value.string_value = text
    return request.SerializeToString()


def _priced(side: Leg, amount: float) -> Leg:
    return replace(side, cost=Cost(amount=amount, currency="USD", source=names.CostSource.COLLECTOR))
