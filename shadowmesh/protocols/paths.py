"""
Paths into a protobuf message: dotted fields, by name or number, each of which may select.

``[*]`` is every element of a repeated field, ``[0]`` the first, ``[name='x']`` those whose field ``name`` is ``x``, and
``["k"]`` the value of a map under the key ``k``.

What is absent yields nothing. A field without presence (proto3 without ``optional``) counts as absent at its
default, unless a message around it is there: ``usage.output_tokens`` of a ``usage`` that was sent is a real 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Literal, NamedTuple, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from shadowmesh.errors import ProtocolMapError

Kind = Literal["text", "bytes", "bool", "integer", "number", "enum", "message"]
"""What a path leads to."""
Placed = tuple[int, Any]
"""A value behind its place among the outputs of one message."""

_STEP = re.compile(
    r"""(?P<field>[A-Za-z_]\w*|[0-9]{1,9})
        (?:\[(?:(?P<each>\*)|(?P<at>[0-9]{1,6})|"(?P<key>[^"]*)"|(?P<where>[A-Za-z_]\w*)='(?P<is>[^']*)')\])?
        (?P<end>\.|$)""",
    re.VERBOSE,
)
_REALS = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})


Get = Callable[[Any], Any]
"""Returns a value of a message, or ``None``."""
_Find = Callable[[Any], Sequence[Any]]
_Select = Callable[[Any], Sequence[Any]]
"""Takes the elements of a list, or a map, and returns those that are meant."""


class _Step(NamedTuple):
    """One field of a path; ``select`` is ``None`` for a field that stands alone."""

    field: FieldDescriptor
    select: _Select | None


class Path:
    """A path checked against the message type it starts from; ``find`` returns every value in a message, in order."""

    def __init__(self, text: str, descriptor: Descriptor) -> None:
        """
        Compile ``text``.

        Raises:
            ProtocolMapError: the text is no path, or the message has no such field.
        """
        self.text = text
        steps = _resolve(text, descriptor)
        self.fields = tuple(step.field for step in steps)
        self.plain = all(step.select in (None, _each_of) for step in steps)
        """Whether it selects nothing but whole lists: only then what it leads to can be changed on the wire."""
        self.kind: Kind = _kind(_value_of(self.fields[-1]))
        self.selects = _selects(steps)
        """Whether it selects of lists or maps on the way; else it leads to one value or none."""
        self.find = _finder(tuple(steps), False)
        self.first = _first(tuple(steps), self.find)
        """Returns the first value, or ``None``."""
        self.placed = _placer(tuple(steps), self.find)
        """Returns every value with the place that it has in the first list on the way; without a list that is 0."""

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


def descriptor_of(message_class: type[Message]) -> Descriptor:
    """Return the descriptor of a message class, of either protobuf implementation, under one type."""
    return cast("Descriptor", message_class.DESCRIPTOR)


def _resolve(text: str, descriptor: Descriptor) -> list[_Step]:
    steps: list[_Step] = []
    inside: Descriptor | None = descriptor
    place, ended = 0, False
    while not ended:
        match = _STEP.match(text, place)
        if match is None:
            raise ProtocolMapError(f"{text[place:].partition('.')[0]!r} in {text!r} is neither a field nor a selection")
        field = _field(match["field"], inside)
        if field is None:
            raise ProtocolMapError(f"no field {match['field']!r} in {text!r}")
        steps.append(_Step(field, _selection(match, field, text)))
        inside = _value_of(field).message_type
        place, ended = match.end(), not match["end"]
    return steps


def _field(name: str, inside: Descriptor | None) -> FieldDescriptor | None:
    if inside is None:
        return None
    return inside.fields_by_number.get(int(name)) if name.isdecimal() else inside.fields_by_name.get(name)


def _selection(match: re.Match[str], field: FieldDescriptor, text: str) -> _Select | None:
    name = match["field"]
    entry = _entry(field)
    if entry is not None:
        if match["key"] is None:
            raise ProtocolMapError(f"{name!r} in {text!r} is a map, whose entries have no order: select one by its key")
        return _value_under(match["key"], entry.fields_by_name["key"], text)
    if match["key"] is not None:
        raise ProtocolMapError(f"{name!r} in {text!r} is no map")
    selects = match["each"] or match["at"] or match["where"]
    if is_repeated(field) != bool(selects):
        raise ProtocolMapError(f"{name!r} in {text!r} is {'' if is_repeated(field) else 'not '}repeated")
    if match["at"]:
        return _element_at(int(match["at"]))
    if match["where"]:
        inner = _field(match["where"], field.message_type)
        if inner is None or is_repeated(inner) or _kind(inner) not in ("text", "enum", "bool"):
            raise ProtocolMapError(f"{match['where']!r} in {text!r} is no text to select by")
        return _elements_where(inner, match["is"])
    return _each_of if match["each"] else None


def _each_of(elements: Any) -> Sequence[Any]:
    found: Sequence[Any] = elements
    return found


def _element_at(place: int) -> _Select:
    return lambda elements: elements[place : place + 1]


def _elements_where(field: FieldDescriptor, wanted: str) -> _Select:
    name = field.name
    if field.enum_type is not None:
        value = field.enum_type.values_by_name.get(wanted)
        number = value.number if value is not None else None
        return lambda elements: [element for element in elements if getattr(element, name) == number]
    if _kind(field) == "bool":
        return lambda elements: [element for element in elements if getattr(element, name) == (wanted == "true")]
    return lambda elements: [element for element in elements if getattr(element, name) == wanted]


def _value_under(key: str, field: FieldDescriptor, text: str) -> _Select:
    kind = _kind(field)
    if kind == "text":
        return lambda entries: (entries[key],) if key in entries else ()
    if kind == "integer" and key.lstrip("-").isdecimal():
        number = int(key)
        return lambda entries: (entries[number],) if number in entries else ()
    raise ProtocolMapError(f"{key!r} in {text!r} is no key of that map")


def _entry(field: FieldDescriptor) -> Descriptor | None:
    """Return what the entries of a map are, ``None`` for a field that is none."""
    entry = field.message_type
    return entry if entry is not None and entry.GetOptions().map_entry else None


def _value_of(field: FieldDescriptor) -> FieldDescriptor:
    """Return the field itself, of a map that of its values."""
    entry = _entry(field)
    return field if entry is None else entry.fields_by_name["value"]


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


def _labels(field: FieldDescriptor) -> dict[int, str] | None:
    return {value.number: value.name for value in field.enum_type.values} if field.enum_type else None


def _finder(steps: tuple[_Step, ...], inside_present: bool) -> _Find:
    """Return what finds the values of ``steps``: closures, because every field of every mirrored message is read."""
    if not _selects(steps):
        get = value_at([step.field for step in steps], inside_present=inside_present)
        return lambda message: (value,) if (value := get(message)) is not None else ()
    (field, select), rest = steps[0], steps[1:]
    name = field.name
    if select is not None:
        return _selected(field, select, _finder(rest, True) if rest else None)
    # Only messages have fields, and every message has presence.
    deeper = _finder(rest, True)
    return lambda message: deeper(getattr(message, name)) if message.HasField(name) else ()


def _selects(steps: Sequence[_Step]) -> bool:
    return any(step.select is not None for step in steps)


def _first(steps: tuple[_Step, ...], find: _Find) -> Get:
    if not _selects(steps):
        return value_at([step.field for step in steps], inside_present=False)
    return lambda message: found[0] if (found := find(message)) else None


def value_at(fields: Sequence[FieldDescriptor], *, inside_present: bool) -> Get:
    """
    Return what gets the value of a field, or ``None`` where it is absent; each of ``fields`` is inside the one before.

    Args:
        inside_present: whether the first of them is inside a message that was sent as a field.
    """
    field, rest = fields[0], fields[1:]
    name = field.name
    if rest:
        deeper = value_at(rest, inside_present=True)
        return lambda message: deeper(getattr(message, name)) if message.HasField(name) else None
    labels = _labels(field)
    if labels is None:
        said_at_default = inside_present and field.cpp_type != FieldDescriptor.CPPTYPE_STRING
        return _value_at(field, said_at_default=said_at_default)
    label, get = labels.get, _value_at(field, said_at_default=False)
    return lambda message: label(number, str(number)) if (number := get(message)) is not None else None


def _value_at(field: FieldDescriptor, *, said_at_default: bool) -> Get:
    name = field.name
    if not field.has_presence:
        return attrgetter(name) if said_at_default else lambda message: getattr(message, name) or None
    if field.message_type is not None or field.default_value:
        return lambda message: getattr(message, name) if message.HasField(name) else None
    # What is not the default is there: mostly one look is enough.
    return lambda message: value if (value := getattr(message, name)) or message.HasField(name) else None


def _placer(steps: tuple[_Step, ...], find: _Find) -> Callable[[Any], list[Placed]]:
    first = next((place for place, step in enumerate(steps) if step.select is not None), None)
    if first is None or steps[first].select is not _each_of:
        return lambda message: [(0, value) for value in find(message)]
    outer, rest = _finder(steps[: first + 1], False), steps[first + 1 :]
    if not rest:
        return lambda message: list(enumerate(outer(message)))
    if not _selects(rest):
        get = value_at([step.field for step in rest], inside_present=True)
        return lambda message: [
            (place, value) for place, one in enumerate(outer(message)) if (value := get(one)) is not None
        ]
    inner = _finder(rest, True)
    return lambda message: [(place, value) for place, one in enumerate(outer(message)) for value in inner(one)]


def _selected(field: FieldDescriptor, select: _Select, deeper: _Find | None) -> _Find:
    name = field.name
    if deeper is None and select is _each_of and _labels(_value_of(field)) is None:
        return attrgetter(name)
    if deeper is not None:
        return lambda message: [found for item in select(getattr(message, name)) for found in deeper(item)]
    labels = _labels(_value_of(field))
    if labels is not None:
        label = labels.get
        return lambda message: [label(number, str(number)) for number in select(getattr(message, name))]
    return lambda message: select(getattr(message, name))
