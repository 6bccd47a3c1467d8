"""
One call → the exchanges inside it.

Mostly a call is one exchange. On long bidirectional streams one call carries many; the map says by which id a
response belongs to a request, and which response is the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shadowmesh.protocols.protocol_map import MethodMap


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
    if method_map is None or method_map.exchange_paths is None:
        return [Slice(None, list(range(len(requests))), list(range(len(responses))))]
    request_id, response_id, end = method_map.exchange_paths
    slices: dict[str, Slice] = {}
    for position, data in enumerate(requests):
        request = method_map.parse_request(data)
        key = str(request_id.first(request) or "") if request is not None else ""
        slices.setdefault(key, Slice(key)).requests.append(position)
    for position, data in enumerate(responses):
        response = method_map.parse_response(data)
        if response is None:
            continue
        exchange = slices.get(str(response_id.first(response) or ""))
        if exchange is not None and not exchange.ended:
            exchange.responses.append(position)
            exchange.ended = end.first(response) is not None
    return list(slices.values()) or [Slice(None)]
