"""Finished calls → finished spans, a pair at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.legs import assemble
from shadowmesh.model import Leg
from shadowmesh.rpc import span_method
from shadowmesh.telemetry.export import Receipt
from shadowmesh.telemetry.propagation import new_span_id
from shadowmesh.telemetry.spans import inbound_span, leg_span, span_context


class PairSink(Protocol):
    """Takes the spans of one exchange, all or none, without waiting."""

    def submit(self, spans: tuple[ReadableSpan, ...], receipt: Receipt) -> bool:
        """Take one exchange, or say no."""
        ...


class Recorder:
    """Turns what the engine saw into spans and hands them on; ``charge`` hears of every shadow leg, by call."""

    def __init__(self, sink: PairSink, resource: Resource, *, charge: Callable[[int, Leg], None] | None = None) -> None:
        self._sink = sink
        self._charge = charge
        self._resource = resource
        # Made here and kept nowhere: digests can be compared within this process's pairs and guessed by nobody.
        self._digest_key = os.urandom(32)

    def record(self, record: CallRecord) -> int:
        """Submit every exchange of a call; return how many there were."""
        trace = record.trace
        begin, charge = record.begin, self._charge
        receipt = Receipt(begin.call, begin.experiment, tuple(target for target, _, _ in begin.admissions))
        exchanges = assemble(record, new_span_id=new_span_id, digest_key=self._digest_key)
        for index, (live, shadows) in enumerate(exchanges):
            if charge is not None:
                for shadow in shadows:
                    charge(begin.call, shadow)
            link = Link(span_context(live.trace_id, live.span_id, flags=trace.flags, state=trace.state))
            spans = [leg_span(live, resource=self._resource, flags=trace.flags, trace_state=trace.state)]
            spans += [
                leg_span(shadow, resource=self._resource, links=(link,), flags=trace.flags, trace_state=trace.state)
                for shadow in shadows
            ]
            if index == 0 and trace.inbound_is_ours:
                spans.insert(0, self._inbound(record))
            last = index == len(exchanges) - 1
            self._sink.submit(tuple(spans), receipt if last else receipt._replace(call=None))
        return len(exchanges)

    def _inbound(self, record: CallRecord) -> ReadableSpan:
        begin, live = record.begin, record.live
        return inbound_span(
            record.trace,
            method=span_method(begin.method),
            started_ns=begin.wall_ns,
            ended_ns=begin.wall_ns + live.ended_ns - begin.at_ns,
            status=live.status or None,
            resource=self._resource,
        )
