"""
One call → the exchanges inside it.

Mostly a call is one exchange. On long bidirectional streams one call carries many; the map says by which id, or that
by order, a response belongs to a request, and which response is the last. Requests with the same id, or without any,
are answered one after the other, as clients send them that do not ask for the next before they have the last.

A server that could not even read what it was asked may say so without an id. Such an error belongs to the request that
waits, where one does and no other: it is the answer to something. Where several wait, to give it to one of them would
make a failure of an exchange that may go well, so it belongs to none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from google.protobuf.message import Message

from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.sources import Source

_NOBODYS: deque[Slice] = deque()


@dataclass(slots=True)
class Slice:
    """
    One exchange of a call: positions of its messages, and whether its last response was seen.

    ``key`` tells the exchanges of a call apart and is equal on every leg; ``None`` where the call is one exchange.
    """

    key: str | None
    requests: list[int] = field(default_factory=list)
    responses: list[int] = field(default_factory=list)
    ended: bool = False


class Division(NamedTuple):
    """The exchanges of a call, and how many errors in it say no id and belong to none of them."""

    exchanges: list[Slice]
    nobodys: int = 0


def split(method_map: MethodMap | None, requests: Sequence[bytes], responses: Sequence[bytes]) -> list[Slice]:
    """
    Return the exchanges in the order of their first request; at least one.

    A response that answers no request of this call belongs to no exchange.
    """
    return divide(method_map, requests, responses).exchanges


def divide(
    method_map: MethodMap | None,
    requests: Sequence[bytes],
    responses: Sequence[bytes],
    asked_by: Callable[[int], int] | None = None,
) -> Division:
    """
    Do the same, and count the errors that belong to nobody.

    Args:
        asked_by: returns how many requests there were when a response came, by its position; all of them by default.
    """
    if method_map is None or method_map.exchanges is None:
        return Division([Slice(None, list(range(len(requests))), list(range(len(responses))))])
    rule = method_map.exchanges
    if rule.request_id is None or rule.response_id is None:
        return Division(_by_order(method_map, requests, responses) or [Slice(None)])
    waiting = _Waiting([_id(rule.request_id, method_map.parse_request(data)) for data in requests])
    nobodys = 0
    for position, data in enumerate(responses):
        response = method_map.parse_response(data)
        if response is None:
            continue
        identity = _id(rule.response_id, response)
        if not identity and method_map.pieces.failed(response):
            asked = len(requests) if asked_by is None else asked_by(position)
            alike = waiting.alone(asked)
            nobodys += not alike
        else:
            alike = waiting.of(identity)
        if alike:
            alike[0].responses.append(position)
            if _ends(method_map, response):
                waiting.end(alike)
    return Division(waiting.slices or [Slice(None)], nobodys)


class _Waiting:
    """The exchanges of a call, of each of which one request was seen, and those that have not ended, by their id."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.slices = [Slice(str(position), [position]) for position in range(len(ids))]
        self._by_id: dict[str, deque[Slice]] = {}
        self._named: dict[int, deque[Slice]] = {}
        for position, identity in enumerate(ids):
            alike = self._by_id.setdefault(identity, deque())
            alike.append(self.slices[position])
            if identity:
                self._named[position] = alike

    def of(self, identity: str) -> deque[Slice]:
        """Return those of an id, the first of which is answered."""
        return self._by_id.get(identity, _NOBODYS)

    def alone(self, asked: int) -> deque[Slice]:
        """
        Return those of the only id that waits, of the first so many requests; none where several do.

        Those without an id are answered one after the other: of them the first is the only one.
        """
        named = [(place, alike) for place, alike in islice(self._named.items(), 2) if place < asked]
        nameless = self.of("")
        if nameless and nameless[0].requests[0] < asked:
            return _NOBODYS if named else nameless
        return named[0][1] if len(named) == 1 else _NOBODYS

    def end(self, alike: deque[Slice]) -> None:
        """The first of these has had its last response."""
        ended = alike.popleft()
        ended.ended = True
        self._named.pop(ended.requests[0], None)


def _by_order(method_map: MethodMap, requests: Sequence[bytes], responses: Sequence[bytes]) -> list[Slice]:
    slices = [Slice(str(position), [position]) for position in range(len(requests))]
    waiting = iter(slices)
    exchange = next(waiting, None)
    for position, data in enumerate(responses):
        if exchange is None:
            break
        response = method_map.parse_response(data)
        exchange.responses.append(position)
        if response is None or _ends(method_map, response):
            exchange.ended = response is not None
            exchange = next(waiting, None)
    return slices


def _ends(method_map: MethodMap, response: Message) -> bool:
    end = method_map.exchanges.end if method_map.exchanges is not None else None
    return end is None or bool(end.find(response)) or method_map.pieces.failed(response)


def _id(source: Source, message: Message | None) -> str:
    found = source.first(message) if message is not None else None
    return "" if found is None else str(found)
