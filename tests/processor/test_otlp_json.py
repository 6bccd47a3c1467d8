"""OTLP's JSON is read as the specification says, and nothing else than DecodeError comes out of what is none."""

from __future__ import annotations

import json
import math
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, ExponentialHistogramDataPoint, NumberDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from support.receiving import as_json

from shadowmesh.errors import DecodeError
from shadowmesh.processor.otlp_json import memory_of, parse_json

KINDS = (ExportTraceServiceRequest, ExportMetricsServiceRequest, ExportLogsServiceRequest)
TRACE_ID = "5B8EFFF798038103d269b633813fc60c"


def read(kind: Any, value: Any) -> Any:
    return kind.FromString(parse_json(kind, json.dumps(value).encode()))


def span(**fields: Any) -> Span:
    request = read(ExportTraceServiceRequest, {"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]})
    found: Span = request.resource_spans[0].scope_spans[0].spans[0]
    return found


def test_ids_are_hexadecimal_in_any_case() -> None:
    one = span(traceId=TRACE_ID, spanId="EEE19B7EC3C1B174", parentSpanId="eee19b7ec3c1b173", links=[{"spanId": "aB"}])
    assert one.trace_id.hex() == TRACE_ID.lower()
    assert (one.span_id.hex(), one.parent_span_id.hex()) == ("eee19b7ec3c1b174", "eee19b7ec3c1b173")
    assert one.links[0].span_id == b"\xab"
    assert read(LogRecord, {"traceId": TRACE_ID}).trace_id == one.trace_id
    assert read(Exemplar, {"spanId": "ff"}).span_id == b"\xff"


@pytest.mark.parametrize("value", ["1544712660000000000", 1544712660000000000, 1544712660000000000.0])
def test_a_64_bit_integer_is_a_string_or_a_number(value: str | float) -> None:
    assert span(startTimeUnixNano=value).start_time_unix_nano == 1544712660000000000


@pytest.mark.parametrize("value", ["-9223372036854775808", -9223372036854775808])
def test_the_smallest_integer_is_read_too(value: str | int) -> None:
    assert read(AnyValue, {"intValue": value}).int_value == -(2**63)


def test_enums_are_numbers_known_or_not() -> None:
    assert span(kind=3, status={"code": 2}).kind == Span.SPAN_KIND_CLIENT
    assert span(kind=77).kind == 77


def test_what_is_unknown_is_ignored_and_null_is_absent() -> None:
    one = span(name="n", novelty={"deep": [1, {"er": None}]}, attributes=None, status=None, kind=None)
    assert one == Span(name="n")


def test_a_key_in_snake_case_is_unknown() -> None:
    assert span(trace_id=TRACE_ID, span_id="ff") == Span()


@pytest.mark.parametrize(
    ("value", "number"), [(0.5, 0.5), (2, 2.0), ("0.25", 0.25), ("-Infinity", -math.inf), ("1e3", 1000.0)]
)
def test_a_double_is_a_number_or_a_string(value: object, number: float) -> None:
    assert read(AnyValue, {"doubleValue": value}).double_value == number


def test_not_a_number_is_a_string() -> None:
    assert math.isnan(read(NumberDataPoint, {"asDouble": "NaN"}).as_double)


@pytest.mark.parametrize("text", ["+/8=", "-_8=", "-_8", "+/8"])
def test_other_bytes_are_base64_in_both_alphabets(text: str) -> None:
    assert read(AnyValue, {"bytesValue": text}).bytes_value == b"\xfb\xff"


def test_an_empty_list_of_values_is_not_the_absence_of_one() -> None:
    assert read(AnyValue, {"arrayValue": {}}).WhichOneof("value") == "array_value"
    assert read(AnyValue, {"kvlistValue": {"values": []}}).WhichOneof("value") == "kvlist_value"
    assert read(AnyValue, {}).WhichOneof("value") is None


def test_lists_of_numbers_are_read() -> None:
    point = read(ExponentialHistogramDataPoint, {"scale": -3, "positive": {"offset": -2, "bucketCounts": ["1", 2]}})
    assert (point.scale, point.positive.offset, list(point.positive.bucket_counts)) == (-3, -2, [1, 2])


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        (ExportTraceServiceRequest, [], "ExportTraceServiceRequest: not an object"),
        (ExportTraceServiceRequest, {"resourceSpans": {}}, "resourceSpans: not a list"),
        (ExportTraceServiceRequest, {"resourceSpans": [7]}, "ResourceSpans: not an object"),
        (Span, {"traceId": "ab cd"}, "Span.traceId: not hexadecimal"),
        (Span, {"traceId": "abc"}, "Span.traceId: not hexadecimal"),
        (Span, {"traceId": "W47/95gDgQPSabYzgT/GDA=="}, "Span.traceId: not hexadecimal"),
        (Span, {"traceId": 7}, "Span.traceId: not hexadecimal"),
        (Span, {"kind": "SPAN_KIND_CLIENT"}, "Span.kind: not a number"),
        (Span, {"kind": "3"}, "Span.kind: not a number"),
        (Span, {"kind": 2**31}, "Span.kind: not a value of its kind"),
        (Span, {"startTimeUnixNano": -1}, "Span.startTimeUnixNano: not a value"),
        (Span, {"startTimeUnixNano": 1.5}, "Span.startTimeUnixNano: not an integer"),
        (Span, {"startTimeUnixNano": True}, "Span.startTimeUnixNano: not an integer"),
        (Span, {"startTimeUnixNano": "1_0"}, "Span.startTimeUnixNano: not a number"),
        (Span, {"startTimeUnixNano": "\u0663"}, "Span.startTimeUnixNano: not a number"),
        (Span, {"startTimeUnixNano": " 1"}, "Span.startTimeUnixNano: not a number"),
        (Span, {"startTimeUnixNano": "9" * 5000}, "Span.startTimeUnixNano: not a value"),
        (Span, {"name": 7}, "Span.name: not a string"),
        (Span, {"name": "\ud800"}, "Span.name: not a value"),
        (AnyValue, {"boolValue": 1}, "AnyValue.boolValue: not true or false"),
        (AnyValue, {"intValue": 2**63}, "AnyValue.intValue: not a value"),
        (AnyValue, {"doubleValue": "infinity"}, "AnyValue.doubleValue: not a number"),
        (AnyValue, {"doubleValue": "much"}, "AnyValue.doubleValue: not a value"),
        (AnyValue, {"doubleValue": True}, "AnyValue.doubleValue: not a number"),
        (AnyValue, {"doubleValue": 10**400}, "AnyValue.doubleValue: not a value"),
        (AnyValue, {"bytesValue": "a!=="}, "AnyValue.bytesValue: not base64"),
    ],
)
def test_what_is_wrong_is_named_by_its_key_and_not_quoted(kind: Any, value: object, says: str) -> None:
    with pytest.raises(DecodeError) as error:
        parse_json(kind, json.dumps(value).encode())
    assert says in str(error.value)
    assert len(str(error.value)) < 120


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"nul", b"\xff{}", b'{"a":NaN}', b"[" * 100_000, b'{"a":' * 100_000, b'{"a":' + b"9" * 5000 + b"}"],
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(DecodeError, match=r"^not JSON$"):
        parse_json(ExportTraceServiceRequest, text)


