"""
The SDK's OTLP/gRPC exporter of logs with an encoder for our events.

Connection, headers, TLS, compression, retries and the end are the SDK's, with the ``OTEL_EXPORTER_OTLP_LOGS_*``
variables. The encoder is ours for the event's name: the SDK writes one since 1.35 only, and its messages know the field
no longer than that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from shadowmesh import names
from shadowmesh.telemetry.content import ContentEvent
from shadowmesh.telemetry.log_records import log_record

# Field 12 of a LogRecord, event_name, as it stands on the wire: a message that does not know it passes it on.
_NAME = bytes([12 << 3 | 2, len(names.GEN_AI_EVENT)]) + names.GEN_AI_EVENT.encode()


class EventLogExporter(OTLPLogExporter):
    """Exports events, all of one resource, and no other logs."""

    def __init__(self, *, endpoint: str | None = None, insecure: bool | None = None) -> None:
        super().__init__(endpoint=endpoint, insecure=insecure)

    def _translate_data(self, data: Sequence[Any]) -> ExportLogsServiceRequest:
        # Of the first for its resource and scope alone.
        request = encode_logs([log_record(event) for event in data[:1]])
        for resource in request.resource_logs:
            for scope in resource.scope_logs:
                del scope.log_records[:]
                scope.schema_url = names.SCHEMA_URL
                for event in data:
                    _encode(event, scope.log_records.add())
        return request


def _encode(event: ContentEvent, into: LogRecord) -> None:
    into.MergeFromString(_NAME)
    into.time_unix_nano = into.observed_time_unix_nano = event.at_ns
    into.severity_number = SeverityNumber.SEVERITY_NUMBER_INFO
    into.trace_id = event.trace_id.to_bytes(16, "big")
    into.span_id = event.span_id.to_bytes(8, "big")
    into.flags = event.flags
    for key, value in event.attributes.items():
        _write(value, into.attributes.add(key=key).value)


def _write(value: Any, into: AnyValue) -> None:
    if isinstance(value, str):
        into.string_value = value
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, int):
        into.int_value = value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _write(inner, into.kvlist_value.values.add(key=key).value)
    else:
        # Said even where nothing is in it.
        into.array_value.SetInParent()
        for inner in value:
            _write(inner, into.array_value.values.add())
