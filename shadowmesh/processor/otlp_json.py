"""
OTLP's JSON becomes its protobuf messages.

It is not protobuf's own JSON, whose parser would read a trace id as base64: ids are hexadecimal, enums are numbers
only, and keys are in lowerCamelCase only. The rest is as there: 64-bit integers are numbers or strings, what is unknown
is ignored, ``null`` is as good as absent.
"""

from __future__ import annotations

import json
import math
from binascii import a2b_base64, unhexlify
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, NoReturn

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from shadowmesh.errors import DecodeError
from shadowmesh.protocols.paths import is_repeated

# Protobuf's own parsers stop here too.
_DEEPEST = 100
_HEXADECIMAL = frozenset({"trace_id", "span_id", "parent_span_id"})
# Measured, of texts made to cost as much as they can: names that all differ, empty objects inside empty objects.
_BYTES_PER_BYTE = 20
_BYTES_PER_CONTAINER = 200
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})


def memory_of(data: bytes) -> int:
    """Return the bytes that reading a JSON text may take at most; of what exporters send it is three times as much."""
    return _BYTES_PER_BYTE * len(data) + _BYTES_PER_CONTAINER * (data.count(b"{") + data.count(b"["))


def parse_json(kind: type[Message], data: bytes) -> bytes:
    """
    Return the protobuf bytes of a message that came as JSON.

    Raises:
        DecodeError: it is no JSON, or not of this message. The text names the key and quotes no value.
    """
    try:
        value = json.loads(data.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        # Not chained: the text of a JSON error quotes.
        raise DecodeError("not JSON") from None
    message = kind()
    _fill(message, value, 0)
    return message.SerializeToString()


def _fill(message: Any, value: object, depth: int) -> None:
    if not isinstance(value, dict):
        raise DecodeError(f"{message.DESCRIPTOR.name}: not an object")
    if depth == _DEEPEST:
        raise DecodeError(f"nested deeper than {_DEEPEST}")
    fields = _fields(message.DESCRIPTOR)
    for key, item in value.items():
        field = fields.get(key)
        if field is None or item is None:
            continue
        try:
            _set(message, field, item, depth)
        except (ValueError, TypeError, OverflowError) as error:
            # Its own text would quote the value.
            problem = str(error) if isinstance(error, _WrongError) else "not a value of its kind"
            raise DecodeError(f"{message.DESCRIPTOR.name}.{key}: {problem}") from None


def _set(message: Any, field: _Field, item: object, depth: int) -> None:
    if not field.repeated:
        if field.read is None:
            # Present even when it is empty.
            child = getattr(message, field.name)
            child.SetInParent()
            _fill(child, item, depth + 1)
        else:
            setattr(message, field.name, field.read(item))
        return
    if not isinstance(item, list):
        raise _WrongError("not a list")
    values = getattr(message, field.name)
    if field.read is None:
        for one in item:
            _fill(values.add(), one, depth + 1)
    else:
        values.extend(map(field.read, item))


class _WrongError(ValueError):
    """A value is not what its field takes; the text may be shown."""


class _Field(NamedTuple):
    """One field: how a value is read, ``None`` where it is a message."""

    name: str
    repeated: bool
    read: Callable[[object], object] | None


@cache
def _fields(descriptor: Descriptor) -> Mapping[str, _Field]:
    """Return the fields of a message by their key; the messages of OTLP are few, so all are remembered."""
    return {field.json_name: _Field(field.name, is_repeated(field), _reader(field)) for field in descriptor.fields}


def _reader(field: FieldDescriptor) -> Callable[[object], object] | None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return None
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _hexadecimal if field.name in _HEXADECIMAL else _base64
    readers: dict[int, Callable[[object], object]] = {
        FieldDescriptor.CPPTYPE_STRING: _text,
        FieldDescriptor.CPPTYPE_BOOL: _boolean,
        FieldDescriptor.CPPTYPE_ENUM: _enum,
        FieldDescriptor.CPPTYPE_DOUBLE: _real,
        FieldDescriptor.CPPTYPE_FLOAT: _real,
    }
    return readers.get(field.cpp_type, _integer)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _WrongError("not a string")
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise _WrongError("not true or false")
    return value


def _enum(value: object) -> int:
    if isinstance(value, str):
        raise _WrongError("not a number, as which OTLP writes an enum")
    return _integer(value)


def _integer(value: object) -> int:
    if isinstance(value, bool):
        raise _WrongError("not an integer")
    if isinstance(value, str):
        return int(_plain(value))
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int):
        raise _WrongError("not an integer")
    return value


def _real(value: object) -> float:
    if isinstance(value, str):
        number = float(_plain(value))
        if not math.isfinite(number) and value not in _NOT_FINITE:
            raise _WrongError("not a number")
        return number
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _WrongError("not a number")
    return float(value)


def _plain(number: str) -> str:
    """Return a number as it is written, without what only Python reads: white space, ``_``, digits of other scripts."""
    if not number.isascii() or "_" in number or number != number.strip():
        raise _WrongError("not a number")
    return number


def _hexadecimal(value: object) -> bytes:
    try:
        return unhexlify(_text(value))
    except ValueError:
        raise _WrongError("not hexadecimal") from None


def _base64(value: object) -> bytes:
    """Read both alphabets, with padding or without."""
    text = _text(value).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        raise _WrongError("not base64") from None


def _no_number(constant: str) -> NoReturn:
    raise ValueError(constant)
