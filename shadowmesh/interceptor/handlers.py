"""gRPC method handlers, taken apart and put together again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc

from shadowmesh.interceptor.call import LiveCall
from shadowmesh.rpc import Arity

# An interceptor that reads ahead looks at the beginning of a stream; one that reads all of it is not followed.
_MOST_EARLY = 16

Behaviour = Callable[..., Any]
# How grpc marks a behaviour that takes a callback; see grpc/_server.py.
_NON_BLOCKING = "experimental_non_blocking"

_FACTORIES: dict[Arity, Callable[..., Any]] = {
    Arity.UNARY_UNARY: grpc.unary_unary_rpc_method_handler,
    Arity.UNARY_STREAM: grpc.unary_stream_rpc_method_handler,
    Arity.STREAM_UNARY: grpc.stream_unary_rpc_method_handler,
    Arity.STREAM_STREAM: grpc.stream_stream_rpc_method_handler,
}


class Parts(NamedTuple):
    """What a handler is made of."""

    arity: Arity
    behaviour: Behaviour
    deserialize: Callable[[bytes], Any] | None
    serialize: Callable[[Any], bytes] | None


def take_apart(handler: Any) -> Parts | None:
    """Return the parts of a handler, ``None`` where it is of a kind that cannot be tapped."""
    arity = Arity.of(
        request_streaming=bool(handler.request_streaming), response_streaming=bool(handler.response_streaming)
    )
    behaviour = getattr(handler, arity.value)
    if behaviour is None or getattr(behaviour, _NON_BLOCKING, False):
        return None
    return Parts(arity, behaviour, handler.request_deserializer, handler.response_serializer)


def put_together(parts: Parts, behaviour: Behaviour, wires: Wires) -> Any:
    """Return a handler of the same shape around ``behaviour``, whose bytes pass ``wires``."""
    # Marks that decorators left are read by grpc (a pool of the handler's own) and by other interceptors.
    behaviour.__dict__.update(getattr(parts.behaviour, "__dict__", None) or {})
    behaviour.__name__ = getattr(parts.behaviour, "__name__", behaviour.__name__)
    return _FACTORIES[parts.arity](
        behaviour, request_deserializer=wires.deserialize, response_serializer=wires.serialize
    )


class Wires:
    """
    The (de)serialisers of one call: they return what the originals return and keep the bytes that pass.

    Until the exchange begins a single request's bytes wait here; the messages of a request stream are read by the
    handler, after the beginning.
    """

    __slots__ = (
        "_begun",
        "_call",
        "_deserialize",
        "_early",
        "_early_count",
        "_never_began",
        "_request_streaming",
        "_response_streaming",
        "_serialize",
        "request",
    )

    def __init__(self, parts: Parts, never_began: Callable[[], None]) -> None:
        """
        Make the wires of one call.

        Args:
            never_began: told at the end when the call never got as far as our behaviour.
        """
        self._never_began = never_began
        self._begun = False
        self._early: list[bytes] = []
        self._early_count = 0
        self._deserialize = parts.deserialize
        self._serialize = parts.serialize
        self._request_streaming = parts.arity.request_streaming
        self._response_streaming = parts.arity.response_streaming
        self._call: LiveCall | None = None
        self.request: bytes | None = None

    def begin(self) -> None:
        """Our behaviour was called."""
        self._begun = True

    def attach(self, call: LiveCall) -> None:
        """Tell ``call`` what passes from now on, and what an interceptor before ours has read already."""
        self._call = call
        for data in self._early:
            call.request(data)
        if self._early_count > len(self._early):
            call.tap.requests_lost()
        self._early.clear()

    def __del__(self) -> None:
        if not self._begun:
            self._never_began()

    def deserialize(self, data: bytes) -> Any:
        """Stand in for the request deserialiser."""
        if not self._request_streaming:
            self.request = data
        elif self._call is not None:
            self._call.request(data)
        elif not self._begun:
            if len(self._early) < _MOST_EARLY:
                self._early.append(data)
            self._early_count += 1
        return data if self._deserialize is None else self._deserialize(data)

    def serialize(self, message: Any) -> Any:
        """Stand in for the response serialiser."""
        call = self._call
        try:
            data: Any = message if self._serialize is None else self._serialize(message)
        except Exception:
            if call is not None:
                call.unserializable()
            raise
        if call is not None:
            if isinstance(data, bytes):
                call.response(data)
            else:
                call.no_message()
            if not self._response_streaming:
                # A single response's bytes are the last of a good call that anybody can see.
                call.completed()
        return data
