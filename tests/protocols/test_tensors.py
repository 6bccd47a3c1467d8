"""Tensors by name: typed and raw, every datatype, whatever stands beside them; arbitrary bytes never raise."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.filled import filled

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.paths import descriptor_of
from shadowmesh.protocols.sources import source
from shadowmesh.protocols.tensors import TensorLists, tensor_function
from shadowmesh.schema.descriptors import message_class

RESPONSE: Any = message_class("shadowmesh.views.oip.ModelInferResponse")
LISTS = TensorLists(list="outputs[*]", raw="raw_output_contents[*]")
FUNCTIONS = {"tensor": tensor_function(LISTS, descriptor_of(RESPONSE))}


def values(text: str, message: Any) -> list[Any]:
    return list(source(text, descriptor_of(RESPONSE), FUNCTIONS).find(message))


def of_bytes(*parts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


def raw(**tensors: tuple[str, bytes]) -> Any:
    return RESPONSE(
        outputs=[{"name": name, "datatype": datatype} for name, (datatype, _) in tensors.items()],
        raw_output_contents=[data for _, data in tensors.values()],
    )


@pytest.mark.parametrize(
    ("datatype", "data", "kind", "found"),
    [
        ("BYTES", of_bytes(b"one", b"", b"two"), "bytes", [b"one", b"", b"two"]),
        ("BYTES", of_bytes(b"one") + b"\x09\x00\x00\x00x", "bytes", []),
        ("BYTES", b"\x01", "bytes", []),
        ("INT32", struct.pack("<2i", 7, -7), "integer", [7, -7]),
        ("INT64", struct.pack("<q", 1 << 40), "integer", [1 << 40]),
        ("UINT64", struct.pack("<Q", 1 << 63), "integer", [1 << 63]),
        ("UINT8", b"\xff", "integer", [255]),
        ("INT32", b"\x01", "integer", []),
        ("FP32", struct.pack("<f", 0.5), "number", [0.5]),
        ("FP16", np.float16(0.25).tobytes(), "number", [0.25]),
        ("BF16", struct.pack("<f", 1.5)[2:], "number", [1.5]),
        ("BF16", b"\x01", "number", []),
        ("BOOL", b"\x01", "bool", [True]),
        ("BOOL", b"\x00", "bool", []),
        ("BOOL", b"\x01", "integer", []),
        ("FP32", struct.pack("<f", 0.5), "integer", []),
        ("NONSENSE", b"\x01", "bytes", []),
    ],
)
def test_raw_elements_are_read_by_datatype(datatype: str, data: bytes, kind: str, found: list[Any]) -> None:
    message = raw(other=("INT32", b"\x01\x00\x00\x00"), wanted=(datatype, data))
    assert values(f"tensor('wanted', {kind})", message) == found


@pytest.mark.parametrize(
    ("datatype", "contents", "kind", "found"),
    [
        ("BYTES", {"bytes_contents": [b"a", b"b"]}, "bytes", [b"a", b"b"]),
        ("INT32", {"int_contents": [3]}, "integer", [3]),
        ("INT64", {"int64_contents": [4]}, "integer", [4]),
        ("UINT16", {"uint_contents": [5]}, "integer", [5]),
        ("FP64", {"fp64_contents": [0.5]}, "number", [0.5]),
        ("BOOL", {"bool_contents": [True]}, "bool", [True]),
        ("INT32", {"fp64_contents": [0.5]}, "integer", []),
    ],
)
def test_typed_elements_are_read_by_datatype(
    datatype: str, contents: dict[str, Any], kind: str, found: list[Any]
) -> None:
    message = RESPONSE(outputs=[{"name": "wanted", "datatype": datatype, "contents": contents}])
    assert values(f"tensor('wanted', {kind})", message) == found


def test_contents_without_an_element_are_none_and_the_raw_ones_count() -> None:
    message = raw(one=("INT32", struct.pack("<i", 1)), two=("BYTES", of_bytes(b"said")))
    for output in message.outputs:
        output.contents.SetInParent()
    assert values("tensor('one', integer)", message) == [1]
    assert values("tensor('two', bytes)", message) == [b"said"]


def test_raw_elements_stand_where_their_tensor_does_among_those_without_contents_and_shared_memory() -> None:
    message = filled(
        RESPONSE,
        outputs=[
            {"name": "typed", "datatype": "INT32", "contents": {"int_contents": [1]}},
            {"name": "shared", "datatype": "INT32", "parameters": {"shared_memory_region": {"string_param": "r"}}},
            {"name": "first", "datatype": "INT32"},
            {"name": "second", "datatype": "BYTES"},
        ],
        raw_output_contents=[struct.pack("<i", 2), of_bytes(b"three")],
    )
    assert values("tensor('typed', integer)", message) == [1]
    assert values("tensor('shared', integer)", message) == []
    assert values("tensor('first', integer)", message) == [2]
    assert values("tensor('second', bytes)", message) == [b"three"]
    assert values("tensor('third', bytes)", message) == []


@given(st.sampled_from(["BYTES", "INT32", "FP16", "BF16", "BOOL", "FP64", ""]), st.binary(max_size=64))
def test_no_bytes_make_a_tensor_raise(datatype: str, data: bytes) -> None:
    for kind in ("bytes", "integer", "number", "bool"):
        assert isinstance(values(f"tensor('wanted', {kind})", raw(wanted=(datatype, data))), list)


@pytest.mark.parametrize(
    "text", ["tensor(wanted, bytes)", "tensor('wanted')", "tensor('wanted', text)", "tensor('', bytes)"]
)
def test_what_names_no_tensor_is_refused(text: str) -> None:
    with pytest.raises(ProtocolMapError, match="tensor takes a name in quotes"):
        values(text, RESPONSE())


def test_lists_that_are_none_are_refused() -> None:
    with pytest.raises(ProtocolMapError, match="are not tensors and their bytes"):
        tensor_function(TensorLists(list="model_name", raw="raw_output_contents[*]"), descriptor_of(RESPONSE))
