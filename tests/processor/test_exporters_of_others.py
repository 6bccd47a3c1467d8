"""The OpenTelemetry SDK's own exporters against our receivers: everything arrives, and they wait when told to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from support.legs import live, shadow
from support.otlp import INTERCEPTOR
from support.receiving import ScriptedIntake, receiving

from shadowmesh.errors import OverloadedError
from shadowmesh.processor.intake import Accepted, Signal
from shadowmesh.processor.otlp_services import SERVICES
from shadowmesh.processor.receiver import Receiver
from shadowmesh.telemetry.spans import leg_span

PROTOCOLS = ("grpc", "http")
SPANS = [leg_span(leg, resource=INTERCEPTOR) for n in range(50) for leg in (live(f"p{n}"), shadow(f"p{n}"))]


def exporter(kinds: dict[str, Any], protocol: str, signal: Signal, receiver: Receiver, *, gzipped: bool = False) -> Any:
    """Return an exporter of one of the kinds to the receiver."""
    kind = kinds[protocol]
    if protocol == "grpc":
        packing = grpc.Compression.Gzip if gzipped else grpc.Compression.NoCompression
        return kind(endpoint=f"http://127.0.0.1:{receiver.port}", insecure=True, compression=packing)
    endpoint = f"http://127.0.0.1:{receiver.http_port}{SERVICES[signal].path}"
    return kind(endpoint=endpoint, compression=Compression.Gzip if gzipped else Compression.NoCompression)


def spans_to(protocol: str, receiver: Receiver, *, gzipped: bool = False) -> Any:
    kinds = {"grpc": GrpcSpans, "http": HttpSpans}
    return exporter(kinds, protocol, Signal.TRACES, receiver, gzipped=gzipped)


def span_ids(requests: Sequence[tuple[Signal, bytes]]) -> list[tuple[bytes, bytes]]:
    return [
        (span.trace_id, span.span_id)
        for _, request in requests
        for resource in ExportTraceServiceRequest.FromString(request).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def ids_of(spans: Sequence[ReadableSpan]) -> list[tuple[bytes, bytes]]:
    return [(one.context.trace_id.to_bytes(16, "big"), one.context.span_id.to_bytes(8, "big")) for one in spans]


both = pytest.mark.parametrize("protocol", PROTOCOLS)
packed = pytest.mark.parametrize("gzipped", [False, True], ids=["identity", "gzip"])


@both
@packed
async def test_spans_arrive(protocol: str, *, gzipped: bool) -> None:
    intake = ScriptedIntake()
    async with receiving(intake) as receiver:
        sender = spans_to(protocol, receiver, gzipped=gzipped)
        assert await asyncio.to_thread(sender.export, SPANS) is SpanExportResult.SUCCESS
        await asyncio.to_thread(sender.shutdown)
    assert sorted(span_ids(intake.taken)) == sorted(ids_of(SPANS))


@both
@packed
async def test_metrics_arrive(protocol: str, *, gzipped: bool) -> None:
    intake = ScriptedIntake()
    reader = InMemoryMetricReader()
    MeterProvider([reader], shutdown_on_exit=False).get_meter("m").create_counter("calls").add(7)
    async with receiving(intake) as receiver:
        kinds = {"grpc": GrpcMetrics, "http": HttpMetrics}
        sender = exporter(kinds, protocol, Signal.METRICS, receiver, gzipped=gzipped)
        await asyncio.to_thread(sender.export, reader.get_metrics_data())
        await asyncio.to_thread(sender.shutdown)
    ((signal, request),) = intake.taken
    (resource,) = ExportMetricsServiceRequest.FromString(request).resource_metrics
    assert signal is Signal.METRICS
    assert resource.scope_metrics[0].metrics[0].sum.data_points[0].as_int == 7


@both
@packed
async def test_logs_arrive(protocol: str, *, gzipped: bool) -> None:
    intake = ScriptedIntake()
    async with receiving(intake) as receiver:
        kinds = {"grpc": GrpcLogs, "http": HttpLogs}
        provider = LoggerProvider(shutdown_on_exit=False)
        sender = exporter(kinds, protocol, Signal.LOGS, receiver, gzipped=gzipped)
        provider.add_log_record_processor(SimpleLogRecordProcessor(sender))
        record = LogRecord(body="the captured text", event_name="acme.captured")
        await asyncio.to_thread(provider.get_logger("l").emit, record)
        await asyncio.to_thread(provider.shutdown)
    ((signal, request),) = intake.taken
    (resource,) = ExportLogsServiceRequest.FromString(request).resource_logs
    assert signal is Signal.LOGS
    assert resource.scope_logs[0].log_records[0].event_name == "acme.captured"


class Overloaded(ScriptedIntake):
    """Sends the first requests away, and notes when each came."""

    def __init__(self, times: int, retry_after: float) -> None:
        super().__init__(*[OverloadedError("full", retry_after=retry_after)] * times)
        self.came: list[float] = []

    async def take(self, signal: Signal, request: bytes) -> Accepted:
        self.came.append(time.monotonic())
        return await super().take(signal, request)


@pytest.mark.parametrize(("protocol", "asked"), [("grpc", 0.25), ("http", 1.0)])
async def test_they_wait_as_long_as_they_are_asked_to_and_lose_nothing(protocol: str, asked: float) -> None:
    # Left to themselves they would wait 1, 2 and 4 s, each give or take a fifth; HTTP cannot ask for less than one.
    intake = Overloaded(3, asked)
    async with receiving(intake) as receiver:
        sender = spans_to(protocol, receiver)
        assert await asyncio.to_thread(sender.export, SPANS) is SpanExportResult.SUCCESS
        await asyncio.to_thread(sender.shutdown)
        assert receiver.requests.overloaded == 3
    gaps = [later - earlier for earlier, later in zip(intake.came, intake.came[1:], strict=False)]
    assert len(gaps) == 3
    assert min(gaps) >= asked
    assert sum(gaps) < 4.5
    assert sorted(span_ids(intake.taken)) == sorted(ids_of(SPANS))


@both
async def test_they_never_repeat_what_was_taken_in_only_in_part(protocol: str) -> None:
    intake = ScriptedIntake(Accepted(3, "bad ids"))
    async with receiving(intake) as receiver:
        sender = spans_to(protocol, receiver)
        assert await asyncio.to_thread(sender.export, SPANS) is SpanExportResult.SUCCESS
        await asyncio.to_thread(sender.shutdown)
    assert len(intake.taken) == 1


async def test_what_is_too_large_is_not_repeated() -> None:
    # Over HTTP: Python's gRPC exporter repeats it all the same.
    async with receiving(max_message_bytes=1000) as receiver:
        sender = spans_to("http", receiver)
        assert await asyncio.to_thread(sender.export, SPANS) is SpanExportResult.FAILURE
        await asyncio.to_thread(sender.shutdown)
        assert receiver.requests.refused == 1
