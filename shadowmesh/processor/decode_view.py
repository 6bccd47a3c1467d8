"""The wire view of OTLP's spans, loaded from the schema."""

from __future__ import annotations

from functools import cache

from shadowmesh.processor.decode import SpanView
from shadowmesh.schema.descriptors import message_class

_PACKAGE = "shadowmesh.views.otlp"


@cache
def otlp_view() -> SpanView:
    """Return the view; ``proto/shadowmesh/views/otlp.proto`` says what is in it."""
    return SpanView(
        request=message_class(f"{_PACKAGE}.ExportTraceServiceRequest").FromString,
        span=message_class(f"{_PACKAGE}.Span").FromString,
        attribute=message_class(f"{_PACKAGE}.KeyValue").FromString,
    )
