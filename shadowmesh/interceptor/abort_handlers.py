"""
A handler of a method by which clients end calls of their own: what was asked is told once it is answered.

Such a call is no exchange. Of it nothing is kept but its request, until then; the behaviour stays the handler's own.
"""

from __future__ import annotations

from typing import Any

from shadowmesh.interceptor.handlers import take_apart
from shadowmesh.mirror.live import LiveSide


def watched(handler: Any, method: str, live: LiveSide) -> Any:
    """Return a handler like this one, for one call, that tells ``live``; itself where it cannot be taken apart."""
    try:
        parts = take_apart(handler)
    except Exception as error:
        live.faults.report("interceptor", error)
        return handler
    if parts is None:
        live.faults.report("abort", f"the handler of {method} is of a kind that cannot be watched")
        return handler
    inner_deserialize, inner_serialize = parts.deserialize, parts.serialize
    asked: list[tuple[bytes, int]] = []

    def deserialize(data: bytes) -> Any:
        asked[:] = ((data, live.clock()),)
        return data if inner_deserialize is None else inner_deserialize(data)

    def serialize(message: Any) -> Any:
        # A server that refuses answers with a status, and never comes here.
        data = message if inner_serialize is None else inner_serialize(message)
        if asked:
            live.aborts.tell(method, *asked.pop())
        return data

    return parts.make(parts.behaviour, deserialize, serialize)
