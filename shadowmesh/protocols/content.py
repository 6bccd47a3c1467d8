"""
The bytes of one exchange → what was said, as messages of the GenAI conventions.

Their form is that of the JSON schemas of semantic conventions 1.41.1, ``docs/gen-ai/gen-ai-input-messages.json``,
``gen-ai-output-messages.json`` and ``gen-ai-system-instructions.json``. A list is cut to a size of its JSON: whole
messages and parts from the beginning, then as much of the next part's text as there is room for, in whole characters.
Whatever the limit, it is a valid list. Bytes that do not parse say nothing.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import Message

from shadowmesh.protocols.parts import Conversation
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.reading import joined
from shadowmesh.protocols.tool_calls import ToolCall

Part = dict[str, str]
_MOST_CHARACTERS = 256
"""Of a role, an id or the name of a tool, which are words and not text."""
_TEXTS = ("content", "response", "arguments")
"""What of a part may be cut; it has one of them."""


class Said(NamedTuple):
    """A list of messages, or of parts: ``size`` are the bytes of its JSON, ``cut`` whether there was more."""

    items: list[dict[str, Any]]
    size: int
    cut: bool


NOTHING = Said([], 0, False)


def read_instructions(method_map: MethodMap, requests: Sequence[bytes], limit: int) -> Said:
    """Return the parts of the system prompt that stands apart; one inside the conversation is a message of it."""
    path = method_map.parts.instructions
    if path is None:
        return NOTHING
    parts = (_text(text) for message in _parsed(method_map.parse_request, requests) for text in path.find(message))
    room = _Room(limit)
    return room.said(room.parts(parts))


def read_input(method_map: MethodMap, requests: Sequence[bytes], limit: int) -> Said:
    """Return what the model was given: the prompt as a message of the user, the conversation as it is."""
    return _Room(limit).messages(_asked(method_map, requests))


def read_output(method_map: MethodMap, responses: Sequence[bytes], finish_reason: str, limit: int) -> Said:
    """Return the answer as far as it went: one message, none where there was no response."""
    answers = list(_parsed(method_map.parse_response, responses))
    if not answers:
        return NOTHING
    head = {"role": "assistant", "finish_reason": _word(finish_reason)}
    return _Room(limit).messages((head, parts) for parts in _answered(method_map, answers))


def _parsed(parse: Any, data: Sequence[bytes]) -> Iterator[Message]:
    """Yield messages up to the first that is none: what follows would seem to stand where it does not."""
    for one in data:
        message = parse(one)
        if message is None:
            return
        yield message


def _asked(method_map: MethodMap, requests: Sequence[bytes]) -> Iterator[tuple[dict[str, Any], Iterable[Part]]]:
    prompt, conversation = method_map.parts.prompt, method_map.parts.conversation
    for request in _parsed(method_map.parse_request, requests):
        for text in prompt.find(request) if prompt is not None else ():
            yield {"role": "user"}, [_text(text)]
        for message in conversation.messages.find(request) if conversation is not None else ():
            role = str(conversation.role.first(message) or "") if conversation is not None else ""
            yield {"role": _word(method_map.roles.get(role, role))}, _spoken(conversation, message, role)


def _spoken(conversation: Conversation | None, message: Any, role: str) -> Iterator[Part]:
    if conversation is None:
        return
    text = conversation.text.first(message) or ""
    if conversation.tool is not None and role == conversation.tool:
        answered = conversation.result_of.first(message)
        yield {"type": "tool_call_response", "id": _word(answered or ""), "response": text}
        return
    if text:
        yield _text(text)
    if conversation.tool_calls is not None:
        yield from map(_call, conversation.tool_calls.of(message))


def _answered(method_map: MethodMap, answers: Sequence[Message]) -> Iterator[list[Part]]:
    """Yield the parts of each output; reasoning and tools are the first one's."""
    # Decoded in one piece: a character may have been split between two messages.
    texts = [text.decode(errors="replace") for text in joined(method_map, "text", answers)] or [""]
    thoughts = [text.decode(errors="replace") for text in joined(method_map, "reasoning", answers)]
    parts: list[Part] = [{"type": "reasoning", "content": thought} for thought in thoughts if thought]
    parts += [_text(text) for text in texts[:1] if text]
    calls = method_map.tool_calls
    if calls is not None:
        for answer in answers:
            parts += map(_call, calls.of(answer))
    yield parts
    for text in texts[1:]:
        yield [_text(text)]


def _text(text: str) -> Part:
    return {"type": "text", "content": text}


def _call(call: ToolCall) -> Part:
    return {"type": "tool_call", "id": _word(call.id), "name": _word(call.name), "arguments": call.arguments}


def _word(value: Any) -> str:
    return str(value)[:_MOST_CHARACTERS]


class _Room:
    """The bytes of JSON that are left; items are read only while there is room, whatever somebody has sent."""

    def __init__(self, limit: int) -> None:
        # The brackets around the list.
        self._limit = self._left = limit - 2
        self._cut = False

    def messages(self, messages: Iterable[tuple[dict[str, Any], Iterable[Part]]]) -> Said:
        """Return as many messages as fit."""
        items = []
        for head, parts in messages:
            message = head | {"parts": []}
            if not self._take(_size(message)):
                break
            items.append(message)
            message["parts"] = self.parts(parts)
            if self._cut:
                break
        return self.said(items)

    def parts(self, parts: Iterable[Part]) -> list[Part]:
        """Return as many parts as fit, and of the next one what does."""
        kept = []
        for part in parts:
            # A character takes a byte at least: what has more of them need not be measured.
            if len(part[_text_of(part)]) <= self._left and self._take(_size(part)):
                kept.append(part)
                continue
            self._cut = True
            shorter = _shortened(part, self._left - 1)
            if shorter is not None:
                self._left -= _size(shorter) + 1
                kept.append(shorter)
            break
        return kept

    def said(self, items: list[dict[str, Any]]) -> Said:
        """Return what came of it."""
        return Said(items, self._limit - self._left + 2, self._cut) if items or self._cut else NOTHING

    def _take(self, size: int) -> bool:
        # One more for the comma.
        if size + 1 > self._left:
            self._cut = True
            return False
        self._left -= size + 1
        return True


as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Returns the JSON whose bytes count."""


def _size(value: Any) -> int:
    text = as_json(value)
    return len(text) if text.isascii() else len(text.encode())


def _text_of(part: Part) -> str:
    return next(name for name in _TEXTS if name in part)


def _shortened(part: Part, room: int) -> Part | None:
    """Return a part with so much of its text as fits into ``room`` bytes, ``None`` where not even a character does."""
    name = _text_of(part)
    left = room - _size(part | {name: ""})
    text = part[name][: max(left, 0)]
    fits = bisect_right(range(1, len(text) + 1), left, key=lambda length: _size(text[:length]) - 2)
    return part | {name: text[:fits]} if fits else None
