"""What generated code would offer for `shadowmesh.v1.Inference`: register a servicer, call a method."""

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from shadowmesh.rpc import Arity
from shadowmesh.schema.inference import SERVICE, Method, method, methods


def generic_handler(servicer: object) -> grpc.GenericRpcHandler:
    """Return what ``server.add_generic_rpc_handlers`` takes; the servicer has a method of each RPC's name."""
    handlers = {}
    for name, rpc in methods().items():
        make = getattr(grpc, f"{_arity(rpc).value}_rpc_method_handler")
        handlers[name] = make(
            getattr(servicer, name),
            request_deserializer=rpc.request.FromString,
            response_serializer=rpc.response.SerializeToString,
        )
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def stub(channel: grpc.aio.Channel, name: str) -> Callable[..., Any]:
    """Return the callable of one method, such as ``Generate``."""
    rpc = method(name)
    make: Callable[..., Callable[..., Any]] = getattr(channel, _arity(rpc).value)
    return make(
        rpc.full_name,
        request_serializer=rpc.request.SerializeToString,
        response_deserializer=rpc.response.FromString,
    )


def _arity(rpc: Method) -> Arity:
    return Arity.of(request_streaming=rpc.request_streaming, response_streaming=rpc.response_streaming)
