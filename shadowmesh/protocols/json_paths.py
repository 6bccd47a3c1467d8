"""
Paths into a JSON document: keys, ``[*]`` for every element of a list and ``[0]`` for one, or ``$`` for all of it.

``a | b`` is the first of them that leads anywhere. What is no JSON, or too deep, is ``None`` and leads nowhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.paths import Placed

_STEP = re.compile(r"(?P<key>[A-Za-z_][\w-]*)(?:\[(?:(?P<each>\*)|(?P<at>[0-9]{1,6}))\])?(?P<end>\.|$)")
# All the fields of one message are read before the next one's.
_KEPT = 4


class _Step(NamedTuple):
    key: str
    each: bool
    at: int | None


class JsonPath:
    """A path compiled; ``find`` returns every value in a parsed document, in order."""

    def __init__(self, text: str, whole: str = "") -> None:
        """
        Compile ``text``, a part of ``whole``, which errors name.

        Raises:
            ProtocolMapError: it is no path.
        """
        self.text = text
        self._ways = [_steps(one.strip(), whole or text) for one in text.split("|")]

    @property
    def repeats(self) -> bool:
        """Whether it can lead to several values."""
        return any(step.each for way in self._ways for step in way)

    @property
    def key(self) -> str | None:
        """The key it is, where it is one and nothing more: only there a value can be put."""
        return self.keys[0] if len(self.keys) == 1 else None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys on the way, where it is one way through objects alone; else none."""
        steps = self._ways[0]
        alone = len(self._ways) == 1 and not any(step.each or step.at is not None for step in steps)
        return tuple(step.key for step in steps) if alone else ()

    def find(self, value: Any) -> list[Any]:
        """Return every value found."""
        return next((found for way in self._ways if (found := _walk([value], way))), [])

    def first(self, value: Any) -> Any | None:
        """Return the first value, or ``None``."""
        return next(iter(self.find(value)), None)

    def placed(self, value: Any) -> list[Placed]:
        """Return every value with the place that it has in the first list on the way."""
        return next((found for way in self._ways if (found := _placed(value, way))), [])


@lru_cache(maxsize=_KEPT)
def parsed(data: str | bytes) -> Any:
    """Return what a document says, ``None`` where it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        # ValueError: no JSON, no UTF-8, or a number of more digits than Python converts.
        return None


def plain(value: Any) -> str | None:
    """Return a text as Unicode knows it, ``None`` for any other value: JSON may escape half a character."""
    if not isinstance(value, str):
        return None
    return value if value.isascii() else value.encode(errors="replace").decode()


def _walk(values: list[Any], steps: Sequence[_Step]) -> list[Any]:
    for key, each, at in steps:
        values = [value[key] for value in values if isinstance(value, dict) and key in value]
        if each:
            values = [element for value in values if isinstance(value, list) for element in value]
        elif at is not None:
            values = [value[at] for value in values if isinstance(value, list) and at < len(value)]
    return values


def _placed(value: Any, steps: Sequence[_Step]) -> list[Placed]:
    first = next((place for place, step in enumerate(steps) if step.each), len(steps))
    elements, rest = _walk([value], steps[: first + 1]), steps[first + 1 :]
    return [(place, found) for place, element in enumerate(elements) for found in _walk([element], rest)]


def _steps(inner: str, text: str) -> list[_Step]:
    steps: list[_Step] = []
    place, ended = 0, inner == "$"
    while not ended:
        match = _STEP.match(inner, place)
        if match is None:
            raise ProtocolMapError(f"{inner!r} in {text!r} is no path into JSON")
        steps.append(_Step(match["key"], bool(match["each"]), int(match["at"]) if match["at"] else None))
        place, ended = match.end(), not match["end"]
    return steps
