"""
OTLP over gRPC.

The handlers take streams, which on the wire are the same as single messages: so a request is refused by its head,
before its message takes memory. They get bytes: a deserialiser that fails makes gRPC answer UNKNOWN, and bytes that do
not parse are INVALID_ARGUMENT. gRPC itself holds messages to the size limit, before it unpacks them and, from grpcio
1.84 on, while it does: earlier ones unpack half a GiB out of half a MiB, and look at the size then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # generated, without stubs
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from shadowmesh.errors import StartError
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.limits import LimitSettings, Place
from shadowmesh.processor.otlp_services import SERVICES, response
from shadowmesh.processor.reception import Reception
from shadowmesh.processor.refusal import Refusal, RefusedError
from shadowmesh.telemetry.free_port import free_address
from shadowmesh.telemetry.server_tls import ServerTls

if TYPE_CHECKING:
    _Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]

_STATUS_DETAILS = "grpc-status-details-bin"
# What Python's exporter reads; every other one reads the standard details.
_RETRY_INFO = "google.rpc.retryinfo-bin"

AddServices = Callable[[grpc.aio.Server], None]
"""Adds further services to a server that has not been started."""


class GrpcServer:
    """
    One listening port.

    Args:
        listen: ``host:port``.
        most: bytes of one message, packed and unpacked.
    """

    def __init__(
        self,
        reception: Reception,
        *,
        listen: str,
        most: int,
        limits: LimitSettings,
        tls: ServerTls | None = None,
        add_services: AddServices | None = None,
    ) -> None:
        self._reception = reception
        self._listen = listen
        self._most = most
        self._limits = limits
        self._tls = tls
        self._add_services = add_services
        # While a message is read gRPC holds as much of it as has come, so not more are read than there is room for.
        self._reading = asyncio.Semaphore(max(limits.memory // most, 1))
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """
        Listen and return the port.

        Raises:
            StartError: the address cannot be listened on.
        """
        limits = self._limits
        server = grpc.aio.server(
            options=[
                # Without this a second processor on the same port takes half of the requests, unnoticed.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", self._most),
                # A connection with more requests than there are places makes its client wait, not ask again.
                ("grpc.max_concurrent_streams", limits.requests),
                ("grpc.max_allowed_incoming_connections", limits.connections),
                ("grpc.server_handshake_timeout_ms", round(limits.head_time * 1000)),
                ("grpc.max_connection_idle_ms", round(limits.idle_time * 1000)),
            ]
        )
        handlers = {service.method: self._export(signal) for signal, service in SERVICES.items()}
        server.add_generic_rpc_handlers([_Methods(handlers)])
        if self._add_services is not None:
            self._add_services(server)
        try:
            free_address(self._listen)
            if self._tls is None:
                port = server.add_insecure_port(self._listen)
            else:
                port = server.add_secure_port(self._listen, self._tls.credentials)
        except (OSError, RuntimeError) as error:
            raise StartError(f"processor.listen: cannot listen on {self._listen}: is the port taken?") from error
        await server.start()
        self._server = server
        return port

    async def stop(self, grace: float) -> None:
        """Accept nothing new and wait ``grace`` seconds for what is under way."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace)

    def _export(self, signal: Signal) -> grpc.RpcMethodHandler[bytes, bytes]:
        async def export(_: object, context: _Context) -> bytes:
            try:
                with self._reception.admit(_authorization(context)) as place:
                    request = await self._message(context, place)
                    accepted = await self._reception.take(signal, request, place)
            except RefusedError as refused:
                self._reception.count(refused)
                await context.abort(refused.refusal.status, str(refused), _details(refused))
            return response(signal, accepted).SerializeToString()

        return grpc.stream_unary_rpc_method_handler(export)

    async def _message(self, context: _Context, place: Place) -> bytes:
        try:
            async with asyncio.timeout(self._limits.body_time), self._reading:
                message = await context.read()
        except TimeoutError:
            seconds = self._limits.body_time
            raise RefusedError(Refusal.TOO_SLOW, f"the message took longer than {seconds:g} s") from None
        if not isinstance(message, bytes):
            # Too large, most likely: then gRPC has answered already.
            raise RefusedError(Refusal.TOO_LARGE, f"no message, or one larger than {self._most} bytes")
        place.hold(len(message))
        return message


class _Methods(grpc.GenericRpcHandler):
    def __init__(self, handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return self._handlers.get(handler_call_details.method)


def _authorization(context: _Context) -> list[str]:
    return [str(value) for key, value in context.invocation_metadata() or () if key == "authorization"]


def _details(refused: RefusedError) -> tuple[tuple[str, bytes], ...]:
    """Return when to try again, in both forms."""
    if refused.retry_after is None:
        return ()
    delay = Duration()
    delay.FromNanoseconds(round(refused.retry_after * 1e9))
    retry = RetryInfo(retry_delay=delay)
    number: int = refused.refusal.status.value[0]
    packed = AnyMessage()
    packed.Pack(retry)
    status = Status(code=number, message=str(refused), details=[packed])
    return ((_STATUS_DETAILS, status.SerializeToString()), (_RETRY_INFO, retry.SerializeToString()))
