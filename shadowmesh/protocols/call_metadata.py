"""
Where a protocol map finds a value beside the messages: in the metadata of a call.

``md:key`` is every value of that key, in order: text, or bytes where the key ends in ``-bin``. It may be one of several
alternatives: ``model_id | md:mm-model-id``. Nobody reads a key that no map names, and what is read becomes the field
that the map gives it to, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from google.protobuf.message import Message

from shadowmesh.errors import ProtocolMapError
from shadowmesh.model import Metadata
from shadowmesh.protocols.paths import Kind, Placed
from shadowmesh.protocols.sources import Find, Source, alternatives, of_one_kind

_PREFIX = "md:"
# The keys that gRPC takes, without its own.
_KEY = re.compile(r"(?!grpc-)[0-9a-z_.-]+")


class InCall:
    """
    A source some of whose alternatives stand in the metadata, under ``keys``.

    By itself it finds what stands in the message; :func:`find_in_call` finds all of it.
    """

    repeats = False

    def __init__(self, text: str, kind: Kind, parts: Sequence[str | Source]) -> None:
        self.text = text
        self.kind: Kind = kind
        self.keys = frozenset(part for part in parts if isinstance(part, str))
        self.find: Find = lambda message: self.find_in_call(message, ())
        self._parts = tuple(parts)

    def find_in_call(self, message: Any, metadata: Metadata) -> Sequence[Any]:
        """Return the values of the first alternative that has any."""
        for part in self._parts:
            values = values_of(part, metadata) if isinstance(part, str) else part.find(message)
            if values:
                return values
        return ()

    def first(self, message: Message) -> Any | None:
        """Return the first value in a message, or ``None``."""
        values = self.find(message)
        return values[0] if values else None

    def placed(self, message: Message) -> Sequence[Placed]:
        """Return the values in a message; a request has no outputs, so they all have the first place."""
        return [(0, value) for value in self.find(message)]


def find_in_call(source: Source, message: Any, metadata: Metadata) -> Sequence[Any]:
    """Return the values of a source in one message of a call."""
    return source.find_in_call(message, metadata) if isinstance(source, InCall) else source.find(message)


def in_call(text: str, compiled: Callable[[str], Source]) -> Source:
    """
    Compile a source for the requests of a call.

    Args:
        compiled: compiles one for the message alone.

    Raises:
        ProtocolMapError: it is none.
    """
    parts = [part.strip() for part in alternatives(text)]
    if not any(part.startswith(_PREFIX) for part in parts):
        return compiled(text)
    sources = [key if (key := key_of(part)) is not None else compiled(part) for part in parts]
    kinds = [_kind_of(one) if isinstance(one, str) else one.kind for one in sources]
    return InCall(text, of_one_kind(text, kinds), sources)


def key_of(text: str) -> str | None:
    """
    Return the key that ``text`` names, ``None`` where it names none.

    Raises:
        ProtocolMapError: it is a key that no call has.
    """
    if not text.startswith(_PREFIX):
        return None
    key = text[len(_PREFIX) :]
    if _KEY.fullmatch(key) is None:
        raise ProtocolMapError(f"{text!r} names no metadata: keys are lower case, and gRPC's own are not read")
    return key


def keys_of(sources: Iterable[Source]) -> frozenset[str]:
    """Return every key that these read."""
    return frozenset(key for source in sources if isinstance(source, InCall) for key in source.keys)


def values_of(key: str, metadata: Metadata) -> Sequence[Any]:
    """Return the values of a key, in order."""
    return [value for name, value in metadata if name == key]


def _kind_of(key: str) -> Kind:
    return "bytes" if key.endswith("-bin") else "text"
