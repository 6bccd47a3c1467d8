"""gRPC method handlers, taken apart and put together again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import grpc

from shadowmesh.rpc import Arity

Behaviour = Callable[..., Any]
# How grpc marks a behaviour that takes a callback; see grpc/_server.py.
_NON_BLOCKING = "experimental_non_blocking"
# Method names come from clients where a server has a catch-all handler, so what is remembered must not grow with them.
_MOST_REMEMBERED = 1024

Make = Callable[[Behaviour, Callable[[bytes], Any], Callable[[Any], Any]], Any]
"""Makes a handler of a behaviour, a request deserialiser and a response serialiser."""

# The fields of grpc's own handlers, in their order.
_FIELDS = ("request_streaming", "response_streaming", "request_deserializer", "response_serializer",
           "unary_unary", "unary_stream", "stream_unary", "stream_stream")  # fmt: skip
_FACTORIES: dict[Arity, Callable[..., Any]] = {
    Arity.UNARY_UNARY: grpc.unary_unary_rpc_method_handler,
    Arity.UNARY_STREAM: grpc.unary_stream_rpc_method_handler,
    Arity.STREAM_UNARY: grpc.stream_unary_rpc_method_handler,
    Arity.STREAM_STREAM: grpc.stream_stream_rpc_method_handler,
}


class Parts(NamedTuple):
    """What a handler is made of, and what makes another one like it."""

    arity: Arity
    behaviour: Behaviour
    deserialize: Callable[[bytes], Any] | None
    serialize: Callable[[Any], bytes] | None
    make: Make


def take_apart(handler: Any) -> Parts | None:
    """Return the parts of a handler, ``None`` where it is of a kind that cannot be tapped."""
    arity = Arity.of(
        request_streaming=bool(handler.request_streaming), response_streaming=bool(handler.response_streaming)
    )
    behaviour = getattr(handler, arity.value)
    if behaviour is None or getattr(behaviour, _NON_BLOCKING, False):
        return None
    return Parts(arity, behaviour, handler.request_deserializer, handler.response_serializer, _make(handler, arity))


def _make(handler: Any, arity: Arity) -> Make:
    """Return what makes handlers like this: of its own type where that is grpc's, which is quicker than a factory."""
    if getattr(handler, "_fields", None) != _FIELDS:
        return _FACTORIES[arity]
    kind, before = type(handler), (arity.request_streaming, arity.response_streaming)
    place = _FIELDS.index(arity.value) - 4
    ahead, behind = (None,) * place, (None,) * (3 - place)
    return lambda behaviour, deserialize, serialize: kind(*before, deserialize, serialize, *ahead, behaviour, *behind)


def put_together(
    parts: Parts, behaviour: Behaviour, deserialize: Callable[[bytes], Any], serialize: Callable[[Any], Any]
) -> Any:
    """Return a handler of the same shape as ``parts`` around ``behaviour``."""
    inner = parts.behaviour
    # Marks that decorators left are read by grpc (a pool of the handler's own) and by other interceptors.
    if marks := getattr(inner, "__dict__", None):
        behaviour.__dict__.update(marks)
    behaviour.__name__ = getattr(inner, "__name__", behaviour.__name__)
    return parts.make(behaviour, deserialize, serialize)


Known = TypeVar("Known")


class Remembered(Generic[Known]):
    """
    What was found out about handlers, by method. Servers return the same handler object for a method again and again;
    where they do not, it is found out anew.
    """

    def __init__(self, find_out: Callable[[Any], Known]) -> None:
        self._find_out = find_out
        self._found: dict[str, tuple[Any, Known]] = {}

    def of(self, method: str, handler: Any) -> Known:
        """Return what is known about the ``handler`` of ``method``."""
        found = self._found.get(method)
        if found is not None and found[0] is handler:
            return found[1]
        known = self._find_out(handler)
        if found is not None or len(self._found) < _MOST_REMEMBERED:
            self._found[method] = (handler, known)
        return known
