"""The parts of a request that are keys of the JSON in one of its fields, and how they are changed there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shadowmesh.protocols import json_edits as edits
from shadowmesh.protocols.conversation import ConversationPaths, JsonConversation, json_key
from shadowmesh.protocols.edits import Edit
from shadowmesh.protocols.json_fields import change_json
from shadowmesh.protocols.json_paths import JsonPath, parsed, plain
from shadowmesh.protocols.paths import Path
from shadowmesh.protocols.sources import Expression, Source


class JsonParts:
    """Compiled; ``prompt``, ``tools`` and ``conversation`` are ``None`` where there are none."""

    def __init__(
        self,
        document: Path,
        *,
        prompt: str | None,
        tools: str | None,
        tool_name: str | None,
        tool_options: tuple[str, ...],
        conversation: ConversationPaths | None,
    ) -> None:
        """
        Compile every path.

        Raises:
            ProtocolMapError: one is no path into JSON, or leads further than it may.
        """
        self.document = document
        self._prompt, self._tools = (json_key(one) if one else "" for one in (prompt, tools))
        self._options = tuple(map(json_key, tool_options))
        self._name = JsonPath(tool_name) if tool_name else None
        self.prompt = self._source(f"{prompt}[*] | {prompt}", plain) if prompt else None
        # Whatever stands there is an offer of tools, unless it is empty.
        self.tools = self._source(f"{tools}[*] | {tools}", lambda value: value or None) if tools else None
        self.conversation = JsonConversation(conversation, document) if conversation else None

    @property
    def names_tools(self) -> bool:
        """Whether tools have names."""
        return self._name is not None

    def readable(self, request: Any) -> bool:
        """Return whether the field holds an object."""
        found = self.document.find(request)
        return bool(found) and isinstance(parsed(found[0]), dict)

    def system_prompt(self, text: str, *, replaces: bool) -> Edit:
        """Return what puts a text before the system prompt, or in its place."""

        def edit(document: str) -> str:
            if self._prompt:
                document = edits.changed(document, self._prompt, lambda value: _before(value, text))
            conversation = self.conversation
            if conversation is None or conversation.system is None:
                return document
            return edits.changed(
                document,
                conversation.key,
                lambda value: edits.listed(_headed(conversation, edits.elements(value), text, replaces=replaces)),
            )

        return self._edit(edit)

    def tool_rule(self, stubs: dict[str, str]) -> Edit:
        """Return what leaves only those tools that have a stub, and lets the stub answer for them."""

        def edit(document: str) -> str:
            offered = edits.value_of(document, self._tools)
            if stubs and offered is not None and parsed(offered):
                tools = edits.elements(offered)
                kept = [one for one in tools if self._tool_name(one) in stubs]
                if kept:
                    document = edits.changed(document, self._tools, lambda _: edits.listed(kept))
                dropped = [*([] if kept else [self._tools]), *(self._options if len(kept) < len(tools) else ())]
            else:
                dropped = [self._tools, *self._options]
            document = edits.removed(document, dropped)
            return self._answered(document, stubs) if stubs else document

        return self._edit(edit)

    def _tool_name(self, tool: str) -> str | None:
        return plain(self._name.first(parsed(tool))) if self._name is not None else None

    def _answered(self, document: str, stubs: dict[str, str]) -> str:
        conversation = self.conversation
        if conversation is None:
            return document
        made = conversation.calls(parsed(document))
        answers = {call.id: stubs[call.name] for call in made if call.name in stubs}

        def answered(message: str) -> str:
            found = parsed(message)
            if not isinstance(found, dict) or found.get(conversation.role) != conversation.tool:
                return message
            answer = answers.get(conversation.answers(found) or "")
            return message if answer is None else edits.with_member(message, conversation.text, edits.as_json(answer))

        if not answers:
            return document
        return edits.changed(
            document, conversation.key, lambda value: edits.listed([answered(one) for one in edits.elements(value)])
        )

    def _edit(self, how: Callable[[str], str]) -> Edit:
        return lambda data, _message: change_json(data, self.document, how)

    def _source(self, path: str, read: Callable[[Any], Any]) -> Source:
        inner, find = JsonPath(path), self.document.find

        def values(request: Any) -> list[Any]:
            found = [value for data in find(request) for value in inner.find(parsed(data))]
            return [said for said in map(read, found) if said is not None]

        return Expression(f"{self.document.text}: {path}", "message" if read is not plain else "text", values)


def _before(value: str, text: str) -> str:
    """Return a prompt, or a list of prompts, with a text before it; prompts of token ids stay as they are."""
    found = parsed(value)
    if isinstance(found, str):
        return edits.as_json(text + found)
    if isinstance(found, list):
        return edits.listed([_before(one, text) if one.startswith('"') else one for one in edits.elements(value)])
    return value


def _headed(conversation: JsonConversation, messages: list[str], text: str, *, replaces: bool) -> list[str]:
    """Return the messages of a conversation with the system prompt at their head."""
    if not messages:
        return messages
    if replaces:
        messages = [one for one in messages if _role(conversation, one) != conversation.system]
    elif _role(conversation, messages[0]) == conversation.system:
        content = edits.value_of(messages[0], conversation.text)
        said = parsed(content) if content is not None else None
        pieces = edits.elements(content) if content is not None and isinstance(said, list) else None
        piece = edits.as_json({"type": "text", "text": text})
        whole = edits.as_json(text + (plain(said) or "")) if pieces is None else edits.listed([piece, *pieces])
        return [edits.with_member(messages[0], conversation.text, whole), *messages[1:]]
    return (
        [edits.as_json({conversation.role: conversation.system, conversation.text: text}), *messages]
        if text
        else messages
    )


def _role(conversation: JsonConversation, message: str) -> Any:
    found = parsed(message)
    return found.get(conversation.role) if isinstance(found, dict) else None
