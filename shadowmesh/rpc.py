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

    def __init__(self, grpc_name: str) -> None:
        # Plain attributes: both are asked several times for every call.
        self.request_streaming = grpc_name.startswith("stream_")
        """Whether the client sends a stream of messages."""
        self.response_streaming = grpc_name.endswith("_stream")
        """Whether the server answers with a stream of messages."""

    # An enum's own hash is a Python function; members are compared by identity anyway.
    __hash__ = object.__hash__

    @classmethod
    def of(cls, *, request_streaming: bool, response_streaming: bool) -> Arity:
        """Return the shape with these two directions."""
        return _BY_DIRECTIONS[request_streaming, response_streaming]


_BY_DIRECTIONS = {(arity.request_streaming, arity.response_streaming): arity for arity in Arity}


def span_method(path: str) -> str:
    """Return ``pkg.Service/Method`` for the HTTP/2 path ``/pkg.Service/Method`` (the form of ``rpc.method``)."""
    return path.removeprefix("/")
