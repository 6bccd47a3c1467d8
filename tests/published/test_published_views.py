"""Our views of other people's messages, field by field beside the messages that they publish."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from support.published import OTHER_NAMES, SERVICES

from shadowmesh.catalog.builtin import builtin
from shadowmesh.protocols.paths import is_repeated
from shadowmesh.protocols.protocol_map import MethodMap

METHODS: dict[str, MethodMap] = {
    method: one
    for maps in builtin().protocols.values()
    for method, one in maps.items()
    if method[1:].partition("/")[0] in SERVICES
}
# There a server takes zero for what was not sent, and so do we: a view that says so has presence, whatever the
# protocol's own file says.
_UNSAID = {
    "vllm.grpc.engine.SamplingParams",
    "mlx.grpc.engine.SamplingParams",
    "tokenspeed.grpc.scheduler.SamplingParams",
}
_ABSENT = "google.ai.generativelanguage.v1."
"""Of the first version, of which our view of both has more."""


def _differences(ours: Any, theirs: Any, seen: set[tuple[str, str]]) -> Iterator[str]:
    if (ours.full_name, theirs.full_name) in seen or ours.full_name.startswith("google.protobuf."):
        return
    seen.add((ours.full_name, theirs.full_name))
    for field in ours.fields:
        other = theirs.fields_by_number.get(field.number)
        place = f"{theirs.full_name}.{field.name}"
        if other is None:
            if not theirs.full_name.startswith(_ABSENT):
                yield f"{place}: no field {field.number}"
            continue
        if OTHER_NAMES.get((theirs.full_name, other.name), other.name) != field.name:
            yield f"{place}: called {other.name}"
        if (field.type, is_repeated(field)) != (other.type, is_repeated(other)):
            yield f"{place}: of another type, or one instead of many"
        if field.has_presence is not other.has_presence and not (field.has_presence and theirs.full_name in _UNSAID):
            yield f"{place}: presence {other.has_presence}"
        yield from _inside(field, other, seen)


def _inside(field: FieldDescriptor, other: FieldDescriptor, seen: set[tuple[str, str]]) -> Iterator[str]:
    if field.message_type is not None and other.message_type is not None:
        yield from _differences(field.message_type, other.message_type, seen)
    if field.enum_type is not None and other.enum_type is not None:
        theirs = {value.number: value.name for value in other.enum_type.values}
        for value in field.enum_type.values:
            if theirs.get(value.number) != value.name:
                yield f"{other.enum_type.full_name}: {value.number} is {theirs.get(value.number)}, not {value.name}"


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_view_has_the_numbers_types_and_presence_of_what_is_published(method: str) -> None:
    service, _, name = method[1:].partition("/")
    request, response = SERVICES[service].methods[name]
    seen: set[tuple[str, str]] = set()
    found = [
        *_differences(METHODS[method]._request_class.DESCRIPTOR, request.DESCRIPTOR, seen),
        *_differences(METHODS[method]._response_class.DESCRIPTOR, response.DESCRIPTOR, seen),
    ]
    assert found == []
