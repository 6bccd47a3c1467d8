"""Spans on the wire: our encoder says what the SDK's says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link
from support.legs import live, shadow

from shadowmesh.model import Fields, Leg, TraceContext
from shadowmesh.telemetry import otlp
from shadowmesh.telemetry.otlp import PairSpanExporter
from shadowmesh.telemetry.spans import inbound_span, leg_span, span_context

RESOURCE = Resource({"service.name": "model-server"}, schema_url="https://example.com/1")
TRACE = TraceContext(trace_id=5, inbound_span_id=6, remote_span_id=7, inbound_is_ours=True, flags=1, state="a=1,b=2")
FULL = Fields(operation="chat", request_model="m", temperature=0.5, max_tokens=1, seed=1, stop_sequences=("x", "é"))


@pytest.fixture
def exporter() -> Iterator[PairSpanExporter]:
    made = PairSpanExporter(endpoint="http://127.0.0.1:1", insecure=True)
    yield made
    made.shutdown()


def pair(number: int, **changes: Any) -> list[ReadableSpan]:
    legs = [replace(leg, trace_id=number, **changes) for leg in (live(fields=FULL), shadow(parent_span_id=6))]
    link = Link(span_context(number, legs[0].span_id))
    return [
        inbound_span(TRACE, method="a.B/C", started_ns=1, ended_ns=2, status="INTERNAL", resource=RESOURCE),
        leg_span(legs[0], resource=RESOURCE),
        leg_span(legs[1], resource=RESOURCE, links=[link], flags=0, trace_state="v=1"),
    ]


def sorted_attributes(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.attributes.sort(key=lambda attribute: attribute.key)
    return request


def assert_encoded_alike(exporter: PairSpanExporter, spans: Sequence[ReadableSpan]) -> None:
    assert sorted_attributes(exporter._translate_data(spans)) == sorted_attributes(encode_spans(spans))


def test_a_batch_is_encoded_as_the_sdk_encodes_it_the_first_time_and_every_time(exporter: PairSpanExporter) -> None:
    spans = [span for number in range(1, 4) for span in pair(number, status="UNAVAILABLE", probability=1.0)]
    for _ in range(2):
        assert_encoded_alike(exporter, spans)


@pytest.mark.parametrize(
    "leg",
    [
        live(status=None, attempt=2, streaming=True, time_to_first_chunk=0.0, expected_targets=("a", "b")),
        shadow(drop_reason="queue_full", queue_time=0.25, server_address="h", server_port=1, exchange_index=1),
    ],
)
def test_every_kind_of_value_survives(exporter: PairSpanExporter, leg: Leg) -> None:
    assert_encoded_alike(exporter, [leg_span(leg, resource=RESOURCE)])


def test_captured_text_goes_out_and_is_not_kept(exporter: PairSpanExporter) -> None:
    more = {"gen_ai.input.messages": '["hunter2"]', "gen_ai.output.messages": "[]", "gen_ai.system_instructions": "[]"}
    assert_encoded_alike(exporter, [leg_span(live(), resource=RESOURCE, more=more)])
    assert not {key for key, _ in exporter._kept} & more.keys()


def test_no_batch_is_no_request_to_encode(exporter: PairSpanExporter) -> None:
    assert exporter._translate_data([]) == encode_spans([])


def test_what_is_kept_is_bounded(exporter: PairSpanExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "_MOST_KEPT", 8)
    for number in range(1, 30):
        assert_encoded_alike(exporter, [leg_span(live(experiment_version=f"v{number}"), resource=RESOURCE)])
        assert len(exporter._kept) <= 8
