"""Metrics as a receiver sees them: over the bytes of OTLP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics.export import Metric, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

CUMULATIVE = 2


def data_of(metrics: Iterable[Metric], **resource: str) -> MetricsData:
    """Return the metrics of one scope as an exporter takes them; of a resource's names ``__`` is a dot."""
    attributes = {key.replace("__", "."): value for key, value in resource.items()}
    scope = ScopeMetrics(InstrumentationScope("tests"), [*metrics], "")
    return MetricsData([ResourceMetrics(Resource(attributes), [scope], "")])


def bytes_of(data: MetricsData) -> bytes:
    """Return a request with the metrics."""
    request: bytes = encode_metrics(data).SerializeToString()
    return request


def received(data: MetricsData) -> dict[str, Any]:
    """Return every metric by its name, as it comes out of the bytes of a request."""
    request = ExportMetricsServiceRequest.FromString(bytes_of(data))
    return {
        metric.name: metric
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def kind_of(metric: Any) -> str:
    """Return the instrument it is of; all but gauges are cumulative."""
    kind: str = metric.WhichOneof("data")
    if kind == "gauge":
        return "Gauge"
    assert getattr(metric, kind).aggregation_temporality == CUMULATIVE, metric.name
    if kind == "sum":
        return "Counter" if metric.sum.is_monotonic else "UpDownCounter"
    return {"histogram": "Histogram", "exponential_histogram": "ExponentialHistogram"}[kind]


def points_of(metric: Any) -> list[Any]:
    """Return the points of whatever kind."""
    return list(getattr(metric, metric.WhichOneof("data")).data_points)


def attributes_of(point: Any) -> dict[str, Any]:
    """Return the attributes of a point, with the types they were sent with."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in point.attributes}


def value_of(point: Any) -> float:
    """Return the value of a point, of a histogram its sum."""
    if "sum" in point.DESCRIPTOR.fields_by_name:
        return float(point.sum)
    return float(getattr(point, point.WhichOneof("value")))
