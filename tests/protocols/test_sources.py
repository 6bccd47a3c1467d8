"""What a map makes of paths: coalesce, presence, comparisons, JSON in a field; nothing of it raises on a message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf import struct_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.json_source import json_source
from shadowmesh.protocols.paths import descriptor_of
from shadowmesh.protocols.sources import Source, source
from shadowmesh.schema import messages

FUNCTIONS = {"json": json_source}


def values(text: str, message: Message) -> list[Any]:
    return list(source(text, descriptor_of(type(message)), FUNCTIONS).find(message))


def test_of_several_paths_the_first_that_has_a_value_counts() -> None:
    text = "model | request_id | prompt"
    assert values(text, messages.GenerateRequest(prompt="p")) == ["p"]
    assert values(text, messages.GenerateRequest(request_id="r", prompt="p")) == ["r"]
    assert values(text, messages.GenerateRequest(model="m", request_id="r")) == ["m"]
    assert values(text, messages.GenerateRequest()) == []


def test_paths_of_one_source_have_to_be_of_one_kind() -> None:
    descriptor = descriptor_of(messages.GenerateRequest)
    assert source("max_tokens | sampling.temperature", descriptor).kind == "integer"
    with pytest.raises(ProtocolMapError, match="integer or text, which is not the same"):
        source("model | max_tokens", descriptor)


def test_presence_is_true_or_nothing() -> None:
    assert values("has(usage)", messages.GenerateResponse(usage={})) == [True]
    assert values("has(usage)", messages.GenerateResponse()) == []
    assert values("has(prompt)", messages.GenerateRequest(prompt="")) == [True]
    assert values("has(tool_calls[name='look'])", messages.GenerateResponse(tool_calls=[{"name": "look"}])) == [True]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("model == 'm'", [True]),
        ("model == 'n'", []),
        ("model != 'n'", [True]),
        ("model != ''", [True]),
        ("request_id != 'x'", []),
        ("max_tokens == 7", [True]),
        ("max_tokens != 7", []),
        ("sampling.temperature == 0.5", [True]),
        ("max_tokens == -1", []),
        ("model == 'a | b'", []),
        ("model == 'm' | has(prompt)", [True]),
    ],
)
def test_a_comparison_is_true_or_nothing_and_nothing_where_there_is_no_value(text: str, found: list[bool]) -> None:
    request = messages.GenerateRequest(model="m", max_tokens=7, sampling={"temperature": 0.5})
    assert values(text, request) == found


def test_bytes_are_compared_with_their_text() -> None:
    from google.protobuf import wrappers_pb2

    assert values("value == 'x'", wrappers_pb2.BytesValue(value=b"x")) == [True]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("has(usage, text)", "takes one path"),
        ("has(nothing)", "no field 'nothing'"),
        ("tensor('x', bytes)", "no function 'tensor'"),
        ("usage == 'x'", "compared with nothing"),
        ("text |", "neither a field"),
        ("text == x", "neither a field"),
        ("json(text, a)", "json takes"),
        ("json(text, a, message)", "json takes"),
        ("json(usage, a, text)", "holds no JSON"),
        ("json(text, a..b, text)", "no path into JSON"),
        ("json(text, a[x], text)", "no path into JSON"),
    ],
)
def test_what_is_no_source_is_refused_before_any_message_is_read(text: str, problem: str) -> None:
    with pytest.raises(ProtocolMapError, match=problem):
        source(text, descriptor_of(messages.GenerateResponse), FUNCTIONS)


@pytest.mark.parametrize(
    ("data", "inner", "kind", "found"),
    [
        ('{"a": {"b": [1, 2]}}', "a.b[*]", "integer", [1, 2]),
        ('{"a": {"b": [1, 2]}}', "a.b[1]", "integer", [2]),
        ('{"a": {"b": [1, 2]}}', "a.b[7]", "integer", []),
        ('{"choices": [{"delta": {"content": "x"}}, {"delta": {}}]}', "choices[*].delta.content", "text", ["x"]),
        ('{"n": "12"}', "n", "integer", [12]),
        ('{"n": true}', "n", "integer", []),
        ('{"n": 1.5}', "n", "number", [1.5]),
        ('{"n": "0.5"}', "n", "number", [0.5]),
        ('{"n": "half"}', "n", "number", []),
        ("12", "$", "integer", [12]),
        ('"x"', "$", "text", ["x"]),
        ('{"n": 1e999}', "n", "number", []),
        ('{"n": true, "m": false}', "n", "bool", [True]),
        ('{"n": true, "m": false}', "m", "bool", []),
        ('{"n": 1}', "n", "text", []),
        ("[1]", "a", "integer", []),
        ("no json", "a", "integer", []),
        ("", "a", "integer", []),
        ("[" * 100_000, "a", "integer", []),
        ('{"a": ' + "9" * 5000 + "}", "a", "integer", []),
    ],
)
def test_json_in_a_field_is_read_as_far_as_it_is_what_was_asked_for(
    data: str, inner: str, kind: str, found: list[Any]
) -> None:
    assert values(f"json(text, {inner}, {kind})", messages.GenerateResponse(text=data)) == found


def test_json_may_be_where_another_function_finds_it() -> None:
    def second(arguments: Sequence[str], descriptor: Descriptor, text: str) -> Source:
        return source("model", descriptor)

    found = json_source(["second()", "a", "integer"], descriptor_of(messages.GenerateRequest), "", {"second": second})
    assert found.find(messages.GenerateRequest(model='{"a": 1}')) == [1]


@given(
    st.text(max_size=200), st.sampled_from(["$", "a", "a.b[*].c", "a[0]"]), st.sampled_from(["text", "integer", "bool"])
)
def test_no_text_makes_json_raise(data: str, inner: str, kind: str) -> None:
    assert isinstance(values(f"json(text, {inner}, {kind})", messages.GenerateResponse(text=data)), list)


def test_quotes_hide_what_would_divide_a_source() -> None:
    struct = struct_pb2.Struct()
    struct.update({"a|b,(c": "one"})
    assert values('fields["a|b,(c"].string_value | fields["x"].string_value', struct) == ["one"]