def nested(depth: int) -> bytes:
    return b'{"arrayValue":{"values":[' * depth + b"{}" + b"]}}" * depth


def test_values_nest_as_deep_as_protobuf_lets_them_and_no_deeper() -> None:
    AnyValue.FromString(parse_json(AnyValue, nested(49)))
    with pytest.raises(DecodeError, match="nested deeper"):
        parse_json(AnyValue, nested(51))


COSTLY = {
    "lists": b"[" + b"[]," * 50_000 + b"0]",
    "objects": b"[" + b'{"":0},' * 50_000 + b"0]",
    "nested objects": b"[" + (b'{"":' * 400 + b"0" + b"}" * 400 + b",") * 100 + b"0]",
    "nested lists": b"[" + (b"[" * 400 + b"]" * 400 + b",") * 200 + b"0]",
    "numbers": b"[" + b"1.5," * 50_000 + b"0]",
    "texts": b"[" + b'"ab",' * 50_000 + b"0]",
    "wide texts": ("[" + '"\N{GRINNING FACE}",' * 50_000 + "0]").encode(),
    "a widened text": ('["' + "a" * 200_000 + '\N{GRINNING FACE}"]').encode(),
    "names": b"{" + b",".join(b'"%x":0' % n for n in range(50_000)) + b"}",
}


@pytest.mark.parametrize("text", COSTLY.values(), ids=COSTLY)
def test_no_text_takes_more_memory_than_was_said(text: bytes) -> None:
    tracemalloc.start()
    try:
        with suppress(DecodeError):
            parse_json(ExportTraceServiceRequest, b'{"x":' + text + b"}")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(text) < peak < memory_of(text)


SCALARS = st.one_of(
    st.builds(AnyValue, string_value=st.text()),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, double_value=st.floats(allow_nan=False)),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, bytes_value=st.binary()),
    st.just(AnyValue()),
)


def containers(values: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    arrays = st.lists(values, max_size=3).map(lambda items: AnyValue(array_value=ArrayValue(values=items)))
    pairs = st.lists(st.builds(KeyValue, key=st.text(), value=values), max_size=3)
    return arrays | pairs.map(lambda items: AnyValue(kvlist_value=KeyValueList(values=items)))


SPANS = st.builds(
    Span,
    trace_id=st.binary(max_size=20),
    span_id=st.binary(max_size=20),
    parent_span_id=st.binary(max_size=20),
    name=st.text(),
    kind=st.integers(-(2**31), 2**31 - 1),
    flags=st.integers(0, 2**32 - 1),
    start_time_unix_nano=st.integers(0, 2**64 - 1),
    attributes=st.lists(
        st.builds(KeyValue, key=st.text(), value=st.recursive(SCALARS, containers, max_leaves=6)), max_size=4
    ),
    links=st.lists(st.builds(Span.Link, trace_id=st.binary(max_size=16), span_id=st.binary(max_size=8)), max_size=2),
)


@given(spans=st.lists(SPANS, max_size=3))
def test_every_request_is_the_same_by_way_of_json(spans: list[Span]) -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(spans)
    assert ExportTraceServiceRequest.FromString(parse_json(ExportTraceServiceRequest, as_json(request))) == request


KEYS = st.sampled_from(
    (
        *("resourceSpans", "scopeSpans", "spans", "traceId", "kind", "attributes", "key", "value", "intValue"),
        *("arrayValue", "kvlistValue", "values", "doubleValue", "bytesValue", "resourceMetrics", "scopeMetrics"),
        *("metrics", "sum", "dataPoints", "unknown"),
    )
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(TRACE_ID)
JSON_VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)


@given(kind=st.sampled_from(KINDS), data=JSON_VALUES.map(lambda value: json.dumps(value).encode()) | st.binary())
def test_nothing_but_a_decode_error_comes_out_of_anything(kind: Any, data: bytes) -> None:
    with suppress(DecodeError):
        kind.FromString(parse_json(kind, data))
