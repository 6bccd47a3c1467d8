"""
Values in JSON that a field holds as text or bytes: ``json(path, choices[*].delta.content, text)``.

The inner path is one of ``json_paths``. A number may be written as text. What is no JSON, too deep, or of another kind
than was asked for, is absent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.json_paths import JsonPath, parsed, plain
from shadowmesh.protocols.paths import Kind, Placed
from shadowmesh.protocols.sources import Expression, Make, Source, source


def json_source(
    arguments: Sequence[str], descriptor: Descriptor, text: str, functions: Mapping[str, Make] | None = None
) -> Source:
    """
    Return the source for the arguments of ``json(…)``; ``functions`` may find what holds the JSON.

    Raises:
        ProtocolMapError: they are not a source of text or bytes, an inner path and a kind.
    """
    if len(arguments) != 3 or arguments[2] not in _READ:
        raise ProtocolMapError(f"json takes a path, an inner path and one of {', '.join(_READ)} in {text!r}")
    holder = source(arguments[0], descriptor, functions)
    if holder.kind not in ("text", "bytes"):
        raise ProtocolMapError(f"{arguments[0]!r} in {text!r} is {holder.kind}, which holds no JSON")
    path, kind = JsonPath(arguments[1], text), arguments[2]
    read, outer = _READ[kind], holder.find

    def find(message: Any) -> Sequence[Any]:
        values = [value for data in outer(message) for value in path.find(parsed(data))]
        return [said for said in map(read, values) if said is not None]

    def place(message: Any) -> Sequence[Placed]:
        values = [one for data in outer(message) for one in path.placed(parsed(data))]
        return [(at, said) for at, value in values if (said := read(value)) is not None]

    return Expression(f"json({', '.join(arguments)})", _KINDS[kind], find, place if path.repeats else None)


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _boolean(value: Any) -> bool | None:
    return True if value is True else None


_READ: dict[str, Callable[[Any], Any]] = {"text": plain, "integer": _integer, "number": _number, "bool": _boolean}
_KINDS: dict[str, Kind] = {"text": "text", "integer": "integer", "number": "number", "bool": "bool"}
