"""An attribute is read the same however it is encoded and however often, and what is remembered stays small."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from shadowmesh import names
from shadowmesh.errors import DecodeError
from shadowmesh.names import Foreign
from shadowmesh.processor.decode_aliases import ALIASES
from shadowmesh.processor.decode_attributes import MAKERS, NOTHING, Attributes
from shadowmesh.processor.decode_view import otlp_view
from shadowmesh.telemetry.attributes import SLOTS, from_attributes

TEXTS = st.text(max_size=200)
VALUES: st.SearchStrategy[AnyValue] = st.one_of(
    st.just(AnyValue()),
    TEXTS.map(lambda text: AnyValue(string_value=text)),
    st.booleans().map(lambda value: AnyValue(bool_value=value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: AnyValue(int_value=value)),
    st.integers(-3, 70_000).map(lambda value: AnyValue(int_value=value)),
    st.floats().map(lambda value: AnyValue(double_value=value)),
    st.binary(max_size=20).map(lambda value: AnyValue(bytes_value=value)),
    st.just(AnyValue(kvlist_value=KeyValueList())),
    st.lists(TEXTS, max_size=3).map(
        lambda texts: AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=text) for text in texts]))
    ),
    st.just(AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1)]))),
)
KEYS = st.sampled_from(sorted(SLOTS.keys() | ALIASES.keys())) | st.text(max_size=140)
COMPLETE = {
    names.EXPERIMENT_NAME: "e",
    names.PAIR_ID: "p",
    names.ROLE: "live",
    names.RPC_METHOD: "m",
    names.CALL_END: "completed",
}


def attributes(**limits: int) -> Attributes:
    return Attributes(otlp_view().attribute, **limits)


def read(data: bytes, reader: Attributes | None = None) -> Any:
    """Return what is read, or that nothing can be."""
    try:
        return (reader or attributes()).read(data)
    except DecodeError:
        return DecodeError


def text(key: str, value: str) -> bytes:
    return KeyValue(key=key, value=AnyValue(string_value=value)).SerializeToString()


def plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)


@given(KEYS, VALUES)
def test_it_says_what_the_span_s_reader_would_read(key: str, value: AnyValue) -> None:
    said = read(KeyValue(key=key, value=value).SerializeToString())
    if key not in SLOTS:
        assert said is NOTHING or key in ALIASES
        return
    if value.WhichOneof("value") is None:
        assert said is NOTHING
        return
    try:
        leg = from_attributes(
            COMPLETE | {key: plain(value)}, trace_id=1, span_id=1, parent_span_id=1, started_ns=1, ended_ns=1
        )
    except DecodeError:
        assert said is DecodeError or said is NOTHING
        return
    if said is NOTHING:
        # A figure nobody can have meant, or a status gRPC does not have.
        assert isinstance(plain(value), (int, float, str))
        return
    record, place, held = said
    name = list(MAKERS[record].place)[place]
    expected = {0: leg, 1: leg.fields}.get(record)
    if expected is not None:
        assert getattr(expected, name) == held


@given(KEYS, VALUES)
def test_the_shape_on_the_wire_does_not_matter(key: str, value: AnyValue) -> None:
    usual = KeyValue(key=key, value=value).SerializeToString()
    value_first = KeyValue(value=value).SerializeToString() + KeyValue(key=key).SerializeToString()
    with_more = usual + b"\x98\x06\x01"
    assert repr(read(value_first)) == repr(read(with_more)) == repr(read(usual))


@given(
    st.sampled_from([names.STREAM_MESSAGE_COUNT, names.CALL_DEADLINE, names.STREAM_COMPLETE, names.ROLE]),
    st.binary(max_size=12)
    | st.builds(bytes.__add__, st.sampled_from([b"\x0a", b"\x10", b"\x18", b"!"]), st.binary(max_size=9)),
)
@example(names.STREAM_MESSAGE_COUNT, b"\x18\x05\x07")
@example(names.STREAM_MESSAGE_COUNT, b"\x18\x85\x01")
@example(names.STREAM_MESSAGE_COUNT, b"\x18\x85\x81")
def test_a_value_of_any_bytes_is_what_protobuf_takes_it_for(key: str, value: bytes) -> None:
    usual, behind = KeyValue(key=key).SerializeToString(), b"\x12" + bytes([len(value)]) + value
    assert repr(read(usual + behind)) == repr(read(behind + usual))


@given(KEYS, VALUES)
def test_what_is_remembered_is_what_was_read(key: str, value: AnyValue) -> None:
    data, reader = KeyValue(key=key, value=value).SerializeToString(), attributes()
    first = read(data, reader)
    assert repr(reader.known.get(data, first)) == repr(read(data, reader)) == repr(first)


@given(st.binary(max_size=200))
@example(b"")
@example(b"\n")
@example(b"\n\x0fshadowmesh.role")
@example(b"\n\x0fshadowmesh.role\x12")
@example(b"\n\x0fshadowmesh.role\x12\x02\x0a\x01")
@example(b"\n\x0fshadowmesh.role\x12\x03\x0a\x01\xff")
@example(b"\n\x0fshadowmesh.role\x12\x00")
def test_arbitrary_bytes_raise_nothing_but_decode_error(data: bytes) -> None:
    read(data)
    read(b"\n\x0fshadowmesh.role" + data)
    read(b"\n\x0fshadowmesh.role\x12" + bytes([len(data) % 128]) + data)


@pytest.mark.parametrize("status", ["ok", "0", "FINE", "", "OK "])
def test_a_status_grpc_does_not_have_is_not_said(status: str) -> None:
    assert read(text(names.RPC_RESPONSE_STATUS_CODE, status)) is NOTHING
    assert read(text(names.RPC_RESPONSE_STATUS_CODE, "OK")) is not NOTHING


@pytest.mark.parametrize("key", ALIASES)
def test_an_alias_of_another_type_is_somebody_else_s(key: str) -> None:
    wrong = AnyValue(bool_value=True)
    assert read(KeyValue(key=key, value=wrong).SerializeToString()) is NOTHING


def test_no_count_and_no_cost_is_negative_by_any_name() -> None:
    for key in ALIASES.keys() - {Foreign.RPC_GRPC_STATUS_CODE}:
        for value in (AnyValue(int_value=-1), AnyValue(double_value=-1.0)):
            assert read(KeyValue(key=key, value=value).SerializeToString()) is NOTHING


@pytest.mark.parametrize(
    "key",
    [
        *(names.STREAM_STALL_COUNT, names.STREAM_MESSAGE_COUNT, names.STREAM_WRITE_STALL, names.MIRROR_QUEUE_TIME),
        *(names.STREAM_CHUNK_GAP_P50, names.STREAM_CHUNK_GAP_P95, names.STREAM_CHUNK_GAP_MAX, names.CALL_DEADLINE),
        names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
    ],
)
def test_no_count_and_no_time_of_a_stream_is_negative(key: str) -> None:
    for value in (AnyValue(int_value=-1), AnyValue(double_value=-1.0)):
        assert read(KeyValue(key=key, value=value).SerializeToString()) is NOTHING
    assert read(KeyValue(key=key, value=AnyValue(int_value=0)).SerializeToString()) is not NOTHING


def test_values_that_never_come_again_take_no_other_s_place() -> None:
    reader = attributes(values=10)
    usual = [text(names.RPC_METHOD, f"m{number}") for number in range(10)]
    for data in usual:
        reader.read(data)
    for number in range(1000):
        reader.read(text(names.PAIR_ID, f"p{number}"))
        reader.read(text(f"somebody.{number}", "x"))
        reader.read(KeyValue(key=names.CALL_DEADLINE, value=AnyValue(double_value=number)).SerializeToString())
    assert all(data in reader.known for data in usual)
    assert len(reader.known) == 40


def test_what_nobody_reads_is_not_looked_at_again() -> None:
    reader = attributes()
    system = text(names.RPC_SYSTEM_NAME, "grpc")
    assert reader.read(system) is NOTHING
    assert reader.known == {system: NOTHING}


def test_what_was_remembered_is_forgotten_after_so_many_legs() -> None:
    reader = attributes(legs=100, values=1)
    reader.read(text(names.EXPERIMENT_NAME, "secret"))
    reader.age(99)
    assert len(reader.known) == 1
    reader.age(1)
    assert reader.known == {}
    reader.read(text(names.EXPERIMENT_NAME, "new"))
    assert len(reader.known) == 1


def test_long_attributes_are_not_remembered() -> None:
    reader = attributes(longest=100)
    reader.read(text(names.EXPERIMENT_NAME, "x" * 100))
    assert reader.known == {}


def test_an_attribute_no_leg_can_have_is_refused_before_it_is_parsed() -> None:
    items = ArrayValue(values=[AnyValue()] * 100_000)
    with pytest.raises(DecodeError, match="more than 16384 characters"):
        attributes().read(KeyValue(key=names.PAIR_TARGETS, value=AnyValue(array_value=items)).SerializeToString())
