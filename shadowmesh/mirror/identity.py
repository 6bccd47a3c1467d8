"""
Who an exchange is: its place in a trace, and the ids its legs and its shadows' requests are known by.

Given on the mirror's side of the boundary, because the live side hands none of them to anybody: the live handler
keeps its own trace context, and only shadows are told.
"""

from __future__ import annotations

import random
import time

from shadowmesh.mirror.frames import Caller
from shadowmesh.model import TraceContext
from shadowmesh.telemetry import propagation


def new_pair_id() -> int:
    """
    Return 128 bits that nobody else has: milliseconds of the wall clock, then 80 random bits.

    What was made at about the same time so stands together in a store's index, where ids that are random all over make
    every pair change a page of its own.
    """
    return time.time_ns() // 1_000_000 << 80 | random.getrandbits(80)


def request_id(pair_id: int, target: str) -> str:
    """
    Return the id that the shadow at ``target`` has at its server, where the protocol has one.

    It is in that server's log with the pair's id, by which the legs are found. No such id begins with another one:
    some servers abort every request whose id begins with the one they are told.
    """
    return f"shadow-{target}-{pair_id:032x}"


def trace_of(caller: Caller) -> TraceContext:
    """Return where the spans of a call hang that arrived under ``caller``; a bad header starts a new trace."""
    span = propagation.parse(caller.traceparent, caller.tracestate) if caller.traceparent else None
    if span is None:
        return TraceContext(
            trace_id=propagation.new_trace_id(),
            inbound_span_id=propagation.new_span_id(),
            remote_span_id=0,
            inbound_is_ours=True,
            flags=propagation.SAMPLED,
        )
    return TraceContext(
        trace_id=span.trace_id,
        inbound_span_id=span.span_id if caller.instrumented else propagation.new_span_id(),
        remote_span_id=0 if caller.instrumented else span.span_id,
        inbound_is_ours=not caller.instrumented,
        flags=span.flags,
        state=span.state,
    )
