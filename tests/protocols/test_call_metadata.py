"""Fields that stand in a call's metadata: read under the key that a map names, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from support.wire import request

from shadowmesh.errors import ProtocolMapError
from shadowmesh.model import Metadata
from shadowmesh.protocols.map_settings import ProtocolMapSettings
from shadowmesh.protocols.messages import Requests
from shadowmesh.protocols.protocol_map import MethodMap, bind
from shadowmesh.protocols.reading import read, read_request
from shadowmesh.schema.descriptors import message_class

METADATA: Metadata = (
    ("x-model", "gpt"),
    ("x-stop", "a"),
    ("authorization", "secret"),
    ("x-stop", "b"),
    ("x-bin-bin", b"\xff"),
)


def method_map(**paths: Any) -> MethodMap:
    settings = {
        "version": 1,
        "protocol": "p",
        "methods": {
            "/p.P/M": {
                "messages": {
                    "request": "shadowmesh.v1.GenerateRequest",
                    "response": "shadowmesh.v1.GenerateResponse",
                },
                **paths,
            }
        },
    }
    return bind(ProtocolMapSettings.model_validate(settings), {}, message_class)["/p.P/M"]


def asked(data: bytes = b"", metadata: Metadata = METADATA, **paths: str) -> dict[str, Any]:
    found = read_request(Requests(method_map(request=paths), [data]), metadata)
    return {name: value for name, value in found.items() if value is not None}


def test_a_field_is_read_of_the_metadata() -> None:
    assert asked(model="md:x-model") == {"request_model": "gpt"}
    assert asked(metadata=(), model="md:x-model") == {}


def test_the_first_alternative_that_is_said_stands() -> None:
    for paths, model in (("model | md:x-model", "m"), ("md:x-model | model", "gpt"), ("md:x-no | model", "m")):
        assert asked(request(model="m"), model=paths) == {"request_model": model}
    assert asked(request(), model="model | md:x-model") == {"request_model": "gpt"}


def test_a_key_that_is_said_twice_has_two_values() -> None:
    assert asked(stop_sequences="md:x-stop") == {"stop_sequences": ("a", "b")}


def test_a_value_in_bytes_is_read_as_far_as_it_is_text() -> None:
    assert asked(model="md:x-bin-bin") == {"request_model": "\N{REPLACEMENT CHARACTER}"}


def test_only_the_keys_that_a_map_names_are_read() -> None:
    found = method_map(request={"model": "model | md:x-model"}, identity="md:x-id")
    assert found.metadata_keys == {"x-model", "x-id"}
    assert method_map(request={"model": "model"}).metadata_keys == frozenset()
    fields = read(found, [request()], [], METADATA).fields
    assert "secret" not in repr(fields)


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        ({"request": {"max_tokens": "md:x-most"}}, "is text, which cannot be read as max_tokens"),
        ({"request": {"model": "md:"}}, "names no metadata"),
        ({"request": {"model": "md:Model"}}, "names no metadata"),
        ({"request": {"model": "model | md:x-bin"}}, "is bytes or text"),
        ({"response": {"model": "md:x-model"}}, "md:x-model"),
        ({"parts": {"prompt": "md:x-prompt"}}, "md:x-prompt"),
        ({"unshadowable": ["has(md:x-model)"]}, "md:x-model"),
    ],
)
def test_where_no_metadata_is_read_it_is_refused_and_so_is_what_it_cannot_be(paths: Any, problem: str) -> None:
    with pytest.raises(ProtocolMapError, match=problem):
        method_map(**paths)
