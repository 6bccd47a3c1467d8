"""
A protocol map: which field of which message is the model, the answer, the token counts.

A :class:`MethodMap` is one method of a :class:`~shadowmesh.protocols.map_settings.ProtocolMapSettings` bound to the
classes of its messages. Bytes that do not parse read as "nothing said": a map never raises on input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError as ProtobufDecodeError
from google.protobuf.message import Message

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.aborts import Abort, bind_abort
from shadowmesh.protocols.call_metadata import in_call, keys_of
from shadowmesh.protocols.edits import has_place
from shadowmesh.protocols.fields import answer_fields, request_fields
from shadowmesh.protocols.generate_map import Generate
from shadowmesh.protocols.identity import Identity
from shadowmesh.protocols.json_fields import is_json
from shadowmesh.protocols.json_source import json_source
from shadowmesh.protocols.map_settings import (
    CostPaths,
    ExchangeRule,
    MessageNames,
    MethodSettings,
    ProtocolMapSettings,
)
from shadowmesh.protocols.parts import RequestParts
from shadowmesh.protocols.paths import Kind, Path, descriptor_of
from shadowmesh.protocols.sources import Make, Source, source
from shadowmesh.protocols.streams import COUNTED, Pieces
from shadowmesh.protocols.tensors import TensorLists, tensor_function
from shadowmesh.protocols.tool_calls import tool_calls
from shadowmesh.settings import Settings

CONTENT = ("text", "ids", "reasoning")
"""What an answer says, which is put together of all its messages."""
# What is read must fit the field it becomes: checked here, because nobody may raise when a message is read.
_INTEGER: frozenset[Kind] = frozenset({"integer"})
_NUMBER: frozenset[Kind] = frozenset({"integer", "number"})
_LABEL: frozenset[Kind] = frozenset({"text", "enum", "bytes"})
_KINDS: dict[str, frozenset[Kind]] = {
    "text": frozenset({"text", "bytes"}),
    "reasoning": frozenset({"text", "bytes"}),
    "id": frozenset({"text", "integer"}),
    "model": _LABEL,
    "finish_reason": _LABEL,
    "stop_sequences": _LABEL,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "top_k": _NUMBER,
    "cost": _NUMBER,
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
        self.abort: Abort | None = None
        """How its requests are ended by their id."""
        self._request_class = request
        self._response_class = response
        self.identity = None if settings.identity is None else Identity(settings.identity, descriptor_of(request))
        asked, said = _Compiler(request, settings.tensors.request), _Compiler(response, settings.tensors.response)
        self.request = asked.all("request", settings.request, in_calls=True)
        named = {self.identity.key} if self.identity is not None and self.identity.key is not None else frozenset()
        self.metadata_keys = keys_of(self.request.values()) | named
        """The keys of a call's metadata that are read, and no others are."""
        self.parts = RequestParts(settings.parts, request, asked.any)
        self.response = said.all("response", settings.response)
        self.tool_calls = tool_calls(settings.response.tool_calls, response)
        content = [self.response[name] for name in CONTENT if name in self.response]
        self.pieces = Pieces(
            settings.stream, [*content, *([self.tool_calls] if self.tool_calls is not None else [])], said.any
        )
        # The fields of an answer: all but its content.
        fields = [(name, found) for name, found in self.response.items() if name not in CONTENT]
        self.reasons = self.response.get("finish_reason") if self.pieces.several else None
        """Where each of several outputs says why it ended."""
        self.asked_fields = request_fields(self.request)
        self.last_fields = answer_fields(
            [(name, found) for name, found in fields if not self._is_counted(name) and found is not self.reasons],
            protocol.finish_reasons,
        )
        """The fields of an answer on which the last word stands."""
        self.counted = tuple((name, found) for name, found in fields if self._is_counted(name))
        self.cost = None if settings.response.cost is None else ReportedCost.of(settings.response.cost, said)
        self.has_tensors = settings.tensors.response is not None
        self.exchanges = None if settings.exchanges is None else Exchanges(settings.exchanges, asked, said)
        self.unshadowable = tuple(asked.any(text).find for text in settings.unshadowable)
        ways = settings.presets if settings.generate is None else {"": settings.generate}
        self.generates = {
            name: Generate(
                way,
                request,
                protocol=protocol.protocol,
                paths=_plain(settings),
                roles=protocol.roles,
                source=asked.any,
                tensors=settings.tensors.request,
            )
            for name, way in ways.items()
        }
        """How the method is asked to generate, by preset; by nothing where there is one way."""

    def _is_counted(self, name: str) -> bool:
        """Return whether a field is more than the last word on it."""
        return name in COUNTED and self.pieces.counts.get(name, "last") != "last"

    @property
    def settable(self) -> dict[str, str]:
        """The places of a request's fields that can be changed."""
        return {name: found.text for name, found in self.request.items() if _is_settable(found, self)}

    def identified(self, data: bytes, own: str, *, always: bool = False) -> bytes:
        """
        Return a request message with the id ``own`` where the protocol has ids in messages; else as it is.

        Args:
            always: whether it gets one whatever the map says of requests without.

        Raises:
            DecodeError: the bytes are no message.
        """
        return data if self.identity is None else self.identity.replaced(data, own, always=always)

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


