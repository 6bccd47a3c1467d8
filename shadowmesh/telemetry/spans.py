"""
Finished spans, made from recorded facts.

A span here is never open: it is built complete when its exchange is, so it ends exactly once whatever happened to
the call. The exporters of the SDK take ``ReadableSpan``; we build those and need no tracer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from shadowmesh import names
from shadowmesh.model import Leg, TraceContext
from shadowmesh.telemetry.attributes import Value, error_type, to_attributes

INTERCEPTOR_SCOPE = InstrumentationScope(names.SCOPE_INTERCEPTOR, schema_url=names.SCHEMA_URL)
# The statuses that make a SERVER span an error: rpc conventions 1.41.1, docs/rpc/grpc.md.
_SERVER_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


_FLAGS = tuple(map(TraceFlags, range(256)))
_UNSET, _ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)


def span_context(trace_id: int, span_id: int, *, flags: int = 1, state: str = "") -> SpanContext:
    """Return the context of a span of ours, or of one we only know by its ids."""
    trace_state = TraceState.from_header([state]) if state else None
    trace_flags = _FLAGS[flags] if flags < len(_FLAGS) else TraceFlags(flags)
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=trace_flags, trace_state=trace_state)


def finished_span(
    *,
    name: str,
    kind: SpanKind,
    context: SpanContext,
    parent_span_id: int,
    started_ns: int,
    ended_ns: int,
    attributes: dict[str, Value],
    resource: Resource,
    scope: InstrumentationScope,
    links: Sequence[Link] = (),
    error: bool = False,
    remote_parent: bool = False,
) -> ReadableSpan:
    """Return a span that has ended; ``parent_span_id`` 0 makes a root, times are wall-clock nanoseconds."""
    parent = (
        SpanContext(context.trace_id, parent_span_id, is_remote=remote_parent, trace_flags=context.trace_flags)
        if parent_span_id
        else None
    )
    return ReadableSpan(
        name=name,
        context=context,
        parent=parent,
        resource=resource,
        attributes=attributes,
        links=tuple(links),
        kind=kind,
        status=_ERROR if error else _UNSET,
        start_time=started_ns,
        end_time=max(ended_ns, started_ns),
        instrumentation_scope=scope,
    )


def leg_span(
    leg: Leg,
    *,
    resource: Resource,
    links: Sequence[Link] = (),
    flags: int = 1,
    trace_state: str = "",
    more: Mapping[str, Value] | None = None,
) -> ReadableSpan:
    """
    Return the span of one leg: INTERNAL for the live leg of a server's own process, CLIENT for a shadow.

    Args:
        more: attributes beside those of the leg.
    """
    attributes = to_attributes(leg)
    if more:
        attributes |= more
    return finished_span(
        name=leg_name(leg),
        kind=SpanKind.INTERNAL if leg.role == names.Role.LIVE else SpanKind.CLIENT,
        context=span_context(leg.trace_id, leg.span_id, flags=flags, state=trace_state),
        parent_span_id=leg.parent_span_id,
        started_ns=leg.started_ns,
        ended_ns=leg.ended_ns,
        attributes=attributes,
        resource=resource,
        scope=INTERCEPTOR_SCOPE,
        links=links,
        error=error_type(leg) is not None,
    )


def leg_name(leg: Leg) -> str:
    """Return ``{operation} {model}`` for a generate call, the method for every other; alike for both roles."""
    operation, model = leg.fields.operation, leg.fields.request_model
    return f"{operation} {model}" if operation and model else operation or leg.method


def inbound_span(
    trace: TraceContext, *, method: str, started_ns: int, ended_ns: int, status: str | None, resource: Resource
) -> ReadableSpan:
    """Return the SERVER span of a call that no other instrumentation made one for; ``rpc.*`` attributes only."""
    attributes: dict[str, Value] = {names.RPC_SYSTEM_NAME: "grpc", names.RPC_METHOD: method}
    if status is not None:
        attributes[names.RPC_RESPONSE_STATUS_CODE] = status
    error = status in _SERVER_ERRORS
    if error and status is not None:
        attributes[names.ERROR_TYPE] = status
    return finished_span(
        name=method,
        kind=SpanKind.SERVER,
        context=span_context(trace.trace_id, trace.inbound_span_id, flags=trace.flags, state=trace.state),
        parent_span_id=trace.remote_span_id,
        started_ns=started_ns,
        ended_ns=ended_ns,
        attributes=attributes,
        resource=resource,
        scope=INTERCEPTOR_SCOPE,
        error=error,
        remote_parent=True,
    )
