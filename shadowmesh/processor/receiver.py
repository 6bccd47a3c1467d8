"""
OTLP over gRPC, as a server: raw bytes to a handler, and OTLP's own answers.

The handlers get bytes, not messages: a deserialiser that fails makes gRPC answer UNKNOWN, and bytes that do
not parse are INVALID_ARGUMENT. A request that was answered with OK has been taken in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import grpc
import grpc.aio
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from shadowmesh.errors import DecodeError, StartError
from shadowmesh.telemetry.faults import Faults

TRACE_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
METRICS_EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


@dataclass(frozen=True, slots=True)
class Rejected:
    """Items of a request that can never be accepted, and why; all others were accepted."""

    count: int
    reason: str


Handler = Callable[[bytes], Rejected | None]
"""Takes one request in, on the event loop's thread.

Raises:
    DecodeError: the bytes do not parse.
"""


@dataclass(slots=True)
class Requests:
    """How many requests were answered, by answer."""

    accepted: int = 0
    invalid: int = 0
    failed: int = 0


class Receiver:
    """One listening port for traces and metrics."""

    def __init__(
        self,
        listen: str,
        *,
        on_traces: Handler,
        on_metrics: Handler,
        max_message_bytes: int = 16 * 1024 * 1024,
        faults: Faults | None = None,
    ) -> None:
        self.requests = Requests()
        self._faults = faults or Faults()
        self._listen = listen
        self._handlers = {
            TRACE_EXPORT: self._export(on_traces, _trace_response),
            METRICS_EXPORT: self._export(on_metrics, _metrics_response),
        }
        self._max_message_bytes = max_message_bytes
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """
        Listen and return the port.

        Raises:
            StartError: the address cannot be listened on.
        """
        server = grpc.aio.server(
            options=[
                # Without this a second processor on the same port takes half of the requests, unnoticed.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", self._max_message_bytes),
            ]
        )
        server.add_generic_rpc_handlers([_Methods(self._handlers)])
        try:
            port = server.add_insecure_port(self._listen)
        except RuntimeError as error:
            raise StartError(f"cannot listen on {self._listen}: is the port taken?") from error
        await server.start()
        self._server = server
        return port

    async def stop(self, grace: float) -> None:
        """Accept nothing new and wait ``grace`` seconds for what is under way."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace)

    def _export(
        self, handler: Handler, response: Callable[[Rejected | None], bytes]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        async def export(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            try:
                rejected = handler(request)
            except DecodeError as error:
                self.requests.invalid += 1
                self._faults.report("receiver", "a request that is no OTLP, refused")
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            except Exception as error:  # noqa: BLE001 - the one boundary: the sender must learn that it failed
                self.requests.failed += 1
                self._faults.report("receiver", error)
                await context.abort(grpc.StatusCode.INTERNAL, "the request could not be taken in")
            self.requests.accepted += 1
            return response(rejected)

        return grpc.unary_unary_rpc_method_handler(export)


class _Methods(grpc.GenericRpcHandler):
    def __init__(self, handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return self._handlers.get(handler_call_details.method)


def _trace_response(rejected: Rejected | None) -> bytes:
    response = ExportTraceServiceResponse()
    if rejected is not None:
        response.partial_success.rejected_spans = rejected.count
        response.partial_success.error_message = rejected.reason
    return response.SerializeToString()


def _metrics_response(rejected: Rejected | None) -> bytes:
    response = ExportMetricsServiceResponse()
    if rejected is not None:
        response.partial_success.rejected_data_points = rejected.count
        response.partial_success.error_message = rejected.reason
    return response.SerializeToString()
