"""
The id by which a server knows a request: a shadow gets one of its own.

Engines refuse an id that is running already, and end what an ``Abort`` names. With the live request's id a shadow would
be refused where it meets it, and an abort of the one would end the other.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor
from pydantic import model_validator

from shadowmesh.errors import DecodeError, ProtocolMapError
from shadowmesh.model import Metadata
from shadowmesh.protocols import wire
from shadowmesh.protocols.call_metadata import key_of
from shadowmesh.protocols.json_fields import JsonValue, is_json
from shadowmesh.protocols.json_paths import plain
from shadowmesh.protocols.settable import single
from shadowmesh.settings import Settings


class IdentitySettings(Settings):
    """
    Where a request has its id; in a map the path alone may stand for all of it.

    Args:
        id: the path of a text, ``json(…)``, or ``md:key``.
        always: whether a shadow gets an id where the live request has none: for a server that does not make one itself.
    """

    id: str
    always: bool = False

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"id": value} if isinstance(value, str) else value


class Identity:
    """An :class:`IdentitySettings`, compiled; ``key`` is the metadata's, ``None`` where the id is in the message."""

    def __init__(self, settings: IdentitySettings, request: Descriptor) -> None:
        """
        Compile.

        Raises:
            ProtocolMapError: there is no such text, or it could not be replaced.
        """
        self.text = settings.id
        self.always = settings.always
        self.key = key_of(settings.id)
        self._json = _in_json(settings.id, request) if is_json(settings.id) else None
        self._numbers = _numbers(settings.id, request) if self.key is None and self._json is None else ()
        if self.key is not None and self.key.endswith("-bin"):
            raise ProtocolMapError(f"{settings.id!r} is bytes, and an id is text")

    def of(self, data: bytes, metadata: Metadata) -> str:
        """Return the id of a request, empty where it has none."""
        if self.key is not None:
            return next((str(value) for name, value in metadata if name == self.key), "")
        try:
            if self._json is not None:
                return plain(self._json.find(data)) or ""
            return _text(wire.last(data, self._numbers))
        except DecodeError:
            return ""

    def replaced(self, data: bytes, own: str, *, always: bool = False) -> bytes:
        """
        Return a request message with the id ``own`` in the place of the one it has; every other field keeps its bytes.

        Args:
            always: whether it gets one that has none, whatever the settings say.

        Raises:
            DecodeError: the bytes are no message.
        """
        if self.key is not None:
            return data
        always = always or self.always
        if self._json is not None:
            return _replaced_in_json(data, self._json, own, always=always)
        if not (always or wire.last(data, self._numbers)):
            return data
        return wire.replace(data, self._numbers, wire.field(self._numbers[-1], own.encode()), make=True)

    def entries(self, metadata: Metadata, own: str) -> Metadata:
        """Return the metadata entries that stand for the id in a call whose live one had ``metadata``."""
        if self.key is None or not (self.always or any(name == self.key for name, _ in metadata)):
            return ()
        return ((self.key, own),)


def _in_json(text: str, request: Descriptor) -> JsonValue:
    place = JsonValue(text, request)
    if place.kind != "text":
        raise ProtocolMapError(f"{text!r} is {place.kind}, and an id is text")
    return place


def _replaced_in_json(data: bytes, place: JsonValue, own: str, *, always: bool) -> bytes:
    found = place.find(data)
    if isinstance(found, list):
        # An id for each of several prompts: without them the server makes its own.
        return place.without(data)
    return place.with_value(data, own) if always or (found and isinstance(found, str)) else data


def _numbers(text: str, request: Descriptor) -> tuple[int, ...]:
    path = single(text, request)
    if path.kind != "text":
        raise ProtocolMapError(f"{text!r} is {path.kind}, and an id is text")
    if any(field.containing_oneof is not None and len(field.containing_oneof.fields) > 1 for field in path.fields):
        raise ProtocolMapError(f"{text!r} is one of several in a oneof, whose place an id would take")
    return path.numbers


def _text(value: bytes | None) -> str:
    # A server that takes bytes for text which are none is not asked to abort them.
    return "" if value is None else value.decode(errors="ignore")
