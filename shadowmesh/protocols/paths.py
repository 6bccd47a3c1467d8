"""
Paths into a protobuf message: dotted field names, ``[*]`` for every element of a repeated field.

What is absent yields nothing. A field without presence (proto3 without ``optional``) counts as absent at its
default, unless a message around it is there: ``usage.output_tokens`` of a ``usage`` that was sent is a real 0.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from shadowmesh.errors import ProtocolMapError

Kind = Literal["text", "bytes", "bool", "integer", "number", "enum", "message"]
"""What a path leads to."""

_STEP = re.compile(r"([A-Za-z_]\w*)(\[\*\])?")
_REALS = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})


class _Step(NamedTuple):
    name: str
    repeated: bool
    message: bool
    presence: bool
    default: Any
    enum: dict[int, str] | None


class Path:
    """A path checked against the message type it starts from."""

    def __init__(self, text: str, descriptor: Descriptor) -> None:
        """
        Compile ``text``.

        Raises:
            ProtocolMapError: the text is no path, or the message has no such field.
        """
        self.text = text
        fields = _resolve(text, descriptor)
        self.kind: Kind = _kind(fields[-1])
        self._steps = tuple(_step(field, _is_repeated(field)) for field in fields)

    def values(self, message: Message) -> list[Any]:
        """Return every value found, in order; enum values by name."""
        found: list[Any] = []
        _walk(message, self._steps, 0, False, found)
        return found

    def first(self, message: Message) -> Any | None:
        """Return the first value, or ``None``."""
        found = self.values(message)
        return found[0] if found else None


def descriptor_of(message_class: type[Message]) -> Descriptor:
    """Return the descriptor of a message class, of either protobuf implementation, under one type."""
    return cast("Descriptor", message_class.DESCRIPTOR)


def _resolve(text: str, descriptor: Descriptor) -> list[FieldDescriptor]:
    fields: list[FieldDescriptor] = []
    inside: Descriptor | None = descriptor
    for part in text.split("."):
        match = _STEP.fullmatch(part)
        if match is None:
            raise ProtocolMapError(f"{part!r} in {text!r} is neither a field nor a field followed by [*]")
        field = inside.fields_by_name.get(match[1]) if inside is not None else None
        if field is None:
            raise ProtocolMapError(f"no field {match[1]!r} in {text!r}")
        repeated = _is_repeated(field)
        if repeated != bool(match[2]):
            raise ProtocolMapError(f"{match[1]!r} in {text!r} is {'' if repeated else 'not '}repeated")
        fields.append(field)
        inside = field.message_type
        if inside is not None and inside.GetOptions().map_entry:
            raise ProtocolMapError(f"{match[1]!r} in {text!r} is a map, whose entries have no order")
    return fields


def _kind(field: FieldDescriptor) -> Kind:
    if field.message_type is not None:
        return "message"
    if field.enum_type is not None:
        return "enum"
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "bytes" if field.type == FieldDescriptor.TYPE_BYTES else "text"
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return "bool"
    return "number" if field.cpp_type in _REALS else "integer"


def _is_repeated(field: FieldDescriptor) -> bool:
    # ``label`` is deprecated in protobuf 6 and its successor is missing in 5.
    is_repeated = getattr(field, "is_repeated", None)
    return bool(_label(field) == FieldDescriptor.LABEL_REPEATED if is_repeated is None else is_repeated)


def _label(field: Any) -> int:
    return int(field.label)


def _step(field: FieldDescriptor, repeated: bool) -> _Step:
    enum = {value.number: value.name for value in field.enum_type.values} if field.enum_type else None
    return _Step(
        name=field.name,
        repeated=repeated,
        message=field.message_type is not None,
        presence=field.has_presence,
        default=None if repeated else field.default_value,
        enum=enum,
    )


def _walk(message: Any, steps: tuple[_Step, ...], at: int, inside_present: bool, found: list[Any]) -> None:
    step = steps[at]
    if step.presence and not message.HasField(step.name):
        return
    value = getattr(message, step.name)
    last = at == len(steps) - 1
    for item in value if step.repeated else (value,):
        if step.message and not last:
            _walk(item, steps, at + 1, True, found)
        elif step.enum is not None:
            if item != 0 or step.presence or step.repeated:
                found.append(step.enum.get(item, str(item)))
        elif step.presence or step.repeated or _said(item, step, inside_present):
            found.append(item)


def _said(item: Any, step: _Step, inside_present: bool) -> bool:
    if item != step.default:
        return True
    return inside_present and not isinstance(item, (str, bytes))
