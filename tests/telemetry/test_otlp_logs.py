"""Captured text on the wire, through the SDK's own exporters of logs, over gRPC and HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from support.collector import collector
from support.events import EventSink, event

from shadowmesh import names
from shadowmesh.telemetry.content_export import EventExporter
from shadowmesh.telemetry.otlp_logs import EventLogExporter
from shadowmesh.telemetry.providers import log_exporter
from shadowmesh.telemetry.settings import OtlpSettings, TelemetrySettings
from shadowmesh.testing import SpanSink


@contextmanager
def over_grpc(events: EventSink, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventExporter]:
    with collector(SpanSink(), events.take) as address:
        exporter = log_exporter(TelemetrySettings(otlp=OtlpSettings(endpoint=f"http://{address}")))
        assert exporter is not None
        yield exporter
        exporter.shutdown()


@contextmanager
def over_http(events: EventSink, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventExporter]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/logs"
            events.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server gives the name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}/v1/logs")
        exporter = log_exporter(TelemetrySettings())
        assert exporter is not None
        yield exporter
        exporter.shutdown()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("over", [over_grpc, over_http])
def test_events_arrive_with_their_name_their_structure_and_the_context_of_their_span(
    over: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, sent = EventSink(), [event("Why?", span_id=7), event("Wo ist Zürich?", exchange_index=1, complete=False)]
    with ExitStack() as stack:
        assert callable(over)
        exporter = stack.enter_context(over(sink, monkeypatch))
        assert exporter.export(sent).name == "SUCCESS"
    for one, received in zip(sent, sink.wait_for(2), strict=True):
        attributes = dict(received.attributes)
        # Where the SDK is too old to write it.
        name = attributes.pop(names.EVENT_NAME, None) or received.name
        assert name == "gen_ai.client.inference.operation.details"
        assert attributes == one.attributes
        assert (received.trace_id, received.span_id) == (one.trace_id, one.span_id)
        assert (received.flags, received.at_ns, received.severity) == (1, one.at_ns, 9)
        assert received.resource["service.name"] == "model-server"
        assert received.scope[0] == names.SCOPE_INTERCEPTOR


def test_over_grpc_the_name_and_the_schema_stand_where_they_belong_whatever_the_sdk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sink = EventSink()
    with over_grpc(sink, monkeypatch) as exporter:
        exporter.export([event()])
    (received,) = sink.events
    assert received.name == names.GEN_AI_EVENT
    assert names.EVENT_NAME not in received.attributes
    assert received.scope == (names.SCOPE_INTERCEPTOR, names.SCHEMA_URL)


def test_an_empty_list_is_said_and_is_a_list() -> None:
    exporter = EventLogExporter(endpoint="http://127.0.0.1:1", insecure=True)
    bare = event()._replace(attributes={"messages": [{"role": "assistant", "parts": []}]})
    sink = EventSink()
    sink.take(exporter._translate_data([bare]).SerializeToString())
    assert sink.events[0].attributes == bare.attributes
    assert exporter._translate_data([]) == ExportLogsServiceRequest()
    exporter.shutdown()


def test_a_receiver_that_knows_no_logs_is_a_failure_and_no_more() -> None:
    with collector(SpanSink()) as address:
        exporter = log_exporter(TelemetrySettings(otlp=OtlpSettings(endpoint=f"http://{address}")))
        assert exporter is not None
        assert exporter.export([event()]).name == "FAILURE"
        exporter.shutdown()
