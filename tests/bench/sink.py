"""An OTLP/gRPC receiver that accepts everything and counts the spans; in the place of a Collector."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
from bench.control import answer_until_told_to_end
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Sink(grpc.GenericRpcHandler):
    """Both signals. Only the spans are parsed: they are what must have arrived."""

    def __init__(self) -> None:
        self.spans = 0
        self.metric_exports = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        traces = "trace" in handler_call_details.method
        return grpc.unary_unary_rpc_method_handler(self._traces if traces else self._metrics)

    async def _traces(self, request: bytes, context: Any) -> bytes:
        for resource in ExportTraceServiceRequest.FromString(request).resource_spans:
            self.spans += sum(len(scope.spans) for scope in resource.scope_spans)
        return ExportTraceServiceResponse().SerializeToString()

    async def _metrics(self, request: bytes, context: Any) -> bytes:
        self.metric_exports += 1
        return ExportMetricsServiceResponse().SerializeToString()


async def serve() -> None:
    """Serve until told to end."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)))
    sink = Sink()
    server.add_generic_rpc_handlers((sink,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await answer_until_told_to_end(lambda _: {"spans": sink.spans, "metric_exports": sink.metric_exports}, port=port)
    await server.stop(0.2)


if __name__ == "__main__":
    asyncio.run(serve())
