"""The calls of tools that a message holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from google.protobuf.message import Message

from shadowmesh.protocols.paths import Path
from shadowmesh.protocols.structs import struct_json
from shadowmesh.settings import Settings


class ToolCallPaths(Settings):
    """
    Where an answer has the ``calls`` the model wants made, and inside one of them the rest.

    ``arguments`` may be text or a ``google.protobuf.Struct``.
    """

    calls: str
    name: str
    arguments: str | None = None
    id: str | None = None


class ToolCall(NamedTuple):
    """One call as its model wrote it; empty is what it does not say."""

    name: str
    arguments: str
    id: str


class ToolCalls(NamedTuple):
    """The paths of tool calls, compiled: a list, and the others inside one of its elements."""

    calls: Path
    name: Path
    arguments: Path | None
    id: Path | None

    def of(self, message: Any) -> Iterator[ToolCall]:
        """Yield the calls in a message, in order."""
        for call in self.calls.find(message):
            yield ToolCall(_said(self.name, call), _said(self.arguments, call), _said(self.id, call))


def _said(path: Path | None, call: Any) -> str:
    value = path.first(call) if path is not None else None
    if isinstance(value, Message):
        return struct_json(value)
    return "" if value is None else str(value)
