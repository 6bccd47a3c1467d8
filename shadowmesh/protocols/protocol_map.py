"""
A protocol map: which field of which message is the model, the answer, the token counts.

The data file is a :class:`ProtocolMapSettings`; a :class:`MethodMap` is one method of it bound to the classes of
its messages. Bytes that do not parse read as "nothing said": a map never raises on input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError as ProtobufDecodeError
from google.protobuf.message import Message
from pydantic import Field

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.parts import PartPaths, RequestParts, element, listed, single
from shadowmesh.protocols.paths import Kind, Path, descriptor_of
from shadowmesh.protocols.tool_calls import ToolCallPaths, ToolCalls
from shadowmesh.settings import Settings


class RequestPaths(Settings):
    """Where a request says what it asks for; the first request message of the exchange decides."""

    model: str | None = None
    max_tokens: str | None = None
    temperature: str | None = None
    top_p: str | None = None
    top_k: str | None = None
    seed: str | None = None
    stop_sequences: str | None = None


class ResponsePaths(Settings):
    """
    Where a response says what it is; of several messages the last one that says it decides.

    ``text`` is a delta: the texts of all messages, joined, are the answer. It may be bytes, which need not be whole
    characters before they are joined.
    """

    text: str | None = None
    tool_calls: ToolCallPaths | None = None
    id: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    input_tokens: str | None = None
    output_tokens: str | None = None
    cached_input_tokens: str | None = None
    reasoning_output_tokens: str | None = None


class ExchangeRule(Settings):
    """
    How one call splits into exchanges: a response belongs to the request that has its id, and the exchange ends
    with the first response that has a value at ``end``.
    """

    by: Literal["id"] = "id"
    request: str
    response: str
    end: str


class MethodSettings(Settings):
    """One method of a protocol."""

    operation: str | None = None
    request: RequestPaths = RequestPaths()
    parts: PartPaths = PartPaths()
    response: ResponsePaths = ResponsePaths()
    exchanges: ExchangeRule | None = None


class ProtocolMapSettings(Settings):
    """
    The data file of a protocol.

    ``finish_reasons`` and ``roles`` are what the conventions call the values that it has of its own.
    """

    version: Literal[1]
    protocol: str
    provider: str | None = None
    finish_reasons: dict[str, str] = Field(default={})
    roles: dict[str, str] = Field(default={})
    methods: Annotated[dict[str, MethodSettings], Field(min_length=1)]


# What is read must fit the field it becomes: checked here, because nobody may raise when a message is read.
_INTEGER: frozenset[Kind] = frozenset({"integer"})
_NUMBER: frozenset[Kind] = frozenset({"integer", "number"})
_LABEL: frozenset[Kind] = frozenset({"text", "enum"})
_KINDS: dict[str, frozenset[Kind]] = {
    "text": frozenset({"text", "bytes"}),
    "id": frozenset({"text", "integer"}),
    "model": _LABEL,
    "finish_reason": _LABEL,
    "stop_sequences": _LABEL,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "top_k": _NUMBER,
}


class MethodMap:
    """One method's paths, compiled against its message classes."""

    def __init__(
        self,
        protocol: ProtocolMapSettings,
        settings: MethodSettings,
        request: type[Message],
        response: type[Message],
    ) -> None:
        """
        Compile every path.

        Raises:
            ProtocolMapError: a path does not exist in its message, or leads to something of the wrong kind.
        """
        self.operation = settings.operation
        self.provider = protocol.provider
        self.finish_reasons = protocol.finish_reasons
        self.roles = protocol.roles
        self._request_class = request
        self._response_class = response
        self.request = _compile(settings.request, request)
        self.parts = RequestParts(settings.parts, request)
        self.response = _compile(settings.response, response)
        # The fields of an answer: all but its text.
        self.answer = tuple((name, path) for name, path in self.response.items() if name != "text")
        self.tool_calls = _tool_calls(settings.response.tool_calls, descriptor_of(response))
        rule = settings.exchanges
        self.exchange_paths = (
            (
                _path("id", rule.request, request),
                _path("id", rule.response, response),
                Path(rule.end, descriptor_of(response)),
            )
            if rule is not None
            else None
        )

    @property
    def request_descriptor(self) -> Descriptor:
        """The descriptor of the request message."""
        return descriptor_of(self._request_class)

    def parse_request(self, data: bytes) -> Message | None:
        """Return the request message, ``None`` where the bytes are not one."""
        return _parse(self._request_class, data)

    def parse_response(self, data: bytes) -> Message | None:
        """Return the response message, ``None`` where the bytes are not one."""
        return _parse(self._response_class, data)


def bind(
    protocol: ProtocolMapSettings, messages: Mapping[str, tuple[type[Message], type[Message]]]
) -> dict[str, MethodMap]:
    """
    Return the maps of all methods, by full method name.

    Args:
        messages: request and response class of each method.

    Raises:
        ProtocolMapError: a method without classes, or a path that its message does not have or that leads to
            something of the wrong kind.
    """
    maps = {}
    for method, settings in protocol.methods.items():
        if method not in messages:
            raise ProtocolMapError(f"{protocol.protocol}: no descriptors for {method}")
        try:
            maps[method] = MethodMap(protocol, settings, *messages[method])
        except ProtocolMapError as error:
            raise ProtocolMapError(f"{protocol.protocol}: {method}: {error}") from error
    return maps


def _compile(paths: Settings, message: type[Message]) -> dict[str, Path]:
    texts: dict[str, Any] = paths.model_dump(exclude={"tool_calls"}, exclude_none=True)
    return {name: _path(name, text, message) for name, text in texts.items()}


def _tool_calls(paths: ToolCallPaths | None, response: Descriptor) -> ToolCalls | None:
    if paths is None:
        return None
    calls = listed(paths.calls, response)
    inside = element(calls)
    arguments, identity = (single(text, inside) if text else None for text in (paths.arguments, paths.id))
    return ToolCalls(calls, single(paths.name, inside), arguments, identity)


def _path(name: str, text: str, message: type[Message]) -> Path:
    path = Path(text, descriptor_of(message))
    if path.kind not in _KINDS.get(name, _INTEGER):
        raise ProtocolMapError(f"{text!r} is {path.kind}, which cannot be read as {name}")
    return path


def _parse(message_class: type[Message], data: bytes) -> Message | None:
    try:
        return message_class.FromString(data)
    except ProtobufDecodeError:
        return None
