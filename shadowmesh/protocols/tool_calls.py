"""The calls of tools that a message holds, and the results of such calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.json_fields import json_field
from shadowmesh.protocols.json_paths import JsonPath, parsed, plain
from shadowmesh.protocols.paths import Kind, Path, Placed, descriptor_of
from shadowmesh.protocols.settable import element, single
from shadowmesh.protocols.sources import Expression, Source
from shadowmesh.protocols.structs import STRUCT, as_json, struct_json
from shadowmesh.settings import Settings


class ToolCallPaths(Settings):
    """
    Where an answer has the ``calls`` the model wants made, and inside one of them the rest.

    ``arguments`` may be text or a ``google.protobuf.Struct``. ``in_json`` is the field whose JSON they are in; there a
    call may come in pieces, which belong together by their ``index``.
    """

    calls: str
    name: str
    arguments: str | None = None
    id: str | None = None
    in_json: str | None = None
    index: str | None = None


class ToolCall(NamedTuple):
    """One call as its model wrote it; empty is what it does not say."""

    name: str
    arguments: str
    id: str


class ToolResult(NamedTuple):
    """What came of one call."""

    id: str
    text: str


class ToolCallSource(Source, Protocol):
    """Finds what stands for calls of tools, and makes the calls of it."""

    def whole(self, found: Iterable[Any]) -> Sequence[ToolCall]:
        """Return the calls of what was found of one output."""
        ...


class ToolCalls:
    """The paths of tool calls, compiled: a list, and the others inside one of its elements."""

    kind: Kind = "message"

    def __init__(self, calls: Path, name: Path, arguments: Path | None, identity: Path | None) -> None:
        self.text, self.find, self.placed, self.first = calls.text, calls.find, calls.placed, calls.first
        self.repeats = True
        self._name, self._arguments, self._id = name, arguments, identity

    def of(self, message: Any) -> Iterator[ToolCall]:
        """Yield the calls in a message, in order."""
        return map(self._call, self.find(message))

    def whole(self, found: Iterable[Any]) -> Sequence[ToolCall]:
        """Return the calls that these messages are."""
        return [self._call(one) for one in found]

    def _call(self, call: Any) -> ToolCall:
        return ToolCall(said(self._name, call), said(self._arguments, call), said(self._id, call))


class JsonToolCalls(Expression):
    """The same in JSON: ``calls`` leads from the document in a field, or from one message of it, to a list."""

    def __init__(self, paths: ToolCallPaths, document: Path | None = None) -> None:
        """Compile the paths; without ``document`` calls are found in what has been parsed."""
        calls = JsonPath(paths.calls)

        def place(message: Any) -> Sequence[Placed]:
            documents = [message] if document is None else map(parsed, document.find(message))
            return [found for one in documents for found in calls.placed(one)]

        super().__init__(paths.calls, "message", lambda message: [value for _, value in place(message)], place)
        self._name, self._id = JsonPath(paths.name), JsonPath(paths.id) if paths.id else None
        self._arguments = JsonPath(paths.arguments) if paths.arguments else None
        self._index = JsonPath(paths.index) if paths.index else None

    def of(self, message: Any) -> Iterator[ToolCall]:
        """Yield the calls in a message, in order."""
        return map(self._call, self.find(message))

    def whole(self, found: Iterable[Any]) -> Sequence[ToolCall]:
        """Return the calls that these are pieces of; what says no index is a call of its own."""
        calls: dict[object, ToolCall] = {}
        for one in found:
            index = self._index.first(one) if self._index is not None else None
            key: object = index if isinstance(index, int) else ("alone", len(calls))
            piece, before = self._call(one), calls.get(key)
            calls[key] = piece if before is None else _joined(before, piece)
        return list(calls.values())

    def _call(self, call: Any) -> ToolCall:
        name, arguments, identity = (
            _text(path.first(call) if path is not None else None) for path in (self._name, self._arguments, self._id)
        )
        return ToolCall(name, arguments, identity)


def tool_calls(paths: ToolCallPaths | None, response: type[Message]) -> ToolCallSource | None:
    """
    Return what finds the calls of an answer.

    Raises:
        ProtocolMapError: the answer has no such fields.
    """
    if paths is None:
        return None
    descriptor = descriptor_of(response)
    if paths.in_json is not None:
        return JsonToolCalls(paths, json_field(paths.in_json, descriptor))
    # Read and never changed: they may be in a list of outputs.
    calls = Path(paths.calls, descriptor)
    if not calls.repeats:
        raise ProtocolMapError(f"{paths.calls!r} is not one list, nor in one")
    inside = element(calls)
    identity = single(paths.id, inside) if paths.id else None
    return ToolCalls(calls, single(paths.name, inside), text_or_struct(paths.arguments, inside), identity)


def text_or_struct(text: str | None, inside: Descriptor) -> Path | None:
    """Return the path to text or to a Struct; raises ``ProtocolMapError`` where it leads to neither."""
    if text is None:
        return None
    path = Path(text, inside)
    is_struct = path.kind == "message" and not path.repeats and element(path).full_name == STRUCT
    return path if is_struct else single(text, inside)


def said(path: Path | None, message: Any) -> str:
    """Return what stands at a path as text, a Struct as JSON; empty where nothing does."""
    value = path.first(message) if path is not None else None
    if isinstance(value, Message):
        return struct_json(value)
    return "" if value is None else str(value)


def _joined(before: ToolCall, piece: ToolCall) -> ToolCall:
    return ToolCall(before.name or piece.name, before.arguments + piece.arguments, before.id or piece.id)


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return plain(value) or ""
    try:
        # Arguments that are written as what they are, not as the text of it.
        return plain(as_json(value)) or ""
    except RecursionError:
        return ""
