"""
Where a request keeps a conversation, and what was said in it: in messages of protobuf, or in JSON inside a field.

Both say the same to whoever reads them: who spoke, and texts, calls of tools and their results in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from pydantic import model_validator

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.json_paths import JsonPath, parsed, plain
from shadowmesh.protocols.paths import Path
from shadowmesh.protocols.settable import element, listed, single, texts
from shadowmesh.protocols.sources import Expression, Source
from shadowmesh.protocols.tool_calls import (
    JsonToolCalls,
    ToolCall,
    ToolCallPaths,
    ToolCalls,
    ToolResult,
    said,
    text_or_struct,
)
from shadowmesh.settings import Settings


class ConversationPaths(Settings):
    """
    Where a request keeps a conversation: ``messages``, oldest first, and inside one of them the rest. ``text`` may be
    in a list of pieces.

    ``system`` and ``tool`` are the roles of a system prompt and of a tool's result; ``result_of`` is the id of the call
    that a result answers. Without ``system`` a system prompt stands apart, if there is any. ``calls`` are the calls a
    model made, and inside one of them ``call_id``, ``call_name`` and ``call_arguments``. Where a message holds
    ``results`` in a list, whoever speaks, ``result`` is what one of them says, as text or a ``google.protobuf.Struct``,
    and ``result_of`` is inside it too.
    """

    messages: str
    role: str
    text: str
    system: str | None = None
    tool: str | None = None
    result_of: str | None = None
    results: str | None = None
    result: str | None = None
    calls: str | None = None
    call_id: str | None = None
    call_name: str | None = None
    call_arguments: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> ConversationPaths:
        if self.tool and not (self.result_of and self.calls and self.call_id and self.call_name):
            raise ValueError("tool, result_of, calls, call_id and call_name belong together")
        if self.result_of and not (self.tool or self.results):
            raise ValueError("result_of is the id of a result, which has a role, tool, or stands in results")
        if bool(self.results) is not bool(self.result) or (self.results and self.tool):
            raise ValueError("results and result belong together, and without tool")
        if bool(self.calls) is not bool(self.call_name):
            raise ValueError("calls and call_name belong together")
        if (self.call_id or self.call_arguments) and not self.calls:
            raise ValueError("call_id and call_arguments are inside of calls, and there are none")
        return self


Part = str | ToolCall | ToolResult
"""One of the things that a message says; a ``str`` is text."""


class Utterance(NamedTuple):
    """One message of a conversation; ``role`` is the protocol's own word for who spoke."""

    role: str
    parts: Iterator[Part]


class SpokenConversation(Protocol):
    """A conversation that can be read."""

    messages: Source

    @property
    def can_stub(self) -> bool:
        """Whether it is known where the results of tools are, and which call each of them answers."""
        ...

    def said(self, request: Message) -> Iterator[Utterance]:
        """Yield what was said, oldest first."""
        ...


class Conversation:
    """The paths of a conversation of protobuf messages, compiled, and what a message of it is."""

    def __init__(self, paths: ConversationPaths, request: Descriptor) -> None:
        """
        Compile every path.

        Raises:
            ProtocolMapError: a path does not exist, or cannot be changed as it would have to be.
        """
        self.messages = listed(paths.messages, request)
        inside = element(self.messages)
        self.message: type[Message] = GetMessageClass(inside)
        self.role = single(paths.role, inside)
        self.text = texts(paths.text, inside)
        self.system = paths.system
        self.tool = paths.tool
        self.tool_calls: ToolCalls | None = None
        self._results: tuple[Path, Path | None, Path | None] | None = None
        _known(self.role, paths.system)
        _known(self.role, paths.tool)
        if paths.calls and paths.call_name:
            # Calls are changed by nobody, and may be in a list of pieces.
            self.calls = Path(paths.calls, inside)
            call = element(self.calls)
            self.call_name = single(paths.call_name, call)
            self.call_id = single(paths.call_id, call) if paths.call_id else None
            arguments = text_or_struct(paths.call_arguments, call)
            self.tool_calls = ToolCalls(self.calls, self.call_name, arguments, self.call_id)
        if paths.results:
            results = Path(paths.results, inside)
            one = element(results)
            answered = single(paths.result_of, one) if paths.result_of else None
            self._results = (results, text_or_struct(paths.result, one), answered)
        elif paths.tool and paths.result_of:
            self.result_of = single(paths.result_of, inside)

    @property
    def can_stub(self) -> bool:
        """Whether it is known where the results of tools are, and which call each of them answers."""
        return self.tool is not None

    def said(self, request: Message) -> Iterator[Utterance]:
        """Yield what was said, oldest first."""
        for message in self.messages.find(request):
            role = str(self.role.first(message) or "")
            yield Utterance(role, self._parts(message, role))

    def _parts(self, message: Any, role: str) -> Iterator[Part]:
        if self.tool is not None and role == self.tool:
            yield ToolResult(said(self.result_of, message), "".join(self.text.find(message)))
            return
        yield from (text for text in self.text.find(message) if text)
        if self.tool_calls is not None:
            yield from self.tool_calls.of(message)
        if self._results is not None:
            results, text, answered = self._results
            for one in results.find(message):
                yield ToolResult(said(answered, one), said(text, one))


