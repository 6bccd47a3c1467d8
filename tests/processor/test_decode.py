"""OTLP bytes become legs and funnel points, and nothing but DecodeError comes out of bad ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from support.legs import live, shadow, usage
from support.otlp import counter_request, legs_request, spans_request

from shadowmesh import names
from shadowmesh.errors import DecodeError
from shadowmesh.model import ChunkGaps, Cost, Leg
from shadowmesh.processor.decode import SpanDecoder, Spans, decode_counters
from shadowmesh.processor.decode_view import otlp_view
from shadowmesh.schema.descriptors import message_class

DECODER = SpanDecoder(otlp_view())


def decode_spans(data: bytes) -> Spans:
    """Decode by one that remembers and by one that does not; they agree."""
    spans = DECODER.decode(data)
    assert spans == SpanDecoder(otlp_view()).decode(data)
    return spans


FULL = [
    live(
        targets=("candidate", "control"),
        experiment_version="7",
        parent_span_id=77,
        probability=0.25,
        streaming=True,
        message_count=9,
        time_to_first_chunk=0.01,
        chunk_gaps=ChunkGaps(p50=0.001, p95=0.002, max=0.003),
        write_stall=0.004,
        deadline=2.5,
        attempt=2,
        exchange_index=3,
        concurrency=1.5,
        server_address="10.0.0.1",
        server_port=8000,
        output_digest="d1",
        target_digest="t1",
        config_digest="c1",
        cost=Cost(amount=0.5, currency="USD", source="provider", pricing_version="v"),
        fields=usage(
            10,
            20,
            cached_input_tokens=1,
            reasoning_output_tokens=2,
            provider="openai",
            request_model="m",
            response_model="m-1",
            response_id="r",
            max_tokens=100,
            temperature=0.5,
            top_p=0.9,
            top_k=40.0,
            seed=-1,
            stop_sequences=("a", "b"),
            usage_source="response",
            finish_reasons=("stop",),
        ),
    ),
    shadow(queue_time=0.5, complete=False, status="INTERNAL"),
    shadow(status=None, end="shed", drop_reason="queue_full"),
]


@pytest.mark.parametrize("leg", FULL, ids=["live", "shadow", "shed"])
def test_a_leg_survives_the_wire(leg: Leg) -> None:
    spans = decode_spans(legs_request([leg]))
    assert spans[:4] == ([leg], 0, 0, "")
    assert [300 < size < len(legs_request([leg])) for size in spans.sizes] == [True]


def test_spans_of_others_are_ignored_and_counted() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("somebody")
    others: list[Any] = [tracer.start_span("their span", attributes={"rpc.method": "a/B", names.ROLE: "live"})]
    others += [tracer.start_span("another")]
    for span in others:
        span.end()
    assert decode_spans(spans_request(others)) == ([], 2, 0, "", [])


def edited(leg: Leg, edit: Callable[[Span], object]) -> bytes:
    """Return the request of a good leg beside an edited copy of it."""
    request = ExportTraceServiceRequest.FromString(legs_request([leg]))
    spans = request.resource_spans[0].scope_spans[0].spans
    spans.append(spans[0])
    edit(spans[1])
    return request.SerializeToString()


def setting(key: str, value: AnyValue | None) -> Callable[[Span], None]:
    def edit(span: Span) -> None:
        kept = [attribute for attribute in span.attributes if attribute.key != key]
        del span.attributes[:]
        span.attributes.extend(kept)
        if value is not None:
            span.attributes.add(key=key, value=value)

    return edit


def text(value: str) -> AnyValue:
    return AnyValue(string_value=value)


def integer(value: int) -> AnyValue:
    return AnyValue(int_value=value)


UNACCEPTABLE: dict[str, Callable[[Span], object]] = {
    "short trace id": lambda span: setattr(span, "trace_id", b"123"),
    "no trace id": lambda span: setattr(span, "trace_id", bytes(16)),
    "no span id": lambda span: setattr(span, "span_id", b""),
    "ends where no clock goes": lambda span: setattr(span, "end_time_unix_nano", 1 << 63),
    "ends before it starts": lambda span: setattr(span, "end_time_unix_nano", span.start_time_unix_nano - 1),
    "unknown role": setting(names.ROLE, text("mirror")),
    "role that is no text": setting(names.ROLE, integer(1)),
    "empty pair id": setting(names.PAIR_ID, text("")),
    "shadow of nobody": setting(names.TARGET_NAME, None),
    "no method": setting(names.RPC_METHOD, None),
    "tokens as text": setting(names.GEN_AI_USAGE_INPUT_TOKENS, text("10")),
    "bytes": setting(names.CALL_END, AnyValue(bytes_value=b"x")),
    "map": setting(names.CALL_END, AnyValue(kvlist_value=KeyValueList())),
    "list of numbers": setting(
        names.GEN_AI_RESPONSE_FINISH_REASONS, AnyValue(array_value=ArrayValue(values=[integer(1)]))
    ),
    "endless list": setting(names.PAIR_TARGETS, AnyValue(array_value=ArrayValue(values=[text("t")] * 65))),
    "endless attributes": lambda span: span.attributes.extend([KeyValue(key="x")] * 1024),
    "endless text": setting(names.EXPERIMENT_NAME, text("x" * 20_000)),
}


@pytest.mark.parametrize("edit", UNACCEPTABLE.values(), ids=UNACCEPTABLE)
def test_a_leg_that_cannot_be_one_is_rejected_alone(edit: Callable[[Span], object]) -> None:
    spans = decode_spans(edited(shadow(), edit))
    assert (spans.legs, spans.ignored, spans.rejected) == ([shadow()], 0, 1)
    assert spans.reason


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (names.GEN_AI_USAGE_OUTPUT_TOKENS, integer(-1)),
        (names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, AnyValue(double_value=float("nan"))),
        (names.COST_AMOUNT, AnyValue(double_value=-0.5)),
        (names.CALL_CONCURRENCY, AnyValue(double_value=float("inf"))),
        (names.GEN_AI_RESPONSE_MODEL, AnyValue()),
    ],
)
def test_a_figure_nobody_can_have_meant_is_not_said(key: str, value: AnyValue) -> None:
    leg = replace(FULL[0])
    unsaid = decode_spans(edited(leg, setting(key, None))).legs[1]
    assert decode_spans(edited(leg, setting(key, value))).legs == [leg, unsaid]


def test_a_parent_id_of_the_wrong_length_makes_a_root() -> None:
    request = edited(live(parent_span_id=5), lambda span: setattr(span, "parent_span_id", b"xyz"))
    assert [leg.parent_span_id for leg in decode_spans(request).legs] == [5, 0]


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_decode_error(data: bytes) -> None:
    for decode in (decode_spans, decode_counters):
        try:
            decode(data)
        except DecodeError:
            continue


@settings(deadline=None)
@given(st.data())
def test_damaged_requests_raise_nothing_but_decode_error(data: st.DataObject) -> None:
    mirrored = {names.EXPERIMENT_NAME: "e", names.TARGET_NAME: "t", names.MIRROR_DECISION: "mirrored"}
    for decode, request in (
        (decode_spans, legs_request(FULL)),
        (decode_counters, counter_request(names.METRIC_MIRROR_REQUESTS, [(mirrored, 3)])),
    ):
        damaged = bytearray(request)
        for _ in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        try:
            decode(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
        except DecodeError:
            continue


def around(*spans: bytes) -> bytes:
    """Return a request of these spans, whatever their bytes."""
    request = message_class("shadowmesh.views.otlp.ExportTraceServiceRequest")()
    scope: Any = request.resource_spans.add().scope_spans.add()  # type: ignore[attr-defined]  # made at run time
    scope.spans.extend(spans)
    return request.SerializeToString()


def span_of(leg: Leg) -> bytes:
    (resource,) = ExportTraceServiceRequest.FromString(legs_request([leg])).resource_spans
    return resource.scope_spans[0].spans[0].SerializeToString()


@given(st.binary(max_size=300), st.data())
def test_whatever_a_span_holds_its_neighbours_count(noise: bytes, data: st.DataObject) -> None:
    good = span_of(live())
    cut = data.draw(st.integers(0, len(good)))
    spans = decode_spans(around(noise, good, good[:cut] + noise, b"\x4a" + bytes([len(noise) % 128]) + noise, good))
    assert spans.legs.count(live()) >= 2
    assert len(spans.legs) + spans.ignored + spans.rejected == 5


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_whatever_a_leg_says_beside_what_it_must_never_raises(attributes: list[bytes]) -> None:
    span = message_class("shadowmesh.views.otlp.Span").FromString(span_of(live()))
    span.attributes.extend(attributes)  # type: ignore[attr-defined]  # made at run time
    spans = decode_spans(around(span.SerializeToString()))
    assert (len(spans.legs), spans.rejected) in ((1, 0), (0, 1))


def test_a_span_that_breaks_off_is_rejected_when_it_is_a_leg_and_ignored_when_it_is_not() -> None:
    leg = span_of(shadow())
    assert decode_spans(around(leg[:-1], b"\x0a\xff", leg))[:4] == ([shadow()], 1, 1, "not a span")


def test_what_others_put_on_a_leg_s_span_is_not_reckoned_to_the_leg() -> None:
    (plain,) = decode_spans(legs_request([live()])).sizes
    prompt = KeyValue(key="gen_ai.input.messages", value=text("x" * 100_000))
    spans = decode_spans(edited(live(), lambda span: span.attributes.append(prompt)))
    assert (spans.legs, spans.sizes[0]) == ([live(), live()], plain)
    assert plain < spans.sizes[1] < plain + 20


def test_spans_of_others_are_not_even_parsed() -> None:
    def refuse(span: bytes) -> Any:
        raise AssertionError("a span of somebody else was parsed")

    decoder = SpanDecoder(otlp_view()._replace(span=refuse, attribute=refuse))
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("somebody")
    spans: list[Any] = [tracer.start_span("GET", attributes={"rpc.method": "a/B", "pair.id": "p"}) for _ in range(9)]
    for span in spans:
        span.end()
    assert decoder.decode(spans_request(spans)).ignored == 9


def test_the_interceptors_funnel_is_read_with_its_instance() -> None:
    request = counter_request(
        names.METRIC_MIRROR_REQUESTS,
        [
            ({names.EXPERIMENT_NAME: "e", names.TARGET_NAME: "t", names.MIRROR_DECISION: "mirrored"}, 8),
            (
                {
                    names.EXPERIMENT_NAME: "e",
                    names.TARGET_NAME: "t",
                    names.MIRROR_DECISION: "dropped",
                    names.MIRROR_DROP_REASON: "queue_full",
                    names.RPC_METHOD: "a/B",
                },
                2,
            ),
        ],
    )
    mirrored, dropped = decode_counters(request).funnel
    assert mirrored.series == ("interceptor-1", "e", "t", "mirrored", "", "", "")
    assert dropped.series == ("interceptor-1", "e", "t", "dropped", "queue_full", "a/B", "")
    assert (mirrored.value, dropped.value, mirrored.cumulative) == (8, 2, True)
    assert 0 < mirrored.started_ns <= mirrored.at_ns


def test_other_metrics_and_points_that_say_too_little_are_skipped() -> None:
    assert decode_counters(counter_request("http.requests", [({}, 1)])) == ([], [])
    assert decode_counters(counter_request(names.METRIC_MIRROR_REQUESTS, [({names.TARGET_NAME: "t"}, 1)])) == ([], [])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_count_that_is_no_count_is_skipped(value: float) -> None:
    attributes = {names.EXPERIMENT_NAME: "e", names.TARGET_NAME: "t", names.MIRROR_DECISION: "mirrored"}
    request = ExportMetricsServiceRequest.FromString(counter_request(names.METRIC_MIRROR_REQUESTS, [(attributes, 3)]))
    point = request.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0]
    point.as_double = value
    assert decode_counters(request.SerializeToString()).funnel == []
    point.as_double = 3.0
    assert [one.value for one in decode_counters(request.SerializeToString()).funnel] == [3]
