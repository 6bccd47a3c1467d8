"""Finished calls → finished spans, a pair at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.captured import texts
from shadowmesh.mirror.legs import ExchangeLegs, assemble
from shadowmesh.model import Leg
from shadowmesh.names import Role
from shadowmesh.policy.experiment import Content
from shadowmesh.protocols.content import TextOf
from shadowmesh.rpc import span_method
from shadowmesh.telemetry.attributes import Value
from shadowmesh.telemetry.content import ContentEvent, content_attributes, content_event
from shadowmesh.telemetry.export import Receipt
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.propagation import new_span_id
from shadowmesh.telemetry.spans import inbound_span, leg_span, span_context


class PairSink(Protocol):
    """Takes the spans of one exchange, all or none, without waiting."""

    def submit(
        self,
        spans: tuple[ReadableSpan, ...],
        receipt: Receipt,
        *,
        events: Sequence[ContentEvent] = (),
        content_bytes: int = 0,
    ) -> bool:
        """Take one exchange, or say no; ``content_bytes`` are those of the text in ``events`` or on the spans."""
        ...


class _Text(NamedTuple):
    """The text of one exchange: as attributes of each of its legs, or as events."""

    attributes: tuple[dict[str, Value], ...] = ()
    events: tuple[ContentEvent, ...] = ()
    size: int = 0


_NO_TEXT = _Text()


class Recorder:
    """Turns what the engine saw into spans and hands them on; ``charge`` hears of every shadow leg, by call."""

    def __init__(
        self,
        sink: PairSink,
        resource: Resource,
        *,
        charge: Callable[[int, Leg], None] | None = None,
        faults: Faults | None = None,
        tokenizers: Mapping[str, TextOf] | None = None,
    ) -> None:
        self._sink = sink
        self._tokenizers = tokenizers or {}
        self._charge = charge
        self._faults = faults or Faults()
        self._resource = resource
        # Made here and kept nowhere: digests can be compared within this process's pairs and guessed by nobody.
        self._digest_key = os.urandom(32)

    def record(self, record: CallRecord) -> int:
        """Submit every exchange of a call, or raise and submit none; return how many there were."""
        begin, charge = record.begin, self._charge
        receipt = Receipt(begin.call, begin.experiment, tuple(target for target, _, _ in begin.admissions))
        exchanges = assemble(
            record, new_span_id=new_span_id, digest_key=self._digest_key, stray=partial(self._stray, begin.experiment)
        )
        made: list[tuple[tuple[ReadableSpan, ...], _Text]] = []
        for index, exchange in enumerate(exchanges):
            if charge is not None:
                for shadow in exchange.shadows:
                    charge(begin.call, shadow)
            text = self._text(record, exchange) if exchange.messages else _NO_TEXT
            spans = self._spans(record, exchange, text.attributes)
            if index == 0 and record.trace.inbound_is_ours:
                spans.insert(0, self._inbound(record))
            made.append((tuple(spans), text))
        for pair, text in made:
            self._sink.submit(pair, receipt, events=text.events, content_bytes=text.size)
        return len(made)

    def _stray(self, experiment: str, target: str, count: int) -> None:
        place = f"{experiment}/{target or Role.LIVE}"
        self._faults.report(place, "errors on a stream that name none of the requests that waited", count)

    def _text(self, record: CallRecord, exchange: ExchangeLegs) -> _Text:
        try:
            found = texts(record, exchange, self._tokenizers)
            size = sum(text.size for text in found)
            if record.experiment.content is Content.SPANS:
                return _Text(tuple(map(content_attributes, found)), size=size)
            flags = record.trace.flags
            made = (
                content_event(leg, text, resource=self._resource, flags=flags)
                for leg, text in zip((exchange.live, *exchange.shadows), found, strict=False)
            )
            return _Text(events=tuple(event for event in made if event is not None), size=size)
        except Exception as error:
            # No text is worth a pair.
            self._faults.report("content", error)
            return _NO_TEXT

    def _spans(
        self, record: CallRecord, exchange: ExchangeLegs, attributes: Sequence[dict[str, Value]]
    ) -> list[ReadableSpan]:
        live, trace = exchange.live, record.trace
        link = Link(span_context(live.trace_id, live.span_id, flags=trace.flags, state=trace.state))
        return [
            leg_span(
                leg,
                resource=self._resource,
                links=(link,) if number else (),
                flags=trace.flags,
                trace_state=trace.state,
                more=attributes[number] if attributes else None,
            )
            for number, leg in enumerate((live, *exchange.shadows))
        ]

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
