"""
The four shapes of a gRPC method, as data.

gRPC itself spells the shapes out as four handler fields and four channel methods; everywhere else a shape is
two booleans, so the rest of ShadowMesh asks an :class:`Arity` instead of branching on four names.
"""

from __future__ import annotations

from enum import Enum


class Arity(Enum):
    """One of the four RPC shapes; the value is grpc's own name for the handler field and the channel method."""

    UNARY_UNARY = "unary_unary"
    UNARY_STREAM = "unary_stream"
    STREAM_UNARY = "stream_unary"
    STREAM_STREAM = "stream_stream"

    @classmethod
    def of(cls, *, request_streaming: bool, response_streaming: bool) -> Arity:
        """Return the shape with these two directions."""
        return _BY_DIRECTIONS[request_streaming, response_streaming]

    @property
    def request_streaming(self) -> bool:
        """Whether the client sends a stream of messages."""
        return self in _REQUEST_STREAMING

    @property
    def response_streaming(self) -> bool:
        """Whether the server answers with a stream of messages."""
        return self in _RESPONSE_STREAMING


_BY_DIRECTIONS = {
    (False, False): Arity.UNARY_UNARY,
    (False, True): Arity.UNARY_STREAM,
    (True, False): Arity.STREAM_UNARY,
    (True, True): Arity.STREAM_STREAM,
}
_REQUEST_STREAMING = frozenset({Arity.STREAM_UNARY, Arity.STREAM_STREAM})
_RESPONSE_STREAMING = frozenset({Arity.UNARY_STREAM, Arity.STREAM_STREAM})


def span_method(path: str) -> str:
    """Return ``pkg.Service/Method`` for the HTTP/2 path ``/pkg.Service/Method`` (the form of ``rpc.method``)."""
    return path.removeprefix("/")