class ReportedCost(NamedTuple):
    """:class:`CostPaths`, compiled."""

    amount: Source
    units: float
    currency: str

    @classmethod
    def of(cls, paths: CostPaths, response: _Compiler) -> ReportedCost:
        """Compile the path."""
        return cls(response.one("cost", paths.amount), paths.units, paths.currency)


class Exchanges:
    """An :class:`ExchangeRule`, compiled; without ids they are told apart by their order."""

    def __init__(self, rule: ExchangeRule, request: _Compiler, response: _Compiler) -> None:
        self.request_id = None if rule.request is None else request.one("id", rule.request)
        self.response_id = None if rule.response is None else response.one("id", rule.response)
        self.end = None if rule.end is None else response.any(rule.end)


class _Compiler:
    """Compiles the sources of one message."""

    def __init__(self, message: type[Message], tensors: TensorLists | None) -> None:
        self._descriptor = descriptor_of(message)
        self._functions: dict[str, Make] = {}
        if tensors is not None:
            self._functions["tensor"] = tensor_function(tensors, self._descriptor)
        self._functions["json"] = partial(json_source, functions=dict(self._functions))

    def any(self, text: str) -> Source:
        return source(text, self._descriptor, self._functions)

    def one(self, name: str, text: str, *, in_calls: bool = False) -> Source:
        """Compile a source of the kind that ``name`` has to be; ``in_calls`` it may read metadata."""
        found = in_call(text, self.any) if in_calls else self.any(text)
        if found.kind not in _KINDS.get(name, _INTEGER):
            raise ProtocolMapError(f"{text!r} is {found.kind}, which cannot be read as {name}")
        return found

    def all(self, section: str, sources: Settings, *, in_calls: bool = False) -> dict[str, Source]:
        """Compile all sources of a section of the map, whose name and key stand in what is wrong with one."""
        texts: dict[str, Any] = sources.model_dump(exclude={"tool_calls", "cost"}, exclude_none=True)
        found = {}
        for name, text in texts.items():
            try:
                found[name] = self.one(name, text, in_calls=in_calls)
            except ProtocolMapError as error:
                raise ProtocolMapError(f"{section}.{name}: {error}") from error
        return found


def _is_settable(found: Source, method_map: MethodMap) -> bool:
    if isinstance(found, Path):
        return found.plain and not found.repeats
    return is_json(found.text) and has_place(found.text, method_map.request_descriptor)


def _plain(settings: MethodSettings) -> dict[str, str]:
    """Return the paths of a request that can be written as well."""
    texts: dict[str, str] = settings.request.model_dump(exclude_none=True)
    if settings.parts.prompt is not None and settings.parts.in_json is None:
        texts["prompt"] = settings.parts.prompt
    return {name: text for name, text in texts.items() if not set("(|") & set(text) and not text.startswith("md:")}


Classes = tuple[type[Message], type[Message]]
"""Of a method's request and response."""


def bind(
    protocol: ProtocolMapSettings, messages: Mapping[str, Classes], named: Callable[[str], type[Message]] | None = None
) -> dict[str, MethodMap]:
    """
    Return the maps of all methods, by full method name.

    Args:
        messages: request and response class of the methods that name none.
        named: returns the class of a message by its full name, or raises ``KeyError``.

    Raises:
        ProtocolMapError: a method without classes, or a path that its message does not have or that leads to
            something of the wrong kind.
    """
    maps = {}
    for method, settings in protocol.methods.items():
        try:
            classes = messages.get(method) if settings.messages is None else _named(settings.messages, named)
        except KeyError as error:
            raise ProtocolMapError(f"{protocol.protocol}: {method}: no message {error}") from error
        if classes is None:
            ways = "descriptors, module or reflection gives them"
            raise ProtocolMapError(f"{protocol.protocol}: no descriptors for {method}: {ways}")
        try:
            maps[method] = MethodMap(protocol, settings, *classes)
        except ProtocolMapError as error:
            raise ProtocolMapError(f"{protocol.protocol}: {method}: {error}") from error
    for method, ends in protocol.aborts.items():
        try:
            abort = bind_abort(method, ends, {name: request for name, (request, _) in messages.items()}, named)
        except ProtocolMapError as error:
            raise ProtocolMapError(f"{protocol.protocol}: {method}: {error}") from error
        for other in ends.of:
            maps[other].abort = abort
    return maps


def _named(names: MessageNames, named: Callable[[str], type[Message]] | None) -> Classes | None:
    return None if named is None else (named(names.request), named(names.response))


def _parse(message_class: type[Message], data: bytes) -> Message | None:
    try:
        return message_class.FromString(data)
    except ProtobufDecodeError:
        return None
