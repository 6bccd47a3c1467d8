"""The span a live call arrived under, from its metadata or from the instrumentation around it."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import get_current_span

from shadowmesh.mirror.frames import Caller
from shadowmesh.model import Metadata
from shadowmesh.names import META_PREVIOUS_ATTEMPTS, META_TRACEPARENT, META_TRACESTATE
from shadowmesh.telemetry import propagation

_NOBODY = Caller()
_KEYS = frozenset((META_TRACEPARENT, META_TRACESTATE, META_PREVIOUS_ATTEMPTS))


def caller(metadata: Metadata, context: Context) -> Caller:
    """Return who called: the span that was current in ``context``, else the one the metadata names."""
    current = get_current_span(context).get_span_context() if context else None
    header = state = ""
    attempt = 1
    for key, value in metadata:
        if key not in _KEYS or not isinstance(value, str):
            continue
        if key == META_TRACEPARENT:
            header = value
        elif key == META_TRACESTATE:
            state = f"{state},{value}" if state else value
        elif value.isdecimal():
            attempt = 1 + int(value)
    if current is not None and current.is_valid:
        header = propagation.traceparent(current.trace_id, current.span_id, current.trace_flags)
        state = current.trace_state.to_header() if current.trace_state else ""
        return Caller(header, state, instrumented=True, attempt=attempt)
    return Caller(header, state, attempt=attempt) if header or attempt > 1 else _NOBODY
