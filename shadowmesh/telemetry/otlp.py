"""
The SDK's OTLP/gRPC exporter with an encoder for the spans we make.

Connection, headers, TLS, compression, retries and the end are the SDK's. Its encoder builds every attribute anew and
hashes the resource once per span, about 80 µs a span that the live server's process pays; most of what our spans say
is the same in the next one, so here it is encoded once and appended as bytes. Should a later SDK no longer ask
``_translate_data``, spans go out as the SDK encodes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from shadowmesh import names
from shadowmesh.telemetry.attributes import Value
from shadowmesh.telemetry.content import CONTENT_KEYS

# Different on every span, or nearly: kept, they would only push out what repeats.
_PASSING = frozenset({*CONTENT_KEYS, names.PAIR_ID,
                      names.GEN_AI_RESPONSE_ID, names.OUTPUT_DIGEST, names.MIRROR_QUEUE_TIME,
                      names.CALL_CONCURRENCY, names.STREAM_WRITE_STALL, names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
                      names.STREAM_CHUNK_GAP_P50, names.STREAM_CHUNK_GAP_P95, names.STREAM_CHUNK_GAP_MAX})  # fmt: skip
_MOST_KEPT = 4096
_STATUSES = {StatusCode.UNSET: Status.STATUS_CODE_UNSET, StatusCode.ERROR: Status.STATUS_CODE_ERROR}
_KNOWN: int = int(SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
_REMOTE: int = int(SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
_KINDS = {
    SpanKind.INTERNAL: Span.SPAN_KIND_INTERNAL,
    SpanKind.SERVER: Span.SPAN_KIND_SERVER,
    SpanKind.CLIENT: Span.SPAN_KIND_CLIENT,
}


class PairSpanExporter(OTLPSpanExporter):
    """
    Exports the spans of ``spans.py``, all of one resource and one scope, and no others.

    Args:
        passing: attributes that differ on nearly every span, beside those of legs.
    """

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        insecure: bool | None = None,
        headers: Sequence[tuple[str, str]] | None = None,
        passing: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(endpoint=endpoint, insecure=insecure, headers=headers)
        self._passing = _PASSING | passing
        # An attribute of ours has one type: no 1 is taken for True or for 1.0.
        self._kept: dict[tuple[str, Value], bytes] = {}

    def _translate_data(self, data: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
        request = encode_spans(data[:1])
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                del scope.spans[:]
                for span in data:
                    self._encode(span, scope.spans.add())
        return request

    def _encode(self, span: ReadableSpan, into: Span) -> None:
        context, parent, kept, passing = span.context, span.parent, self._kept, self._passing
        known = []
        attributes: Mapping[str, Any] = span.attributes or {}
        for key, value in attributes.items():
            if key in passing:
                _write(into.attributes.add(key=key).value, value)
                continue
            encoded = kept.get((key, value))
            if encoded is None:
                if len(kept) >= _MOST_KEPT:
                    kept.clear()
                encoded = kept[key, value] = _alone(key, value)
            known.append(encoded)
        # Messages one after the other in one string are their merger: every attribute is appended.
        into.MergeFromString(b"".join(known))
        into.trace_id = context.trace_id.to_bytes(16, "big")
        into.span_id = context.span_id.to_bytes(8, "big")
        if context.trace_state:
            into.trace_state = context.trace_state.to_header()
        if parent is not None:
            into.parent_span_id = parent.span_id.to_bytes(8, "big")
        into.flags = _flags(remote=parent is not None and parent.is_remote)
        into.name = span.name
        into.kind = _KINDS[span.kind]
        into.start_time_unix_nano = span.start_time or 0
        into.end_time_unix_nano = span.end_time or 0
        into.status.code = _STATUSES[span.status.status_code]
        for link in span.links:
            into.links.add(
                trace_id=link.context.trace_id.to_bytes(16, "big"),
                span_id=link.context.span_id.to_bytes(8, "big"),
                flags=_flags(remote=link.context.is_remote),
            )


def _flags(*, remote: bool) -> int:
    return _KNOWN | _REMOTE if remote else _KNOWN


def _alone(key: str, value: Value) -> bytes:
    """Return the bytes of a span that has this attribute and nothing else."""
    span = Span()
    _write(span.attributes.add(key=key).value, value)
    return span.SerializeToString()


def _write(into: AnyValue, value: Value) -> None:
    if isinstance(value, str):
        into.string_value = value
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, int):
        into.int_value = value
    elif isinstance(value, float):
        into.double_value = value
    else:
        into.array_value.values.extend([AnyValue(string_value=item) for item in value])
