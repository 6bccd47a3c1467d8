"""A struct as JSON: what it holds and not how it was written."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.protocols.structs import struct_json

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.text(max_size=4), st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_it_says_what_the_struct_holds(content: dict[str, Any]) -> None:
    struct = struct_pb2.Struct()
    struct.update(content)
    assert json.loads(struct_json(struct)) == content


def test_the_order_of_keys_on_the_wire_does_not_matter() -> None:
    one, other = ((b"\n\x05\n\x01a\x12\x00"), (b"\n\x05\n\x01b\x12\x00"))
    both = struct_json(struct_pb2.Struct.FromString(one + other))
    assert both == struct_json(struct_pb2.Struct.FromString(other + one)) == '{"a":null,"b":null}'


@given(st.binary(max_size=60))
def test_no_bytes_raise(data: bytes) -> None:
    try:
        struct = struct_pb2.Struct.FromString(data)
    except DecodeError:
        return
    struct_json(struct)


def test_a_whole_number_is_written_as_one() -> None:
    struct = struct_pb2.Struct()
    struct.update({"a": 3, "b": 0.5, "c": 2.0**60})
    assert struct_json(struct) == '{"a":3,"b":0.5,"c":1.152921504606847e+18}'
