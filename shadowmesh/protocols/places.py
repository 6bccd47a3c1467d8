"""
Where a request keeps one value, or a list of them: read from there, and written there.

A place is a plain path, ``sampling.top_p`` or ``stop[*]``; where a message of a list has the value, one is made for
each of them: ``conditions[*].stop_text``. ``tensor_places`` has those of protocols of tensors, ``json_places``
those of JSON in a field.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.paths import Path, is_repeated


@dataclass(slots=True)
class Draft:
    """A request that is being written: the message, and the JSON that goes into a tensor or a field at the end."""

    message: Any
    json: dict[str, tuple[Place, dict[str, Any]]] = field(default_factory=dict)


class Place(Protocol):
    """One place in the requests of a method; ``known`` are the numbers of the fields that it reads."""

    text: str
    known: tuple[int, ...]
    says_zero: bool
    """Whether zero is a value there, and not only how the wire says nothing."""

    def read(self, message: Message) -> Sequence[Any]:
        """Return what stands there."""
        ...

    def write(self, draft: Draft, values: Sequence[Any]) -> None:
        """
        Put values there.

        Raises:
            ValueError, TypeError: one of them does not fit.
        """
        ...


class FieldPlace:
    """A place that is a field."""

    def __init__(self, text: str, descriptor: Descriptor) -> None:
        """
        Compile ``text``.

        Raises:
            ProtocolMapError: there is no such field, or it cannot be written: it selects, is in more than one list, or
                is a message.
        """
        self.text = text
        self._path = Path(text, descriptor)
        fields = self._path.fields
        if not self._path.plain or sum(map(is_repeated, fields)) > 1 or self._path.kind == "message":
            raise ProtocolMapError(f"{text!r} leads to no value, or list of values, that can be written")
        self.known = self._path.numbers
        self.says_zero = fields[-1].has_presence or self._path.repeats
        self._is_short = fields[-1].cpp_type == FieldDescriptor.CPPTYPE_FLOAT

    def read(self, message: Message) -> Sequence[Any]:
        """See :class:`Place`; enum values by name."""
        values = self._path.find(message)
        return [_shortest(value) for value in values] if self._is_short else list(values)

    def write(self, draft: Draft, values: Sequence[Any]) -> None:
        """See :class:`Place`; enum values by name."""
        put(draft.message, self._path.fields, values)


def write_json(draft: Draft) -> None:
    """Write the JSON that places have put something into."""
    for place, said in draft.json.values():
        place.write(draft, [json.dumps(said, ensure_ascii=False, separators=(",", ":"))])


def put(message: Any, fields: Sequence[FieldDescriptor], values: Sequence[Any]) -> None:
    """
    Write values at the end of the fields: into one list, one message each of a list of messages, or the only one.

    Raises:
        ValueError, TypeError: one of them does not fit.
    """
    first, rest = fields[0], fields[1:]
    if not rest:
        written = [_number(first, value) for value in values] if first.enum_type is not None else list(values)
        if is_repeated(first):
            getattr(message, first.name).extend(written)
        else:
            (only,) = written
            setattr(message, first.name, only)
    elif is_repeated(first):
        for value in values:
            put(getattr(message, first.name).add(), rest, [value])
    else:
        inside = getattr(message, first.name)
        # A zero in it may be all that it says.
        inside.SetInParent()
        put(inside, rest, values)


def _number(enum: Any, name: str) -> int:
    value = enum.enum_type.values_by_name.get(name)
    if value is None:
        raise ValueError("no such value")
    return int(value.number)


def _shortest(value: float) -> float:
    """Return the number whose shortest decimal is that of a 32-bit float: what its sender wrote."""
    return float(str(np.float32(value)))
