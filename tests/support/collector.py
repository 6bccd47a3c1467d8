"""An OTLP receiver that gives spans and events to a sink: how those of a worker process come back into a test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from support.otlp import LOGS, METRICS, TRACES

from shadowmesh.testing import SpanSink


@contextmanager
def collector(sink: SpanSink, logs: Callable[[bytes], object] | None = None) -> Iterator[str]:
    """
    Receive on a free port and yield its address.

    Args:
        logs: takes requests with log records, or raises; a receiver without it knows no such service.
    """

    def export(request: bytes, context: Any) -> bytes:
        sink.export([*spans_in(request)])
        return b""

    def ignore(request: bytes, context: Any) -> bytes:
        return b""

    def take(request: bytes, context: Any) -> bytes:
        if logs is not None:
            logs(request)
        return b""

    handlers = {TRACES: export, METRICS: ignore} | ({LOGS: take} if logs is not None else {})
    server = grpc.server(futures.ThreadPoolExecutor(4), options=(("grpc.so_reuseport", 0),))
    for path, handler in handlers.items():
        _, service, method = path.split("/")
        methods: dict[str, Any] = {method: grpc.unary_unary_rpc_method_handler(handler)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def spans_in(request: bytes) -> Iterator[ReadableSpan]:
    """Yield the spans of an export request as the SDK would have held them."""
    for resource in ExportTraceServiceRequest.FromString(request).resource_spans:
        about = Resource(_attributes(resource.resource.attributes))
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield _span(span, about)


def _span(span: Span, resource: Resource) -> ReadableSpan:
    parent = _context(span.trace_id, span.parent_span_id, span.flags, "") if span.parent_span_id else None
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id, span.flags, span.trace_state),
        parent=parent,
        resource=resource,
        attributes=_attributes(span.attributes),
        links=[Link(_context(link.trace_id, link.span_id, link.flags, link.trace_state)) for link in span.links],
        # OTLP's kinds begin with "unspecified".
        kind=SpanKind(span.kind - 1),
        status=Status(StatusCode(span.status.code), span.status.message or None)
        if span.status.code == StatusCode.ERROR.value
        else Status(StatusCode(span.status.code)),
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
    )


def _context(trace_id: bytes, span_id: bytes, flags: int, state: str) -> SpanContext:
    return SpanContext(
        int.from_bytes(trace_id, "big"),
        int.from_bytes(span_id, "big"),
        is_remote=False,
        trace_flags=TraceFlags(flags & 0xFF),
        trace_state=TraceState.from_header([state]),
    )


def _attributes(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {entry.key: _value(entry.value) for entry in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(item) for item in value.array_value.values)
    return getattr(value, kind) if kind else None
