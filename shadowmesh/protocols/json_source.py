"""
Values in JSON that a field holds as text or bytes: ``json(path, choices[*].delta.content, text)``.

The inner path is of keys, ``[*]`` for every element of a list and ``[0]`` for one, or ``$`` for all of it.
A number may be written as text. What is no JSON, too deep, or of
another kind than was asked for, is absent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import Descriptor

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.paths import Kind
from shadowmesh.protocols.sources import Expression, Make, Source, source

_STEP = re.compile(r"(?P<key>[A-Za-z_][\w-]*)(?:\[(?:(?P<each>\*)|(?P<at>[0-9]{1,6}))\])?(?P<end>\.|$)")
# All the fields of one message are read before the next one's.
_KEPT = 4


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
    steps = _steps(arguments[1], text)
    kind = arguments[2]
    read, outer = _READ[kind], holder.find

    def find(message: Any) -> Sequence[Any]:
        found = []
        for data in outer(message):
            for value in _walk([_parsed(data)], steps):
                said = read(value)
                if said is not None:
                    found.append(said)
        return found

    return Expression(f"json({', '.join(arguments)})", _KINDS[kind], find)


@lru_cache(maxsize=_KEPT)
def _parsed(data: str | bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        # ValueError: no JSON, no UTF-8, or a number of more digits than Python converts.
        return None


def _walk(values: list[Any], steps: Sequence[tuple[str, bool, int | None]]) -> list[Any]:
    for key, each, at in steps:
        values = [value[key] for value in values if isinstance(value, dict) and key in value]
        if each:
            values = [element for value in values if isinstance(value, list) for element in value]
        elif at is not None:
            values = [value[at] for value in values if isinstance(value, list) and at < len(value)]
    return values


def _steps(inner: str, text: str) -> list[tuple[str, bool, int | None]]:
    steps, place, ended = [], 0, inner == "$"
    while not ended:
        match = _STEP.match(inner, place)
        if match is None:
            raise ProtocolMapError(f"{inner!r} in {text!r} is no path into JSON")
        steps.append((match["key"], bool(match["each"]), int(match["at"]) if match["at"] else None))
        place, ended = match.end(), not match["end"]
    return steps


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


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


_READ: dict[str, Callable[[Any], Any]] = {"text": _text, "integer": _integer, "number": _number, "bool": _boolean}
_KINDS: dict[str, Kind] = {"text": "text", "integer": "integer", "number": "number", "bool": "bool"}
