"""Changes of what is said in a request: its system prompt, the tools it offers, and the results of their calls."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols import wire
from shadowmesh.protocols.edits import Edit, removal, setting
from shadowmesh.protocols.parts import Conversation, RequestParts, element
from shadowmesh.protocols.paths import Path


def system_prompt(parts: RequestParts, text: str, *, replaces: bool) -> Edit:
    """
    Return what puts a text before the system prompt, or in its place.

    Raises:
        ProtocolMapError: the map does not say where the prompt is.
    """
    prompt, conversation = parts.prompt, parts.conversation
    if prompt is None and conversation is None:
        raise ProtocolMapError("the protocol map does not say where the prompt is")

    def edit(data: bytes, message: Any) -> bytes:
        plain = prompt.first(message) if prompt is not None else None
        if prompt is not None and plain is not None:
            return setting(prompt, text + plain)(data, message)
        if conversation is None or not conversation.messages.find(message):
            return data
        return _changed(data, message, conversation, lambda found: _headed(conversation, found, text, replaces))

    return edit


def _headed(conversation: Conversation, found: list[bytes], text: str, replaces: bool) -> list[bytes]:
    """Return the messages of a conversation with the system prompt at their head."""
    first = conversation.message.FromString(found[0])
    if replaces:
        found = [one for one in found if _role(conversation, one) != conversation.system]
    elif conversation.role.first(first) == conversation.system:
        return [_with_text(conversation, found[0], text + (conversation.text.first(first) or "")), *found[1:]]
    head = _encoded_in(conversation, conversation.role, conversation.system, b"")
    return [_with_text(conversation, head, text), *found] if text else found


def tool_rule(parts: RequestParts, stubs: dict[str, str]) -> Edit:
    """
    Return what leaves only those tools that have a stub, and lets the stub answer for them.

    Raises:
        ProtocolMapError: the map does not say where tools, or their results, are.
    """
    tools, name, conversation = parts.tools, parts.tool_name, parts.conversation
    if tools is None:
        raise ProtocolMapError("the protocol map does not say where the tools are")
    if not stubs:
        return removal(tools.numbers)
    if name is None or conversation is None or not conversation.tool:
        raise ProtocolMapError("the protocol map does not say where the results of tools are")
    kind: type[Message] = GetMessageClass(element(tools))

    def edit(data: bytes, message: Any) -> bytes:
        data = wire.change(
            data, tools.numbers, lambda found: [one for one in found if name.first(kind.FromString(one)) in stubs]
        )
        if not conversation.messages.find(message):
            return data
        answers = _answers(conversation, message, stubs)
        return _changed(data, message, conversation, lambda found: [_answered(conversation, answers, e) for e in found])

    return edit


def _answers(conversation: Conversation, message: Any, stubs: dict[str, str]) -> dict[str, str]:
    """Return the stub's answer to each call of a stubbed tool, by the call's id."""
    calls = [call for one in conversation.messages.find(message) for call in conversation.calls.find(one)]
    names = {conversation.call_id.first(call): conversation.call_name.first(call) for call in calls}
    return {str(call): stubs[tool] for call, tool in names.items() if call is not None and tool in stubs}


def _answered(conversation: Conversation, answers: dict[str, str], data: bytes) -> bytes:
    one = conversation.message.FromString(data)
    answer = answers.get(str(conversation.result_of.first(one)))
    if answer is None or conversation.role.first(one) != conversation.tool:
        return data
    return _with_text(conversation, data, answer)


def _changed(data: bytes, message: Message, conversation: Conversation, how: wire.Change) -> bytes:
    numbers = conversation.messages.numbers
    if not wire.stands_once(data, numbers[:-1]):
        # Parts of one message that a sender has split: a reader merges them, and only then is there one list.
        merged = message.SerializeToString()
        data = wire.replace(data, numbers[:1], b"", make=False) + _only(merged, numbers[0])
    return wire.change(data, numbers, how)


def _only(data: bytes, number: int) -> bytes:
    return b"".join(data[piece.start : piece.end] for piece in wire.pieces(data) if piece.number == number)


def _role(conversation: Conversation, data: bytes) -> Any:
    return conversation.role.first(conversation.message.FromString(data))


def _with_text(conversation: Conversation, data: bytes, text: str) -> bytes:
    return _encoded_in(conversation, conversation.text, text, data)


def _encoded_in(conversation: Conversation, path: Path, value: str, data: bytes) -> bytes:
    return setting(path, value)(data, conversation.message.FromString(data))
