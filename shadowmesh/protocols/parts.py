"""
The parts of a request that say something: prompt, conversation and tools. They can be changed on the way to a shadow,
and captured.

A protocol map names them under ``parts`` of a method; where it does not, nothing of the kind can be asked for.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from pydantic import model_validator

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.paths import Path, descriptor_of
from shadowmesh.protocols.tool_calls import ToolCalls
from shadowmesh.settings import Settings


class ConversationPaths(Settings):
    """
    Where a request keeps a conversation: ``messages``, oldest first, and inside one of them the rest.

    ``system`` and ``tool`` are the roles of a system prompt and of a tool's result; ``result_of`` is the id of the call
    that a result answers. ``calls`` are the calls a model made, and inside one of them ``call_id``, ``call_name`` and
    ``call_arguments``.
    """

    messages: str
    role: str
    text: str
    system: str
    tool: str | None = None
    result_of: str | None = None
    calls: str | None = None
    call_id: str | None = None
    call_name: str | None = None
    call_arguments: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> ConversationPaths:
        tools = (self.tool, self.result_of, self.calls, self.call_id, self.call_name)
        if any(tools) and not all(tools):
            raise ValueError("tool, result_of, calls, call_id and call_name belong together")
        if self.call_arguments and not self.calls:
            raise ValueError("call_arguments are inside of calls, and there are none")
        return self


class PartPaths(Settings):
    """
    Where a request has them: ``prompt`` is plain text, ``tools`` those it offers, with their ``tool_name``.
    ``instructions`` is a system prompt that stands apart from prompt and conversation.
    """

    prompt: str | None = None
    instructions: str | None = None
    tools: str | None = None
    tool_name: str | None = None
    conversation: ConversationPaths | None = None


class RequestParts:
    """The paths of one request message, compiled."""

    def __init__(self, paths: PartPaths, request: type[Message]) -> None:
        """
        Compile every path.

        Raises:
            ProtocolMapError: a path does not exist, or cannot be changed as it would have to be.
        """
        descriptor = descriptor_of(request)
        self.prompt = single(paths.prompt, descriptor) if paths.prompt else None
        self.instructions = single(paths.instructions, descriptor) if paths.instructions else None
        self.tools = listed(paths.tools, descriptor) if paths.tools else None
        self.tool_name = single(paths.tool_name, element(self.tools)) if self.tools and paths.tool_name else None
        self.conversation = Conversation(paths.conversation, descriptor) if paths.conversation else None

    @property
    def can_stub(self) -> bool:
        """Whether a stub can answer for a tool: tools have names, and it is known where their results are."""
        return self.tool_name is not None and self.conversation is not None and self.conversation.tool is not None


class Conversation:
    """The paths of a conversation, compiled, and what a message of it is."""

    def __init__(self, paths: ConversationPaths, request: Descriptor) -> None:
        """Compile every path; raises as :class:`RequestParts` does."""
        self.messages = listed(paths.messages, request)
        inside = element(self.messages)
        self.message: type[Message] = GetMessageClass(inside)
        self.role = single(paths.role, inside)
        self.text = single(paths.text, inside)
        self.system = paths.system
        self.tool = paths.tool
        self.tool_calls: ToolCalls | None = None
        _known(self.role, paths.system)
        if paths.tool and paths.result_of and paths.calls and paths.call_id and paths.call_name:
            _known(self.role, paths.tool)
            self.result_of = single(paths.result_of, inside)
            self.calls = listed(paths.calls, inside)
            call = element(self.calls)
            self.call_id = single(paths.call_id, call)
            self.call_name = single(paths.call_name, call)
            arguments = single(paths.call_arguments, call) if paths.call_arguments else None
            self.tool_calls = ToolCalls(self.calls, self.call_name, arguments, self.call_id)


def single(text: str, descriptor: Descriptor) -> Path:
    """
    Return the path to one value.

    Raises:
        ProtocolMapError: there is no such field, it is one of many, a message, bytes, or inside a group.
    """
    path = Path(text, descriptor)
    if path.repeats or not path.plain:
        raise ProtocolMapError(f"{text!r} leads to several values, or to one of several")
    if path.kind in ("message", "bytes"):
        raise ProtocolMapError(f"{text!r} is {path.kind}, not a value that can be set")
    return not_grouped(path)


def not_grouped(path: Path) -> Path:
    """Return the path; raises ``ProtocolMapError`` if it leads through a group, which has no length to correct."""
    if any(field.type == FieldDescriptor.TYPE_GROUP for field in path.fields):
        raise ProtocolMapError(f"{path.text!r} leads through a group, which is read but never changed")
    return path


def element(path: Path) -> Descriptor:
    """Return the message a path leads to."""
    inside: Any = path.fields[-1].message_type
    if inside is None:
        raise ProtocolMapError(f"{path.text!r} is {path.kind}, not a message")
    found: Descriptor = inside
    return found


def listed(text: str, descriptor: Descriptor) -> Path:
    """
    Return the path to a list of messages.

    Raises:
        ProtocolMapError: there is no such field, it is no list or more than one, not of messages, or inside a group.
    """
    path = not_grouped(Path(text, descriptor))
    if not text.endswith("[*]") or text.count("[*]") > 1:
        raise ProtocolMapError(f"{text!r} is not one list")
    element(path)
    return path


def _known(role: Path, value: str) -> None:
    enum = role.fields[-1].enum_type
    if enum is not None and value not in enum.values_by_name:
        raise ProtocolMapError(f"{role.text!r} has no value {value}")
