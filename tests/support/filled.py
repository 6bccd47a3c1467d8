"""Messages out of plain values, as late versions of protobuf make them; the oldest has no dicts in maps or Structs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message


def filled(message_class: type[Message], **fields: Any) -> Any:
    """Return a message with these fields: messages as mappings, lists of them, and maps."""
    message = message_class()
    _fill(message, fields)
    return message


def _fill(message: Any, fields: Mapping[str, Any]) -> None:
    if message.DESCRIPTOR.full_name == "google.protobuf.Struct":
        message.update(fields)
        return
    # A mapping without anything is a message that is there.
    message.SetInParent()
    for name, value in fields.items():
        if value is not None:
            _put(message, name, value)


def _put(message: Any, name: str, value: Any) -> None:
    field = getattr(message, name)
    described = message.DESCRIPTOR.fields_by_name[name].message_type
    if described is None:
        _put_plain(message, name, value)
    elif described.GetOptions().map_entry:
        for key, one in value.items():
            if isinstance(one, Mapping):
                _fill(field[key], one)
            else:
                field[key] = one
    elif isinstance(value, Message):
        field.CopyFrom(value)
    elif isinstance(value, Mapping):
        _fill(field, value)
    else:
        for one in value:
            if isinstance(one, Message):
                field.add().CopyFrom(one)
            else:
                _fill(field.add(), one)


def _put_plain(message: Any, name: str, value: Any) -> None:
    field = message.DESCRIPTOR.fields_by_name[name]
    numbers = None if field.enum_type is None else field.enum_type.values_by_name
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        setattr(message, name, numbers[value].number if numbers is not None and isinstance(value, str) else value)
    else:
        getattr(message, name).extend(value)
