"""
The messages of one exchange → what was said, as messages of the GenAI conventions.

Their form is that of the JSON schemas of semantic conventions 1.41.1, ``docs/gen-ai/gen-ai-input-messages.json``,
``gen-ai-output-messages.json`` and ``gen-ai-system-instructions.json``. A list is cut to a size of its JSON: whole
messages and parts from the beginning, then as much of the next part's text as there is room for, in whole characters.
Whatever the limit, it is a valid list. Bytes that do not parse say nothing.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import Message

from shadowmesh.protocols.messages import Answer, Requests
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.reading import is_read, joined, reasons_of, tool_calls
from shadowmesh.protocols.tool_calls import ToolCall, ToolResult

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
_UNKNOWN = Said([], 0, True)
TextOf = Callable[[Sequence[int]], str | None]
"""Returns the text of token ids, ``None`` where one of them is no token."""


def read_instructions(requests: Requests, limit: int) -> Said:
    """Return the parts of the system prompt that stands apart; one inside the conversation is a message of it."""
    path = requests.method_map.parts.instructions if requests.method_map is not None else None
    if path is None:
        return NOTHING
    parts = (_text(said) for message in requests.unbroken for said in path.find(message))
    room = _Room(limit)
    return room.said(room.parts(parts))


def read_input(requests: Requests, limit: int, text_of: TextOf | None = None) -> Said:
    """Return what the model was given: the prompt as a message of the user, the conversation as it is."""
    if requests.method_map is None:
        return NOTHING
    return _Room(limit).messages(_asked(requests.method_map, requests.unbroken, text_of))


def read_output(answer: Answer, finish_reason: str, limit: int, text_of: TextOf | None = None) -> Said:
    """
    Return the answer as far as it went: a message for each output, none where there was no response.

    Where nobody can tell the text of what was answered all of it is cut: an empty text would be like every other one.

    Args:
        finish_reason: why it ended, of outputs that do not say it themselves.
        text_of: makes text of token ids, for protocols that have nothing else.
    """
    method_map, answers = answer.method_map, answer.unbroken
    if method_map is None or not answers:
        return NOTHING
    texts = _texts(method_map, answers, text_of) if is_read(method_map, answers) else None
    return _UNKNOWN if texts is None else _Room(limit).messages(_answered(method_map, answers, texts, finish_reason))


def _texts(method_map: MethodMap, answers: Sequence[Message], text_of: TextOf | None) -> dict[int, bytes] | None:
    """Return the text of each output that has one, by its index; ``None`` where it is not known."""
    texts = joined(method_map, "text", answers)
    ids = method_map.response.get("ids")
    for index, found in method_map.pieces.outputs(ids, answers).items() if ids is not None else ():
        if index not in texts:
            text = text_of(found) if text_of is not None else None
            if text is None:
                return None
            texts[index] = text.encode()
    return texts


def _asked(
    method_map: MethodMap, requests: Sequence[Message], text_of: TextOf | None
) -> Iterator[tuple[dict[str, Any], Iterable[Part]]]:
    parts = method_map.parts
    for request in requests:
        for text in tuple(parts.prompts(request)) or _prompt_of_ids(method_map, request, text_of):
            yield {"role": "user"}, [_text(text)]
        for role, said in parts.conversation.said(request) if parts.conversation is not None else ():
            yield {"role": _word(method_map.roles.get(role, role))}, map(_said, said)


def _prompt_of_ids(method_map: MethodMap, request: Message, text_of: TextOf | None) -> Iterator[str]:
    for generate in method_map.generates.values() if text_of is not None else ():
        ids = generate.ids.read(request) if generate.ids is not None else ()
        text = text_of(tuple(ids)) if ids and text_of is not None else None
        if text is not None:
            yield text
            return


def _answered(
    method_map: MethodMap, answers: Sequence[Message], texts: dict[int, bytes], finish_reason: str
) -> Iterator[tuple[dict[str, Any], Iterable[Part]]]:
    """Yield the parts of each output, of which there is one at least."""
    thoughts = joined(method_map, "reasoning", answers)
    calls, reasons = tool_calls(method_map, answers), reasons_of(method_map, answers)
    for index in sorted({*texts, *thoughts, *calls} or {0}):
        # Decoded in one piece: a character may have been split between two messages.
        said = [
            {"type": kind, "content": text.decode(errors="replace")}
            for kind, text in (("reasoning", thoughts.get(index)), ("text", texts.get(index)))
            if text
        ]
        said += map(_said, calls.get(index, ()))
        yield {"role": "assistant", "finish_reason": _word(reasons.get(index, finish_reason))}, said


def _said(part: str | ToolCall | ToolResult) -> Part:
    if isinstance(part, ToolCall):
        return {"type": "tool_call", "id": _word(part.id), "name": _word(part.name), "arguments": part.arguments}
    if isinstance(part, ToolResult):
        return {"type": "tool_call_response", "id": _word(part.id), "response": part.text}
    return _text(part)


def _text(text: str) -> Part:
    return {"type": "text", "content": text}


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