class JsonConversation:
    """The paths of a conversation in JSON, compiled: keys and nothing more where something can be changed."""

    def __init__(self, paths: ConversationPaths, document: Path) -> None:
        """
        Compile every path.

        Raises:
            ProtocolMapError: one is no path into JSON, or leads further than it may.
        """
        self.document = document
        self.key, self.role, self.text = json_key(paths.messages), json_key(paths.role), json_key(paths.text)
        self.system, self.tool = paths.system, paths.tool
        self._texts = JsonPath(f"{self.text}[*].text | {self.text}")
        self.result_of = JsonPath(paths.result_of) if paths.result_of else None
        self.tool_calls = _json_calls(paths)
        if paths.results:
            raise ProtocolMapError("results in a list are read of protobuf messages only")
        self._each, find = JsonPath(f"{self.key}[*]"), document.find

        def messages(request: Any) -> list[Any]:
            return [message for data in find(request) for message in self._each.find(parsed(data))]

        self.messages: Source = Expression(f"{document.text}: {self._each.text}", "message", messages)

    @property
    def can_stub(self) -> bool:
        """Whether it is known where the results of tools are, and which call each of them answers."""
        return self.tool is not None

    def said(self, request: Message) -> Iterator[Utterance]:
        """Yield what was said, oldest first."""
        for message in self.messages.find(request):
            if isinstance(message, dict):
                role = plain(message.get(self.role)) or ""
                yield Utterance(role, self._parts(message, role))

    def _parts(self, message: dict[str, Any], role: str) -> Iterator[Part]:
        found = filter(None, map(plain, self._texts.find(message)))
        if self.tool is not None and role == self.tool:
            yield ToolResult(self.answers(message) or "", "".join(found))
            return
        yield from found
        if self.tool_calls is not None:
            yield from self.tool_calls.of(message)

    def answers(self, message: dict[str, Any]) -> str | None:
        """Return the id of the call that a message answers."""
        return plain(self.result_of.first(message)) if self.result_of is not None else None

    def calls(self, document: Any) -> Iterator[ToolCall]:
        """Yield the calls in all messages of a parsed document."""
        if self.tool_calls is not None:
            for message in self._each.find(document):
                yield from self.tool_calls.of(message)


def _json_calls(paths: ConversationPaths) -> JsonToolCalls | None:
    if paths.calls is None or paths.call_name is None:
        return None
    return JsonToolCalls(
        ToolCallPaths(calls=paths.calls, name=paths.call_name, arguments=paths.call_arguments, id=paths.call_id)
    )


def json_key(text: str) -> str:
    """Return the key that a path is; raises ``ProtocolMapError`` where it leads further."""
    key = JsonPath(text).key
    if key is None:
        raise ProtocolMapError(f"{text!r} is not one key of JSON")
    return key


def _known(role: Path, value: str | None) -> None:
    enum = role.fields[-1].enum_type
    if value is not None and enum is not None and value not in enum.values_by_name:
        raise ProtocolMapError(f"{role.text!r} has no value {value}")
