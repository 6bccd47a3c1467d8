"""
One call → the exchanges inside it.

Mostly a call is one exchange. On long bidirectional streams one call carries many; the map says by which id, or that
by order, a response belongs to a request, and which response is the last. Requests with the same id, or without any,
are answered one after the other, as clients send them that do not ask for the next before they have the last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

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


def split(method_map: MethodMap | None, requests: Sequence[bytes], responses: Sequence[bytes]) -> list[Slice]:
    """
    Return the exchanges in the order of their first request; at least one.

    A response that answers no request of this call belongs to no exchange.
    """
    if method_map is None or method_map.exchanges is None:
        return [Slice(None, list(range(len(requests))), list(range(len(responses))))]
    rule = method_map.exchanges
    if rule.request_id is None or rule.response_id is None:
        return _by_order(method_map, requests, responses) or [Slice(None)]
    slices: list[Slice] = []
    waiting: dict[str, deque[Slice]] = {}
    for position, data in enumerate(requests):
        identity = _id(rule.request_id, method_map.parse_request(data))
        alike = waiting.setdefault(identity, deque())
        slices.append(Slice(str(position), [position]))
        alike.append(slices[-1])
    for position, data in enumerate(responses):
        response = method_map.parse_response(data)
        alike = _NOBODYS if response is None else waiting.get(_id(rule.response_id, response), _NOBODYS)
        if response is not None and alike:
            alike[0].responses.append(position)
            if _ends(method_map, response):
                alike.popleft().ended = True
    return slices or [Slice(None)]


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
