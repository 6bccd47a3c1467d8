"""
Paths into a protobuf message: dotted field names, ``[*]`` for every element of a repeated field.

What is absent yields nothing. A field without presence (proto3 without ``optional``) counts as absent at its
default, unless a message around it is there: ``usage.output_tokens`` of a ``usage`` that was sent is a real 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from shadowmesh.errors import ProtocolMapError

Kind = Literal["text", "bytes", "bool", "integer", "number", "enum", "message"]
"""What a path leads to."""

_STEP = re.compile(r"([A-Za-z_]\w*)(\[\*\])?")
_REALS = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})


_Find = Callable[[Any], Sequence[Any]]


class _Step(NamedTuple):
    name: str
    repeated: bool
    presence: bool
    default: Any
    enum: dict[int, str] | None


class Path:
    """A path checked against the message type it starts from; ``find`` returns every value in a message, in order."""

    def __init__(self, text: str, descriptor: Descriptor) -> None:
        """
        Compile ``text``.

        Raises:
            ProtocolMapError: the text is no path, or the message has no such field.
        """
        self.text = text
        fields = _resolve(text, descriptor)
        self.fields = tuple(fields)
        self.kind: Kind = _kind(fields[-1])
        self.find = _finder(tuple(_step(field, is_repeated(field)) for field in fields), False)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The field numbers on the way, as they stand on the wire."""
        return tuple(field.number for field in self.fields)

    @property
    def repeats(self) -> bool:
        """Whether it can lead to several values."""
        return any(is_repeated(field) for field in self.fields)

    def values(self, message: Message) -> list[Any]:
        """Return every value found, in order; enum values by name."""
        return list(self.find(message))

    def first(self, message: Message) -> Any | None:
        """Return the first value, or ``None``."""
        found = self.find(message)
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
        repeated = is_repeated(field)
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


def is_repeated(field: FieldDescriptor) -> bool:
    """Return whether the field is a list."""
    # ``label`` is deprecated in protobuf 6 and its successor is missing in 5.
    said = getattr(field, "is_repeated", None)
    return bool(_label(field) == FieldDescriptor.LABEL_REPEATED if said is None else said)


def _label(field: Any) -> int:
    return int(field.label)


def _step(field: FieldDescriptor, repeated: bool) -> _Step:
    enum = {value.number: value.name for value in field.enum_type.values} if field.enum_type else None
    return _Step(
        name=field.name,
        repeated=repeated,
        presence=field.has_presence,
        default=None if repeated else field.default_value,
        enum=enum,
    )


def _finder(steps: tuple[_Step, ...], inside_present: bool) -> _Find:
    """Return what finds the values of ``steps``: closures, because every field of every mirrored message is read."""
    step, rest = steps[0], steps[1:]
    name, default = step.name, step.default
    deeper = _finder(rest, True) if rest else None
    if step.repeated:
        return _each(step, deeper)
    if deeper is not None:
        # Only messages have fields, and every message has presence.
        return lambda message: deeper(getattr(message, name)) if message.HasField(name) else ()
    if step.enum is not None:
        label, presence = step.enum.get, step.presence

        def labelled(message: Any) -> Sequence[Any]:
            number = getattr(message, name)
            return (label(number, str(number)),) if (message.HasField(name) if presence else number) else ()

        return labelled
    if step.presence:
        return lambda message: (getattr(message, name),) if message.HasField(name) else ()
    said_at_default = inside_present and not isinstance(default, (str, bytes))
    return lambda message: (value,) if (value := getattr(message, name)) != default or said_at_default else ()


def _each(step: _Step, deeper: _Find | None) -> _Find:
    name = step.name
    if deeper is not None:
        return lambda message: [found for item in getattr(message, name) for found in deeper(item)]
    if step.enum is not None:
        label = step.enum.get
        return lambda message: [label(number, str(number)) for number in getattr(message, name)]
    return lambda message: getattr(message, name)
