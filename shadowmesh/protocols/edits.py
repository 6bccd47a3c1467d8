"""Single changes of a request by place: a value that is set, and one that is removed, of a field or in its JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols import wire
from shadowmesh.protocols.json_fields import JsonValue, is_json
from shadowmesh.protocols.paths import Path
from shadowmesh.protocols.settable import not_grouped, single

Edit = Callable[[bytes, Any], bytes]
"""One change: the bytes as they are by now, and the request as it came, parsed."""


def all_of(edits: Sequence[Edit]) -> Edit:
    """Return what makes one change after the other."""

    def edit(data: bytes, message: Any) -> bytes:
        for one in edits:
            data = one(data, message)
        return data

    return edit


def removal(numbers: Sequence[int]) -> Edit:
    """Return what removes a field, in every element of the lists around it."""
    return lambda data, _message: wire.remove(data, numbers)


def setting(path: Path, value: Any) -> Edit:
    """
    Return what sets the field at ``path``, which leads to one value.

    Raises:
        ProtocolMapError: the field cannot have this value.
    """
    encoded, numbers, fields = _encoded(path, value), path.numbers, path.fields
    # A member of a oneof is changed where it stands and never made: it would take the place of what does stand there.
    make = not any(map(_shares_a_place, fields))

    def edit(data: bytes, message: Any) -> bytes:
        for field in fields:
            if _shares_a_place(field) and not message.HasField(field.name):
                return data
            message = getattr(message, field.name)
        return wire.replace(data, numbers, encoded, make=make)

    return edit


def setting_at(text: str, descriptor: Descriptor, value: Any) -> Edit:
    """
    Return what sets the value at a place: the path of a field, or ``json(…)``.

    Raises:
        ProtocolMapError: there is no such place, or it cannot have this value.
    """
    if not is_json(text):
        return setting(single(text, descriptor), value)
    place = JsonValue(text, descriptor)
    place.check(value)
    return lambda data, _message: place.with_value(data, value)


def removal_at(text: str, descriptor: Descriptor) -> Edit:
    """
    Return what leaves out what stands at a place: the path of a field, or ``json(…)``.

    Raises:
        ProtocolMapError: there is no such place, or it cannot be left out.
    """
    if not is_json(text):
        return removal(not_grouped(Path(text, descriptor)).numbers)
    place = JsonValue(text, descriptor)
    return lambda data, _message: place.without(data)


def has_place(text: str, descriptor: Descriptor) -> bool:
    """Return whether a message has the field that a place is, or is in."""
    try:
        JsonValue(text, descriptor) if is_json(text) else Path(text, descriptor)
    except ProtocolMapError:
        return False
    return True


def _encoded(path: Path, value: Any) -> bytes:
    """Return the field with this value, as it stands on the wire; nothing where that is what its absence means."""
    field: Any = path.fields[-1]
    message: Any = GetMessageClass(field.containing_type)()
    if isinstance(value, bool) is not (path.kind == "bool"):
        raise ProtocolMapError(f"{path.text!r} is {path.kind}, and {value!r} is not")
    try:
        setattr(message, field.name, _number(field, value) if path.kind == "enum" else value)
    except (TypeError, ValueError, KeyError) as error:
        raise ProtocolMapError(f"{path.text!r} is {path.kind}, and cannot be {value!r}") from error
    encoded: bytes = message.SerializePartialToString()
    return encoded


def _number(field: Any, value: Any) -> int:
    """Return the number of an enum's value, which is given by name."""
    return int(field.enum_type.values_by_name[value].number)


def _shares_a_place(field: FieldDescriptor) -> bool:
    """Whether it is one of several in a oneof; ``optional`` of proto3 is a oneof of one."""
    oneof = field.containing_oneof
    return oneof is not None and len(oneof.fields) > 1
