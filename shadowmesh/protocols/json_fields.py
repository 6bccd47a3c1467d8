"""
A value in the JSON that a field holds, by its place: ``json(json_body, model, text)``, as ``json_source`` reads it.

It is changed in the text of the JSON: every other key, number and space of it stays as it was written, and every other
field keeps its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor

from shadowmesh.errors import DecodeError, ProtocolMapError
from shadowmesh.protocols import json_edits as edits
from shadowmesh.protocols import wire
from shadowmesh.protocols.json_paths import JsonPath, parsed
from shadowmesh.protocols.paths import Path
from shadowmesh.protocols.sources import alternatives

_PLACE = re.compile(r"json\(\s*(?P<field>[^,()\s]+)\s*,\s*(?P<keys>[^,()\s]+)\s*,\s*(?P<kind>\w+)\s*\)")
_TYPES: dict[str, tuple[type, ...]] = {"text": (str,), "integer": (int,), "number": (int, float), "bool": (bool,)}


def is_json(text: str) -> bool:
    """Return whether a place is one in JSON."""
    return text.startswith("json(")


def json_field(text: str, descriptor: Descriptor) -> Path:
    """Return the path to the field that holds JSON; raises ``ProtocolMapError`` where it is neither text nor bytes."""
    path = Path(text, descriptor)
    if path.repeats or not path.plain or path.kind not in ("text", "bytes"):
        raise ProtocolMapError(f"{text!r} is not one field of text or bytes, which could hold JSON")
    return path


class JsonValue:
    """One value: keys inside of keys, and no lists on the way."""

    def __init__(self, text: str, descriptor: Descriptor) -> None:
        """
        Compile ``text``; of several, ``a | b``, the first is changed that says something, and else the first of all.

        Raises:
            ProtocolMapError: it is no such place, or its parts are of several fields or kinds.
        """
        found = [_PLACE.fullmatch(part.strip()) for part in alternatives(text)]
        matches = [match for match in found if match is not None]
        if len(matches) < len(found) or len({(match["field"], match["kind"]) for match in matches}) != 1:
            raise ProtocolMapError(f"{text!r} is not one value in the JSON of a field")
        self.text = text
        self.document = json_field(matches[0]["field"], descriptor)
        self.kind = matches[0]["kind"]
        self._paths = [JsonPath(match["keys"], text) for match in matches]
        self._ways = [path.keys for path in self._paths]
        if self.kind not in _TYPES or not all(self._ways):
            raise ProtocolMapError(f"{text!r} leads through a list, or to no value that can be set")

    def find(self, data: bytes) -> Any | None:
        """
        Return what stands there in a message; ``None`` where nothing does, or a null.

        Raises:
            DecodeError: the bytes are no message.
        """
        document = wire.last(data, self.document.numbers)
        said = None if document is None else parsed(document)
        return next((one for path in self._paths if (one := path.first(said)) is not None), None)

    def with_value(self, data: bytes, value: Any) -> bytes:
        """
        Return a message with this value there; one without JSON stays without.

        Raises:
            DecodeError: the bytes are no message, or there is no object of JSON in it.
        """
        written = edits.as_json(value)
        return change_json(data, self.document, lambda text: edits.with_value(text, self._said(text), written))

    def without(self, data: bytes) -> bytes:
        """
        Return a message with nothing there, whichever of the places says something.

        Raises:
            DecodeError: the bytes are no message, or there is no object of JSON in it.
        """
        return change_json(data, self.document, self._without)

    def check(self, value: Any) -> None:
        """Raise ``ProtocolMapError`` where the place cannot have this value."""
        if not isinstance(value, _TYPES[self.kind]) or isinstance(value, bool) is not (self.kind == "bool"):
            raise ProtocolMapError(f"{self.text!r} is {self.kind}, and cannot be {value!r}")

    def _said(self, text: str) -> tuple[str, ...]:
        document = parsed(text)
        ways = zip(self._paths, self._ways, strict=True)
        return next((way for path, way in ways if path.first(document) is not None), self._ways[0])

    def _without(self, text: str) -> str:
        for way in self._ways:
            text = edits.without_value(text, way)
        return text


def change_json(data: bytes, document: Path, how: Callable[[str], str]) -> bytes:
    """
    Return a message with the JSON of a field changed; where the field stands several times, the last one counts.

    Raises:
        DecodeError: the bytes are no message, or the JSON is not what the change needs.
    """
    return wire.change(data, document.numbers, lambda found: [*found[:-1], *(_changed(one, how) for one in found[-1:])])


def _changed(data: bytes, how: Callable[[str], str]) -> bytes:
    try:
        return how(data.decode()).encode()
    except UnicodeError as error:
        raise DecodeError("JSON that is not UTF-8") from error
    except RecursionError as error:
        raise DecodeError("JSON that is nested too deep") from error
