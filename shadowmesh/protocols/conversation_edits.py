"""Changes of what is said in a request: its system prompt, the tools it offers, and the results of their calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols import wire
from shadowmesh.protocols.conversation import Conversation
from shadowmesh.protocols.edits import Edit, all_of, removal, setting
from shadowmesh.protocols.parts import RequestParts
from shadowmesh.protocols.paths import Path, is_repeated
from shadowmesh.protocols.settable import element
from shadowmesh.protocols.tensor_edits import text_before
from shadowmesh.protocols.tensors import TensorSource


def system_prompt(parts: RequestParts, text: str, *, replaces: bool) -> Edit:
    """
    Return what puts a text before the system prompt, or in its place.

    Raises:
        ProtocolMapError: the map does not say where the prompt is.
    """
    if parts.json is not None:
        return parts.json.system_prompt(text, replaces=replaces)
    edits = list(_prompts(parts, text, replaces=replaces))
    if not edits:
        raise ProtocolMapError("the protocol map does not say where the prompt is")
    return all_of(edits)


def _prompts(parts: RequestParts, text: str, *, replaces: bool) -> Iterator[Edit]:
    prompt, conversation, before = parts.prompt, parts.conversation, text.encode()
    if isinstance(prompt, Path):
        numbers = prompt.numbers
        yield lambda data, _message: wire.change(data, numbers, lambda found: [before + one for one in found])
    elif isinstance(prompt, TensorSource):
        yield text_before(prompt, before)
    if parts.instructions is not None:
        yield _apart(parts.instructions, text, replaces=replaces)
    elif isinstance(conversation, Conversation) and conversation.system is not None:
        yield _at_the_head(conversation, text, replaces=replaces)


def _apart(path: Path, text: str, *, replaces: bool) -> Edit:
    """Return what changes a system prompt that stands apart, and makes it where it is missing."""

    def edit(data: bytes, message: Any) -> bytes:
        return _with_text(_merged(data, message, path.numbers), message, path, text, replaces=replaces)

    return edit


def _at_the_head(conversation: Conversation, text: str, *, replaces: bool) -> Edit:
    def edit(data: bytes, message: Any) -> bytes:
        if not conversation.messages.find(message):
            return data
        numbers = conversation.messages.numbers
        data = _merged(data, message, numbers)
        return wire.change(data, numbers, lambda found: _headed(conversation, found, text, replaces=replaces))

    return edit


def _headed(conversation: Conversation, found: list[bytes], text: str, *, replaces: bool) -> list[bytes]:
    """Return the messages of a conversation with the system prompt at their head."""
    if replaces:
        found = [one for one in found if _role(conversation, one) != conversation.system]
    elif _role(conversation, found[0]) == conversation.system:
        return [_saying(conversation, found[0], text, replaces=False), *found[1:]]
    head = setting(conversation.role, conversation.system)(b"", conversation.message())
    return [_saying(conversation, head, text, replaces=True), *found] if text else found


def tool_rule(parts: RequestParts, stubs: dict[str, str]) -> Edit:
    """
    Return what leaves only those tools that have a stub, and lets the stub answer for them.

    Raises:
        ProtocolMapError: the map does not say where tools, or their results, are.
    """
    if parts.tools is None:
        raise ProtocolMapError("the protocol map does not say where the tools are")
    if stubs and not parts.can_stub:
        raise ProtocolMapError("the protocol map does not say where the results of tools are")
    if parts.json is not None:
        return parts.json.tool_rule(stubs)
    options = all_of([removal(option.numbers) for option in parts.tool_options])
    tools, name, conversation = parts.tools, parts.tool_name, parts.conversation
    if not isinstance(tools, Path):
        raise ProtocolMapError(f"{tools.text!r} is no list of messages")
    if not stubs or name is None or not isinstance(conversation, Conversation):
        return all_of([removal(tools.numbers), options])
    numbers, kind, talk = tools.numbers, GetMessageClass(element(tools)), conversation

    def edit(data: bytes, message: Any) -> bytes:
        changed = wire.change(
            data, numbers, lambda found: [one for one in found if name.first(kind.FromString(one)) in stubs]
        )
        # What says how tools are to be used may name one that is gone.
        return _answered(talk, options(changed, message) if changed != data else data, message, stubs)

    return edit


def _answered(conversation: Conversation, data: bytes, message: Any, stubs: dict[str, str]) -> bytes:
    """Return the request with the stubs' answers in the place of the results of their tools."""
    calls = conversation.tool_calls
    said = conversation.messages.find(message)
    made = [call for one in said for call in calls.of(one)] if calls is not None else []
    answers = {call.id: stubs[call.name] for call in made if call.name in stubs}
    if not answers:
        return data

    def answered(one: bytes) -> bytes:
        result = conversation.message.FromString(one)
        answer = answers.get(str(conversation.result_of.first(result)))
        if answer is None or conversation.role.first(result) != conversation.tool:
            return one
        return _saying(conversation, one, answer, replaces=True)

    numbers = conversation.messages.numbers
    return wire.change(_merged(data, message, numbers), numbers, lambda found: [answered(one) for one in found])


def _merged(data: bytes, message: Message, numbers: Sequence[int]) -> bytes:
    """Return the request with one list where a sender has split the messages around it: a reader merges them."""
    if wire.stands_once(data, numbers[:-1]):
        return data
    merged = message.SerializeToString()
    return wire.replace(data, numbers[:1], b"", make=False) + _only(merged, numbers[0])


def _only(data: bytes, number: int) -> bytes:
    return b"".join(data[piece.start : piece.end] for piece in wire.pieces(data) if piece.number == number)


def _role(conversation: Conversation, data: bytes) -> Any:
    return conversation.role.first(conversation.message.FromString(data))


def _saying(conversation: Conversation, data: bytes, text: str, *, replaces: bool) -> bytes:
    message = conversation.message.FromString(data)
    return _with_text(data, message, conversation.text, text, replaces=replaces)


def _with_text(data: bytes, message: Any, path: Path, text: str, *, replaces: bool) -> bytes:
    """Return the message with a text before the one it says, or in its place; of pieces the first one is changed."""
    place = next((at for at, field in enumerate(path.fields) if is_repeated(field)), None)
    if place is None:
        return setting(path, text if replaces else text + (path.first(message) or ""))(data, message)
    numbers, inner = path.numbers[: place + 1], path.numbers[place + 1 :]
    new = [_piece(path.fields[place:], text)] if text else []
    if not _is_there(path.fields[:place], message):
        return wire.replace(data, numbers, wire.field(numbers[-1], new[0]), make=True) if new else data

    def before(found: list[bytes]) -> list[bytes]:
        if replaces:
            return new
        first = found[0] if found else b""
        longer = wire.change(first, inner, lambda said: [text.encode() + said[0], *said[1:]] if said else said)
        return [longer, *found[1:]] if longer != first else [*new, *found]

    return wire.change(data, numbers, before)


def _is_there(fields: Sequence[FieldDescriptor], message: Any) -> bool:
    for field in fields:
        if not message.HasField(field.name):
            return False
        message = getattr(message, field.name)
    return True


def _piece(fields: Sequence[FieldDescriptor], text: str) -> bytes:
    """Return an element of the list ``fields`` begins with, which says a text and nothing more."""
    kind: Any = fields[0].message_type
    message: Any = GetMessageClass(kind)()
    inside = message
    for field in fields[1:-1]:
        inside = getattr(inside, field.name)
    setattr(inside, fields[-1].name, text)
    data: bytes = message.SerializeToString()
    return data
