"""What a protocol map reads of captured calls, field by field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from shadowmesh.mirror.capture_format import CapturedCall
from shadowmesh.model import Metadata
from shadowmesh.protocols.aborts import Abort
from shadowmesh.protocols.call_metadata import find_in_call
from shadowmesh.protocols.exchanges import split
from shadowmesh.protocols.messages import Answer, Requests
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.reading import joined, read_fields, read_request
from shadowmesh.protocols.sources import Source

SCHEMA = "shadowmesh.protocol-check/1"
_MOST_CHARACTERS = 80
# What the fields of a reading are called in a map.
_READ_AS = {"model": "{side}_model", "id": "response_id", "finish_reason": "finish_reasons"}


@dataclass
class FieldCheck:
    """One path: in how many of the exchanges it found something, and what was read of the first of these."""

    field: str
    path: str
    found: int = 0
    example: str | None = None


@dataclass
class MethodCheck:
    """One method: what of its captured calls could be read."""

    method: str
    calls: int = 0
    exchanges: int = 0
    incomplete: int = 0
    """Calls of which the capture does not have every message."""
    unreadable: int = 0
    """Messages that are not what the map says they are."""
    fields: list[FieldCheck] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether there was something to read, and all of it could be."""
        return bool(self.calls) and not self.unreadable


@dataclass
class ProtocolCheck:
    """All methods of a map, and the captured calls of others."""

    protocol: str
    methods: list[MethodCheck]
    others: dict[str, int]

    @property
    def good(self) -> bool:
        """Whether some method was called, and what was said could be read."""
        called = [one for one in self.methods if one.calls]
        return bool(called) and all(one.good for one in called)


def check(protocol: str, maps: Mapping[str, MethodMap], calls: Iterable[CapturedCall]) -> ProtocolCheck:
    """Read every call by the map of its method."""
    aborts = {one.abort.method: one.abort for one in maps.values() if one.abort is not None}
    found: dict[str, _Check | _AbortCheck] = {method: _Check(method, method_map) for method, method_map in maps.items()}
    found |= {method: _AbortCheck(abort) for method, abort in aborts.items()}
    others: Counter[str] = Counter()
    for call in calls:
        if call.method in found:
            found[call.method].take(call)
        else:
            others[call.method] += 1
    return ProtocolCheck(protocol, [one.result for one in found.values()], dict(others))


class _Check:
    """Reads the calls of one method."""

    def __init__(self, method: str, method_map: MethodMap) -> None:
        self.result = MethodCheck(method)
        self._map = method_map
        self._asked = {name: FieldCheck(f"request.{name}", one.text) for name, one in method_map.request.items()}
        self._said = {name: FieldCheck(f"response.{name}", one.text) for name, one in method_map.response.items()}
        identity = method_map.identity
        self._identity = None if identity is None else FieldCheck("identity", identity.text)
        self._parts = {name: (FieldCheck(name, one.text), one) for name, one in _parts(method_map)}
        self._others = {name: (FieldCheck(name, one.text), one) for name, one in _others(method_map)}
        self.result.fields = [
            *([] if self._identity is None else [self._identity]),
            *self._asked.values(),
            *(one for one, _ in self._parts.values()),
            *self._said.values(),
            *(one for one, _ in self._others.values()),
        ]

    def take(self, call: CapturedCall) -> None:
        result = self.result
        result.calls += 1
        result.incomplete += not call.complete
        requests = Requests(self._map, [one.data for one in call.requests])
        responses = Answer(self._map, [one.data for one in call.responses])
        result.unreadable += sum(len(side.data) - len(side.some) for side in (requests, responses))
        for exchange in split(self._map, requests.data, responses.data):
            result.exchanges += 1
            if exchange.key is None:
                self._read(requests, responses, call.metadata)
                continue
            asked = Requests(self._map, [requests.data[place] for place in exchange.requests])
            said = Answer(self._map, [responses.data[at] for at in exchange.responses])
            self._read(asked, said, call.metadata)

    def _read(self, requests: Requests, answer: Answer, metadata: Metadata) -> None:
        if self._identity is not None and self._map.identity is not None:
            ids = [self._map.identity.of(one, metadata) for one in requests.data[:1]]
            _found(self._identity, [one for one in ids if one])
        fields = read_fields(read_request(requests, metadata), answer)
        first = requests.at(0) if requests.data else None
        asked, said = [] if first is None else [first], answer.some
        for side, checks, messages, sources in (
            ("request", self._asked, asked, self._map.request),
            ("response", self._said, said, self._map.response),
        ):
            for name, one in checks.items():
                value = getattr(fields, _READ_AS.get(name, name).format(side=side), None)
                if name in ("text", "reasoning"):
                    value = b"".join(joined(self._map, name, said).values()).decode(errors="replace")
                _note(one, sources[name], messages, value, metadata=metadata if side == "request" else ())
        for one, source in self._parts.values():
            _note(one, source, asked)
        for one, source in self._others.values():
            _note(one, source, said)


class _AbortCheck:
    """Reads the calls of a method that ends others."""

    def __init__(self, abort: Abort) -> None:
        self._abort = abort
        self._ids = FieldCheck("aborts.ids", abort.text)
        self.result = MethodCheck(abort.method, fields=[self._ids])

    def take(self, call: CapturedCall) -> None:
        result, requests = self.result, [one.data for one in call.requests]
        result.calls += 1
        result.exchanges += 1
        result.incomplete += not call.complete
        result.unreadable += sum(self._abort.parse(one) is None for one in requests)
        _found(self._ids, [found for one in requests for found in self._abort.ids(one)])


def _note(
    check: FieldCheck, source: Source, messages: Iterable[Message], read_as: Any = None, *, metadata: Metadata = ()
) -> None:
    _found(check, [value for message in messages for value in find_in_call(source, message, metadata)], read_as)


def _found(check: FieldCheck, values: Sequence[Any], read_as: Any = None) -> None:
    if not values:
        return
    check.found += 1
    if check.example is None:
        check.example = _shown(values[0] if read_as in (None, (), "") else read_as)


def _parts(method_map: MethodMap) -> Iterator[tuple[str, Source]]:
    parts = method_map.parts
    named: dict[str, Source | None] = {
        "prompt": parts.prompt,
        "original": parts.original,
        "instructions": parts.instructions,
        "tools": parts.tools,
    }
    if parts.conversation is not None:
        named["conversation.messages"] = parts.conversation.messages
    yield from ((f"parts.{name}", one) for name, one in named.items() if one is not None)
    if method_map.exchanges is not None and method_map.exchanges.request_id is not None:
        yield "exchanges.request", method_map.exchanges.request_id


def _others(method_map: MethodMap) -> Iterator[tuple[str, Source]]:
    if method_map.tool_calls is not None:
        yield "response.tool_calls", method_map.tool_calls
    if method_map.cost is not None:
        yield "response.cost", method_map.cost.amount
    pieces, rule = method_map.pieces, method_map.exchanges
    named = {"stream.index": pieces.index, "stream.end": pieces.end, "stream.error": pieces.error}
    if rule is not None:
        named |= {"exchanges.response": rule.response_id, "exchanges.end": rule.end}
    yield from ((name, one) for name, one in named.items() if one is not None)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        value = ", ".join(map(str, value))
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    text = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
