"""Finished spans, as the SDK's own encoder puts them on the wire."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link
from support.legs import live, shadow
from support.wire import reference, request, response

from shadowmesh import names
from shadowmesh.model import Fields, Leg, TraceContext
from shadowmesh.protocols.reading import read
from shadowmesh.schema import messages
from shadowmesh.telemetry.spans import inbound_span, leg_span, span_context
from shadowmesh.testing import leg_of

RESOURCE = Resource({"service.name": "model-server"})
CHAT = Fields(operation="chat", request_model="m-1")


def encoded(span: ReadableSpan) -> tuple[Span, ScopeSpans]:
    ((scope,),) = ([*resource.scope_spans] for resource in encode_spans([span]).resource_spans)
    (only,) = scope.spans
    return only, scope


def leg_on_the_wire(leg: Leg, **changes: Any) -> Span:
    return encoded(leg_span(leg, resource=RESOURCE, **changes))[0]


def test_a_live_leg_is_an_internal_span_under_the_inbound_one() -> None:
    leg = live(parent_span_id=9, fields=CHAT)
    span = leg_on_the_wire(leg)
    assert (span.kind, span.name) == (Span.SPAN_KIND_INTERNAL, "chat m-1")
    assert span.trace_id == leg.trace_id.to_bytes(16, "big")
    assert span.span_id == (1).to_bytes(8, "big")
    assert span.parent_span_id == (9).to_bytes(8, "big")
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (leg.started_ns, leg.ended_ns)
    assert not span.links
    assert span.status.code == Status.STATUS_CODE_UNSET


def test_a_shadow_leg_is_a_client_span_of_the_same_name_linked_to_the_live_one() -> None:
    pair = live(fields=CHAT), shadow(parent_span_id=9, fields=CHAT)
    link = Link(span_context(pair[0].trace_id, pair[0].span_id))
    span = leg_on_the_wire(pair[1], links=(link,))
    assert (span.kind, span.name) == (Span.SPAN_KIND_CLIENT, leg_on_the_wire(pair[0]).name)
    (found,) = span.links
    assert (found.trace_id, found.span_id) == (span.trace_id, (1).to_bytes(8, "big"))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (Fields(), "shadowmesh.v1.Inference/Generate"),
        (Fields(request_model="m"), "shadowmesh.v1.Inference/Generate"),
        (Fields(operation="ingest"), "ingest"),
        (CHAT, "chat m-1"),
    ],
)
def test_a_span_is_named_after_what_is_known(fields: Fields, name: str) -> None:
    assert leg_on_the_wire(live(fields=fields)).name == name


@pytest.mark.parametrize("status", ["UNAVAILABLE", "CANCELLED", "INVALID_ARGUMENT"])
def test_a_leg_that_failed_is_an_error_whatever_failed_it(status: str) -> None:
    assert leg_on_the_wire(shadow(status=status)).status.code == Status.STATUS_CODE_ERROR


@pytest.mark.parametrize("status", ["OK", None])
def test_success_and_an_unknown_status_are_no_errors(status: str | None) -> None:
    assert leg_on_the_wire(shadow(status=status)).status.code == Status.STATUS_CODE_UNSET


@pytest.mark.parametrize("flags", [0, 1])
def test_the_sampled_flag_and_the_state_are_the_callers(flags: int) -> None:
    span = leg_span(live(parent_span_id=9), resource=RESOURCE, flags=flags, trace_state="vendor=1,other=2")
    assert span.parent is not None
    assert span.context.trace_flags == span.parent.trace_flags == flags
    assert encoded(span)[0].trace_state == "vendor=1,other=2"


def test_a_leg_without_a_parent_is_a_root() -> None:
    assert leg_on_the_wire(live(parent_span_id=0)).parent_span_id == b""


def test_scope_schema_and_resource_say_who_speaks_and_in_which_version() -> None:
    made = leg_span(live(), resource=RESOURCE)
    span, scope = encoded(made)
    assert made.instrumentation_scope is not None
    assert made.instrumentation_scope.schema_url == names.SCHEMA_URL == "https://opentelemetry.io/schemas/1.41.1"
    assert scope.scope.name == "shadowmesh.interceptor"
    # The encoder of 1.28 leaves it out.
    assert scope.schema_url in ("", names.SCHEMA_URL)
    assert not span.events, "no text, no exceptions"
    (resource,) = encode_spans([made]).resource_spans
    assert [attribute.key for attribute in resource.resource.attributes] == ["service.name"]


def test_attributes_keep_their_types_on_the_wire() -> None:
    leg = replace(shadow(streaming=True, message_count=3, deadline=2.0), fields=replace(CHAT, finish_reasons=("stop",)))
    kinds = {attribute.key: attribute.value.WhichOneof("value") for attribute in leg_on_the_wire(leg).attributes}
    assert kinds[names.ROLE] == "string_value"
    assert kinds[names.STREAM_MESSAGE_COUNT] == "int_value"
    assert kinds[names.CALL_DEADLINE] == "double_value"
    assert kinds[names.STREAM_COMPLETE] == kinds[names.GEN_AI_REQUEST_STREAM] == "bool_value"
    assert kinds[names.GEN_AI_RESPONSE_FINISH_REASONS] == "array_value"


def test_a_span_gives_its_leg_back() -> None:
    for leg in (live(parent_span_id=9, fields=CHAT), shadow(status="UNAVAILABLE", queue_time=0.1)):
        assert leg_of(leg_span(leg, resource=RESOURCE)) == leg
    inbound = inbound_span(TRACE, method="a.B/C", started_ns=1, ended_ns=2, status="OK", resource=RESOURCE)
    assert leg_of(inbound) is None


# --- the server's own span ------------------------------------------------------------------------------------

TRACE = TraceContext(trace_id=5, inbound_span_id=6, remote_span_id=7, inbound_is_ours=True, flags=1, state="vendor=1")


def inbound(status: str | None, trace: TraceContext = TRACE, *, ended_ns: int = 20) -> Span:
    return encoded(
        inbound_span(trace, method="a.B/C", started_ns=10, ended_ns=ended_ns, status=status, resource=RESOURCE)
    )[0]


def test_the_inbound_span_is_a_server_span_under_the_callers() -> None:
    span = inbound("OK")
    assert (span.kind, span.name, span.trace_state) == (Span.SPAN_KIND_SERVER, "a.B/C", "vendor=1")
    assert (span.span_id, span.parent_span_id) == ((6).to_bytes(8, "big"), (7).to_bytes(8, "big"))
    attributes = {attribute.key: attribute.value.string_value for attribute in span.attributes}
    assert attributes == {"rpc.system.name": "grpc", "rpc.method": "a.B/C", "rpc.response.status_code": "OK"}


def test_the_inbound_span_of_a_call_without_a_caller_is_a_root() -> None:
    assert inbound("OK", replace(TRACE, remote_span_id=0)).parent_span_id == b""


def test_the_parent_of_the_inbound_span_is_remote_and_that_of_a_leg_is_not() -> None:
    parent = inbound_span(TRACE, method="m", started_ns=1, ended_ns=2, status="OK", resource=RESOURCE).parent
    assert parent is not None
    assert parent.is_remote
    parent = leg_span(live(parent_span_id=6), resource=RESOURCE).parent
    assert parent is not None
    assert not parent.is_remote


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("OK", False),
        (None, False),
        ("CANCELLED", False),
        ("INVALID_ARGUMENT", False),
        ("NOT_FOUND", False),
        ("RESOURCE_EXHAUSTED", False),
        ("UNAUTHENTICATED", False),
        ("UNKNOWN", True),
        ("DEADLINE_EXCEEDED", True),
        ("UNIMPLEMENTED", True),
        ("INTERNAL", True),
        ("UNAVAILABLE", True),
        ("DATA_LOSS", True),
    ],
)
def test_a_server_span_is_an_error_only_where_the_server_is_at_fault(status: str | None, error: bool) -> None:
    span = inbound(status)
    assert (span.status.code == Status.STATUS_CODE_ERROR) is error
    assert ("error.type" in {attribute.key for attribute in span.attributes}) is error


def test_a_span_never_ends_before_it_starts() -> None:
    assert inbound("OK", ended_ns=5).end_time_unix_nano == 10


# --- hostile bytes --------------------------------------------------------------------------------------------


@given(st.integers(0, 2**64 - 1), st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=300))
def test_no_value_from_the_wire_is_lost_or_breaks_the_encoder(number: int, text: str) -> None:
    usage = messages.Usage(input_tokens=number, output_tokens=number)
    asked = request(seed=number, model=text, sampling={"stop": [text], "temperature": float("inf")})
    fields = read(reference("Generate"), [asked], [response(model=text, usage=usage)]).fields
    leg = replace(shadow(), fields=fields)
    span = leg_span(leg, resource=RESOURCE)
    assert {attribute.key for attribute in encoded(span)[0].attributes} == set(span.attributes or {})
