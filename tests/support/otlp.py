"""Real OTLP for tests: requests made with the SDK's own encoder, and a sink that answers as told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from shadowmesh.model import Leg
from shadowmesh.processor.decode import SpanDecoder
from shadowmesh.processor.decode_view import otlp_view
from shadowmesh.telemetry.spans import leg_span

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
INTERCEPTOR = Resource({"service.name": "model-server", "service.instance.id": "interceptor-1"})


def spans_request(spans: Sequence[ReadableSpan]) -> bytes:
    """Return the bytes in which an SDK exports these spans."""
    return encode_spans(spans).SerializeToString()


def legs_request(legs: Iterable[Leg], resource: Resource = INTERCEPTOR) -> bytes:
    """Return the bytes in which an interceptor exports these legs."""
    return spans_request([leg_span(leg, resource=resource) for leg in legs])


def legs_of(request: bytes) -> list[Leg]:
    """Return the legs in a trace request, as the processor reads them."""
    return SpanDecoder(otlp_view()).decode(request).legs


def counter_request(name: str, counts: Sequence[tuple[dict[str, str], int]], resource: Resource = INTERCEPTOR) -> bytes:
    """Return the bytes in which an SDK exports a counter with these points."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    counter = provider.get_meter("shadowmesh.interceptor").create_counter(name, unit="{request}")
    for attributes, count in counts:
        counter.add(count, attributes)
    data = reader.get_metrics_data()
    assert data is not None
    return encode_metrics(data).SerializeToString()


def call(address: str, **options: Any) -> Callable[[str, bytes], Awaitable[bytes]]:
    """Return a function that sends bytes to a method of the server at ``address``."""

    async def send(method: str, request: bytes) -> bytes:
        async with grpc.aio.insecure_channel(address) as channel:
            export: Callable[..., Awaitable[bytes]] = channel.unary_unary(method)
            return await export(request, timeout=10, **options)

    return send


def _last_points(metric: Metric) -> Metric:
    """Return a metric without the points of its series that are older than others in it."""
    points = getattr(metric, metric.WhichOneof("data") or "").data_points
    last = {str(sorted(map(str, point.attributes))): point for point in points}
    shown = Metric()
    shown.CopyFrom(metric)
    of = getattr(shown, shown.WhichOneof("data") or "")
    del of.data_points[:]
    of.data_points.extend(last.values())
    return shown


class OtlpSink:
    """An OTLP/gRPC server in the test's own loop.

    Args:
        answers: statuses for the first requests, in order; what comes after is accepted. ``None`` accepts.
    """

    def __init__(self, answers: Sequence[grpc.StatusCode | None] = ()) -> None:
        self.requests: list[tuple[str, bytes]] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.port = 0
        self._answers = list(answers)
        self._changed = asyncio.Condition()
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers([_AnyMethod(self._export)])

    @property
    def endpoint(self) -> str:
        return f"http://localhost:{self.port}"

    async def __aenter__(self) -> Self:
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.stop(0)

    async def until(self, ready: Callable[[], object]) -> None:
        """Wait until what was received satisfies ``ready``."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: bool(ready())), 20)

    def bodies(self, method: str) -> list[bytes]:
        """Return the requests to a method."""
        return [request for called, request in self.requests if called == method]

    def spans(self) -> list[Span]:
        """Return every span received."""
        return [
            span
            for body in self.bodies(TRACES)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> dict[str, Metric]:
        """Return the last state of every metric received, one point a series."""
        return {
            metric.name: _last_points(metric)
            for body in self.bodies(METRICS)
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def metric_history(self, name: str) -> list[Metric]:
        """Return a metric as it was each time, in order."""
        return [
            metric
            for body in self.bodies(METRICS)
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]

    async def _export(self, method: str, request: bytes, context: Any) -> bytes:
        async with self._changed:
            self.requests.append((method, request))
            self.metadata.append(dict(context.invocation_metadata()))
            self._changed.notify_all()
        answer = self._answers.pop(0) if self._answers else None
        if answer is not None:
            await context.abort(answer, "as the test says")
        return b""


class _AnyMethod(grpc.GenericRpcHandler):
    def __init__(self, export: Callable[[str, bytes, Any], Awaitable[bytes]]) -> None:
        self._export = export

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            return await self._export(handler_call_details.method, request, context)

        return grpc.unary_unary_rpc_method_handler(answer)


def sums(sink: OtlpSink, name: str, attribute: str) -> dict[str, float]:
    """Return the last value of each point of a counter by one of its attributes."""
    return {
        pair.value.string_value: point.as_int
        for point in sink.metrics()[name].sum.data_points
        for pair in point.attributes
        if pair.key == attribute
    }
