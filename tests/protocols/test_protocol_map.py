"""A map is checked against its messages before it reads any of them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.map_settings import ProtocolMapSettings
from shadowmesh.protocols.protocol_map import bind
from shadowmesh.schema.inference import methods

METHOD = "/shadowmesh.v1.Inference/Generate"
CLASSES = {method.full_name: (method.request, method.response) for method in methods().values()}


def protocol(**method: Any) -> ProtocolMapSettings:
    return ProtocolMapSettings.model_validate({"version": 1, "protocol": "acme", "methods": {METHOD: method}})


@pytest.mark.parametrize(
    "method",
    [
        {"request": {"model": "modell"}},
        {"request": {"seed": "sampling.seed"}},
        {"response": {"text": "text.parts[*]"}},
        {"response": {"tool_calls": {"calls": "tool_calls[*]", "name": "nothing"}}},
        {"response": {"tool_calls": {"calls": "tool_calls[*]", "name": "name", "arguments": "args"}}},
        {"exchanges": {"request": "id", "response": "request_id", "end": "finish_reason"}},
        {"exchanges": {"request": "request_id", "response": "request_id", "end": "done"}},
    ],
)
def test_a_bad_path_names_protocol_method_and_path(method: dict[str, Any]) -> None:
    with pytest.raises(ProtocolMapError) as caught:
        bind(protocol(**method), CLASSES)
    text = str(caught.value)
    assert text.startswith(f"acme: {METHOD}: ")
    assert "no field" in text


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        ({"response": {"text": "usage"}}, "response.text: 'usage' is message, which cannot be read as text"),
        ({"response": {"model": "usage.input_tokens"}}, "cannot be read as model"),
        ({"response": {"input_tokens": "model"}}, "'model' is text, which cannot be read as input_tokens"),
        ({"response": {"tool_calls": {"calls": "usage", "name": "name"}}}, "'usage' is not one list"),
        ({"response": {"tool_calls": {"calls": "tool_calls[*]", "name": "id[*]"}}}, "is not repeated"),
        ({"request": {"temperature": "model"}}, "cannot be read as temperature"),
        ({"request": {"seed": "sampling.temperature"}}, "request.seed: 'sampling.temperature' is .* be read as seed"),
        ({"exchanges": {"request": "sampling", "response": "model", "end": "usage"}}, "cannot be read as id"),
    ],
)
def test_a_path_to_something_of_the_wrong_kind_is_refused_before_anything_is_read(
    method: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ProtocolMapError, match=problem) as caught:
        bind(protocol(**method), CLASSES)
    assert f"acme: {METHOD}: " in str(caught.value)


def test_a_method_without_descriptors_is_named() -> None:
    with pytest.raises(ProtocolMapError, match=f"acme: no descriptors for {METHOD}"):
        bind(protocol(), {})


def test_an_empty_method_reads_nothing_and_is_valid() -> None:
    (found,) = bind(protocol(operation="chat"), CLASSES).values()
    assert (found.request, found.response, found.tool_calls, found.exchanges) == ({}, {}, None, None)
    assert found.operation == "chat"


@pytest.mark.parametrize(
    "broken",
    [
        {"version": 2, "protocol": "acme", "methods": {METHOD: {}}},
        {"version": 1, "protocol": "acme", "methods": {}},
        {"version": 1, "protocol": "acme", "methods": {METHOD: {"reply": {}}}},
        {"version": 1, "protocol": "acme", "methods": {METHOD: {"request": {"prompt": "prompt"}}}},
        {"version": 1, "protocol": "acme", "methods": {METHOD: {"exchanges": {"by": "turn"}}}},
        {"version": 1, "methods": {METHOD: {}}},
    ],
)
def test_a_data_file_with_an_unknown_key_or_version_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ProtocolMapSettings.model_validate(broken)


def test_bytes_that_are_no_message_parse_as_nothing() -> None:
    (found,) = bind(protocol(), CLASSES).values()
    assert found.parse_request(b"\xff") is None
    assert found.parse_response(b"\xff") is None
    assert found.parse_request(b"") is not None
