"""
The parts of a request that say something: prompt, conversation and tools. They can be changed on the way to a shadow,
and captured.

A protocol map names them under ``parts`` of a method; where it does not, nothing of the kind can be asked for. They are
fields; or, with ``in_json``, keys of the JSON in one field; and a prompt may be a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from google.protobuf.message import Message
from pydantic import model_validator

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.conversation import Conversation, ConversationPaths, JsonConversation
from shadowmesh.protocols.json_fields import json_field
from shadowmesh.protocols.json_parts import JsonParts
from shadowmesh.protocols.paths import Path, descriptor_of
from shadowmesh.protocols.settable import element, listed, not_grouped, single, texts
from shadowmesh.protocols.sources import Source
from shadowmesh.settings import Settings


class PartPaths(Settings):
    """
    Where a request has them: ``prompt`` is plain text, of one prompt or a list; ``tools`` those it offers, with their
    ``tool_name``.

    Args:
        in_json: the field whose JSON has the others, each under a key of its own.
        prompt: text that goes on to the model as it is.
        original: the text that the ids of a request stand for, where the request says it and the model does not get it.
        instructions: a system prompt that stands apart from prompt and conversation.
        tools: a list.
        tool_name: inside a tool.
        tool_options: what is refused without tools, such as the choice of one: it goes when a tool goes.
        conversation: who said what.
    """

    in_json: str | None = None
    prompt: str | None = None
    original: str | None = None
    instructions: str | None = None
    tools: str | None = None
    tool_name: str | None = None
    tool_options: tuple[str, ...] = ()
    conversation: ConversationPaths | None = None

    @model_validator(mode="after")
    def _whole(self) -> PartPaths:
        if self.in_json and (self.instructions or self.original):
            raise ValueError("instructions and original are fields, and in_json is a field with all that there is")
        return self


class RequestParts:
    """
    The parts of one request message, compiled.

    ``prompt`` is a ``Path`` where it is a field, and what can be changed in JSON is changed by ``json``.
    """

    def __init__(self, paths: PartPaths, request: type[Message], compiled: Callable[[str], Source]) -> None:
        """
        Compile every path.

        Args:
            compiled: compiles what is no path of a field: a tensor.

        Raises:
            ProtocolMapError: a path does not exist, or cannot be changed as it would have to be.
        """
        descriptor = descriptor_of(request)
        self.json = _json_parts(paths, json_field(paths.in_json, descriptor)) if paths.in_json else None
        self.original = single(paths.original, descriptor) if paths.original else None
        self.instructions = texts(paths.instructions, descriptor) if paths.instructions else None
        self.prompt: Source | None
        self.tools: Source | None
        self.conversation: Conversation | JsonConversation | None
        self.tool_options: tuple[Path, ...] = ()
        self.tool_name: Path | None = None
        if self.json is not None:
            self.prompt, self.tools, self.conversation = self.json.prompt, self.json.tools, self.json.conversation
            return
        self.prompt = _prompt(paths.prompt, request, compiled) if paths.prompt else None
        tools = self.tools = listed(paths.tools, descriptor) if paths.tools else None
        self.tool_name = single(paths.tool_name, element(tools)) if tools is not None and paths.tool_name else None
        self.tool_options = tuple(not_grouped(Path(option, descriptor)) for option in paths.tool_options)
        self.conversation = Conversation(paths.conversation, descriptor) if paths.conversation else None

    @property
    def can_stub(self) -> bool:
        """Whether a stub can answer for a tool: tools have names, and it is known where their results are."""
        named = self.tool_name is not None or (self.json is not None and self.json.names_tools)
        return named and self.conversation is not None and self.conversation.can_stub

    @property
    def takes_system_prompt(self) -> bool:
        """Whether it is known where a text can be put before everything else."""
        head = self.conversation is not None and self.conversation.system is not None
        return self.prompt is not None or self.instructions is not None or head

    def readable(self, request: Message) -> bool:
        """Return whether what is in the request can be read."""
        return self.json is None or self.json.readable(request)

    def prompts(self, request: Message) -> Iterator[str]:
        """Yield the texts that were asked about, also those that the request's ids stand for."""
        found = self.prompt.find(request) if self.prompt is not None else ()
        if not found and self.original is not None:
            found = self.original.find(request)
        for text in found:
            yield text.decode(errors="replace") if isinstance(text, bytes) else text


def _prompt(text: str, request: type[Message], compiled: Callable[[str], Source]) -> Source:
    if "(" not in text:
        return texts(text, descriptor_of(request))
    found = compiled(text)
    if found.kind not in ("text", "bytes"):
        raise ProtocolMapError(f"{text!r} is {found.kind}, which is no prompt")
    return found


def _json_parts(paths: PartPaths, document: Path) -> JsonParts:
    return JsonParts(
        document,
        prompt=paths.prompt,
        tools=paths.tools,
        tool_name=paths.tool_name,
        tool_options=paths.tool_options,
        conversation=paths.conversation,
    )
