"""
Where the processor sends: an OTLP endpoint in the demo's own process that keeps what came and can read it back.

It takes the place of the Collector and the trace store behind a real processor, and knows only what went over the
wire to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from shadowmesh.processor.intake import Accepted, Signal
from shadowmesh.processor.limits import LimitSettings
from shadowmesh.processor.otlp_grpc import GrpcServer
from shadowmesh.processor.reception import Reception
from shadowmesh.telemetry.faults import Faults

_MOST_BYTES = 256 * 1024 * 1024
"""What a demo of an hour sends is far below this; a demo of a day must not take the machine's memory."""

_MOST_MESSAGE_BYTES = 16 * 1024 * 1024
_GRACE = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span as it came, its ids as integers."""

    name: str
    trace_id: int
    span_id: int
    parent_span_id: int
    started_ns: int
    ended_ns: int
    attributes: Mapping[str, Any]
    linked_span_ids: tuple[int, ...]


class Sink:
    """Keeps OTLP requests as bytes until somebody reads them."""

    def __init__(self) -> None:
        self._traces: list[bytes] = []
        self._metrics: list[bytes] = []
        self._free = _MOST_BYTES
        self.arrived = asyncio.Event()
        """Set when something has come; for whoever waits to clear."""

    async def take(self, signal: Signal, request: bytes) -> Accepted:
        """Take in what is read here; logs are not."""
        if signal is Signal.TRACES:
            self.keep_traces(request)
        elif signal is Signal.METRICS:
            self.keep_metrics(request)
        return Accepted()

    def keep_traces(self, request: bytes) -> None:
        """Take in an ``ExportTraceServiceRequest``."""
        self._keep(self._traces, request)

    def keep_metrics(self, request: bytes) -> None:
        """Take in an ``ExportMetricsServiceRequest``."""
        self._keep(self._metrics, request)

    def close(self) -> None:
        """Forget everything, and from now on whatever comes."""
        self._traces.clear()
        self._metrics.clear()
        self._free = 0

    def spans(self) -> list[Span]:
        """Return every span once, whatever was delivered twice."""
        spans = {(span.trace_id, span.span_id): span for data in self._traces for span in _spans(data)}
        return list(spans.values())

    def counter(self, name: str) -> list[tuple[Mapping[str, Any], float]]:
        """Return the last value of every series of a cumulative counter, with its attributes."""
        latest: dict[tuple[object, ...], tuple[int, Mapping[str, Any], float]] = {}
        for data in self._metrics:
            for series, at, attributes, value in _points(data, name):
                if series not in latest or latest[series][0] <= at:
                    latest[series] = (at, attributes, value)
        return [(attributes, value) for _, attributes, value in latest.values()]

    def _keep(self, kept: list[bytes], request: bytes) -> None:
        self._free -= len(request)
        if self._free >= 0:
            kept.append(request)
        self.arrived.set()


@asynccontextmanager
async def listening(sink: Sink) -> AsyncIterator[int]:
    """Serve the sink on a free port of this host, which is given."""
    limits = LimitSettings()
    reception = Reception(sink, limits=limits, faults=Faults())
    server = GrpcServer(reception, listen="127.0.0.1:0", most=_MOST_MESSAGE_BYTES, limits=limits)
    try:
        yield await server.start()
    finally:
        await server.stop(_GRACE)


def _spans(data: bytes) -> Iterator[Span]:
    for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    name=span.name,
                    trace_id=int.from_bytes(span.trace_id, "big"),
                    span_id=int.from_bytes(span.span_id, "big"),
                    parent_span_id=int.from_bytes(span.parent_span_id, "big"),
                    started_ns=span.start_time_unix_nano,
                    ended_ns=span.end_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    linked_span_ids=tuple(int.from_bytes(link.span_id, "big") for link in span.links),
                )


def _points(data: bytes, name: str) -> Iterator[tuple[tuple[object, ...], int, Mapping[str, Any], float]]:
    for resource in ExportMetricsServiceRequest.FromString(data).resource_metrics:
        sender = _identity(_attributes(resource.resource.attributes))
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name != name:
                    continue
                for point in metric.sum.data_points:
                    attributes = _attributes(point.attributes)
                    kind = point.WhichOneof("value")
                    value = getattr(point, kind) if kind else 0
                    yield (sender, _identity(attributes)), point.time_unix_nano, attributes, value


def _attributes(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(item) for item in value.array_value.values)
    return getattr(value, kind) if kind else None


def _identity(attributes: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(sorted((key, str(value)) for key, value in attributes.items()))
