"""The three export services of OTLP as data: where each is called, with which messages, and how it says what it did."""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from shadowmesh.processor.intake import Accepted, Signal


class ExportService(NamedTuple):
    """
    One service: its only method in gRPC, its path in HTTP, its messages, and the field of the response that counts what
    was rejected.
    """

    method: str
    path: str
    request: type[Message]
    response: type[Message]
    rejected: str


SERVICES = {
    Signal.TRACES: ExportService(
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        "/v1/traces",
        ExportTraceServiceRequest,
        ExportTraceServiceResponse,
        "rejected_spans",
    ),
    Signal.METRICS: ExportService(
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        "/v1/metrics",
        ExportMetricsServiceRequest,
        ExportMetricsServiceResponse,
        "rejected_data_points",
    ),
    Signal.LOGS: ExportService(
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        "/v1/logs",
        ExportLogsServiceRequest,
        ExportLogsServiceResponse,
        "rejected_log_records",
    ),
}


def response(signal: Signal, accepted: Accepted) -> Message:
    """Return what the service answers: nothing is said where nothing was rejected and there is no warning."""
    service = SERVICES[signal]
    answer: Any = service.response()
    if accepted.rejected or accepted.message:
        setattr(answer.partial_success, service.rejected, accepted.rejected)
        answer.partial_success.error_message = accepted.message
    made: Message = answer
    return made
