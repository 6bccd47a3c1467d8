"""
The fields of requests and answers: where each is found, and what is made of what is found there.

Every mirrored exchange is read by this, mostly off the live path and always beside somebody's model: so what stands
in the same message is found together, and a single field is not looked for as if it could be several.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from shadowmesh.model import Metadata
from shadowmesh.protocols.call_metadata import InCall
from shadowmesh.protocols.paths import Get, Path, value_at
from shadowmesh.protocols.sources import Find, Source

# Whoever sends the bytes also writes these into our spans, so they are cut to a size.
_MOST_CHARACTERS = 256
_MOST_STOPS = 16
# OTLP holds integers in 64 bits with a sign.
_INTEGERS = range(-(1 << 63), 1 << 63)

Make = Callable[[Any], Any]
"""Makes a field of the value found for it."""
Pick = Callable[[Sequence[Any]], Any]
"""Returns which of the values found is meant, of which there is one at least."""
_FIRST: Pick = itemgetter(0)
_LAST: Pick = itemgetter(-1)
_ALL: Pick = itemgetter(slice(None))
_cut: Make = itemgetter(slice(_MOST_CHARACTERS))


class _Field(NamedTuple):
    """A field of a message; ``get`` returns ``None`` where the message does not say it."""

    name: str
    get: Get
    make: Make | None


class _Group(NamedTuple):
    """Fields that stand in the same message ``inside`` another, which is looked up once for all of them."""

    inside: tuple[str, ...]
    fields: Sequence[_Field]


class FieldTable:
    """Fields of one kind of message, compiled to be read together, by the names that ``Fields`` has for them."""

    def __init__(self, fields: Iterable[tuple[str, Source, Pick, Make]]) -> None:
        """Compile fields: each by its name, where it is, which of the values there it is, and what is made of these."""
        groups: dict[tuple[str, ...], list[_Field]] = {}
        self._in_calls: list[tuple[str, InCall, Pick, Make]] = []
        for name, source, pick, make in fields:
            if isinstance(source, InCall):
                self._in_calls.append((name, source, pick, make))
            elif isinstance(source, Path) and not source.selects and pick is not _ALL:
                inside = tuple(field.name for field in source.fields[:-1])
                get = value_at(source.fields[-1:], inside_present=bool(inside))
                groups.setdefault(inside, []).append(_Field(name, get, _of_field(source, make)))
            else:
                groups.setdefault((), []).append(_Field(name, partial(_picked, source.find, pick), make))
        self._groups = tuple(_Group(inside, fields) for inside, fields in groups.items())

    def read(self, message: Message, metadata: Metadata) -> dict[str, Any]:
        """Return what one message of a call says, and the metadata where a field is found there."""
        values: dict[str, Any] = {}
        _take(self._groups, message, values)
        for name, source, pick, make in self._in_calls:
            if found := source.find_in_call(message, metadata):
                values[name] = make(pick(found))
        return values

    def last_words(self, messages: Iterable[Message | None]) -> dict[str, Any]:
        """Return of each field what the first message says that says it: they come from the last on."""
        values: dict[str, Any] = {}
        wanted: Sequence[_Group] = self._groups
        for message in messages:
            if message is not None:
                wanted = _take(wanted, message, values)
                if not wanted:
                    break
        return values


def _take(groups: Sequence[_Group], message: Any, values: dict[str, Any]) -> Sequence[_Group]:
    """Add what a message says of the fields, and return those of which it says nothing."""
    missing: list[_Group] = []
    for group in groups:
        inside, fields = group
        holder = message
        for name in inside:
            if not holder.HasField(name):
                missing.append(group)
                break
            holder = getattr(holder, name)
        else:
            left = []
            for field in fields:
                name, get, make = field
                value = get(holder)
                if value is None:
                    left.append(field)
                else:
                    values[name] = value if make is None else make(value)
            if left:
                missing.append(group if len(left) == len(fields) else _Group(inside, left))
    return missing


def request_fields(sources: Mapping[str, Source]) -> FieldTable:
    """Return what reads a request, of sources by the names that a protocol map has for fields."""
    made: dict[str, tuple[str, Pick, Make]] = {
        "model": ("request_model", _FIRST, text),
        "temperature": ("temperature", _FIRST, _number),
        "top_p": ("top_p", _FIRST, _number),
        "top_k": ("top_k", _FIRST, _number),
        "stop_sequences": ("stop_sequences", _ALL, _texts),
    }
    return _table(sources.items(), made, _FIRST, integer)


def answer_fields(sources: Iterable[tuple[str, Source]], finish_reasons: Mapping[str, str]) -> FieldTable:
    """Return what reads an answer, likewise; ``finish_reasons`` are those of the protocol, by its own names."""

    def reason(value: Any) -> tuple[str]:
        said = text(value)
        return (finish_reasons.get(said, said),)

    made: dict[str, tuple[str, Pick, Make]] = {
        "id": ("response_id", _LAST, text),
        "model": ("response_model", _LAST, text),
        "finish_reason": ("finish_reasons", _LAST, reason),
    }
    return _table(sources, made, _LAST, tokens)


def _table(
    sources: Iterable[tuple[str, Source]], made: Mapping[str, tuple[str, Pick, Make]], pick: Pick, otherwise: Make
) -> FieldTable:
    fields = []
    for own, source in sources:
        name, picked, make = made.get(own, (own, pick, otherwise))
        fields.append((name, source, picked, make))
    return FieldTable(fields)


def text(value: Any) -> str:
    """Return a value as the text of a field, cut to its size."""
    said = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return said[:_MOST_CHARACTERS]


def integer(value: int) -> int | None:
    """Return a number as it is; what no span can carry is unknown, not another number."""
    return value if value in _INTEGERS else None


def tokens(value: int) -> int | None:
    """Return a count; less than none is no count, and unknown."""
    return value if value >= 0 and value in _INTEGERS else None


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _of_field(path: Path, make: Make) -> Make | None:
    """Return what does the same as ``make`` to the value of one field, sooner; ``None`` where that is nothing."""
    if make is integer and path.fields[-1].cpp_type != FieldDescriptor.CPPTYPE_UINT64:
        return None
    if make is tokens and path.fields[-1].cpp_type == FieldDescriptor.CPPTYPE_UINT32:
        return None
    return _cut if make is text and path.kind == "text" else make


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(text(value) for value in values[:_MOST_STOPS])


def _picked(find: Find, pick: Pick, message: Message) -> Any:
    found = find(message)
    return pick(found) if found else None
