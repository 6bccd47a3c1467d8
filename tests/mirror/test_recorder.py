"""Recorded calls become finished spans, the spans of one exchange at a time."""

from __future__ import annotations

from dataclasses import replace

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from support.experiments import CONVERSE, experiment, target
from support.records import TRACE, Seen, record, wall
from support.wire import last_delta, request, response

from shadowmesh.mirror.recorder import Recorder
from shadowmesh.policy.live_gate import Admission
from shadowmesh.rpc import Arity
from shadowmesh.telemetry.export import Receipt
from shadowmesh.testing import leg_of

UNARY = Seen([response("four")], at=[90])


class Sink:
    """Keeps the spans of each exchange together, or has no room."""

    def __init__(self, *, full: bool = False) -> None:
        self.submitted: list[tuple[ReadableSpan, ...]] = []
        self.receipts: list[Receipt] = []
        self._full = full

    def submit(self, spans: tuple[ReadableSpan, ...], receipt: Receipt) -> bool:
        self.submitted.append(spans)
        self.receipts.append(receipt)
        return not self._full


def recorder(sink: Sink) -> Recorder:
    return Recorder(sink, Resource({"service.name": "s"}))


def test_a_call_is_one_hand_over_of_the_inbound_span_the_live_leg_and_every_shadow_leg() -> None:
    sink = Sink()
    call = record([request()], UNARY, UNARY, UNARY, admissions=(Admission("a", 1.0), Admission("b", 1.0)))
    assert recorder(sink).record(call) == 1
    ((inbound, live, *shadows),) = sink.submitted
    assert [span.kind for span in (inbound, live, *shadows)] == [
        SpanKind.SERVER,
        SpanKind.INTERNAL,
        SpanKind.CLIENT,
        SpanKind.CLIENT,
    ]
    assert (inbound.start_time, inbound.end_time) == (wall(0), wall(100))
    assert {span.context.trace_id for span in (inbound, live, *shadows)} == {1 << 100}
    for span in (live, *shadows):
        assert span.parent is not None
        assert span.parent.span_id == inbound.context.span_id == 11
    assert [[link.context.span_id for link in span.links] for span in (live, *shadows)] == [[], [21], [21]]
    legs = [leg_of(span) for span in (live, *shadows)]
    assert [leg.target for leg in legs if leg is not None] == ["", "a", "b"]


def test_where_another_instrumentation_made_the_inbound_span_we_make_none() -> None:
    sink = Sink()
    theirs = replace(TRACE, inbound_is_ours=False, flags=0, state="vendor=1")
    recorder(sink).record(record([request()], UNARY, UNARY, trace=theirs))
    ((live, shadow),) = sink.submitted
    for span in (live, shadow):
        assert span.context.trace_flags == 0, "the caller's flag; recorded all the same"
        assert span.context.trace_state.to_header() == "vendor=1"


def test_every_exchange_of_a_call_is_handed_over_by_itself_and_the_inbound_span_once() -> None:
    sink = Sink()
    seen = Seen([last_delta("1", "a"), last_delta("1", "b"), last_delta("1", "c")], at=[1, 2, 3], asked=[0, 0, 0])
    ids = ("a", "b", "c")
    call = record([request(one) for one in ids], seen, seen, method=CONVERSE, arity=Arity.STREAM_STREAM)
    assert recorder(sink).record(call) == 3
    assert [len(spans) for spans in sink.submitted] == [3, 2, 2]
    every = [span.context.span_id for spans in sink.submitted for span in spans]
    assert len(set(every)) == len(every)
    for spans in sink.submitted:
        live, shadow = spans[-2:]
        assert live.context.span_id == shadow.links[0].context.span_id


def test_a_sink_without_room_changes_nothing_for_the_caller() -> None:
    sink = Sink(full=True)
    assert recorder(sink).record(record([request()], UNARY, UNARY)) == 1


def test_digests_can_be_compared_within_one_recorder_only() -> None:
    settings = experiment(target(), output_digest=True)
    digests = []
    for _ in range(2):
        sink = Sink()
        recorder(sink).record(record([request()], UNARY, UNARY, settings=settings))
        legs = [leg for span in sink.submitted[0] if (leg := leg_of(span)) is not None]
        assert legs[0].output_digest == legs[1].output_digest is not None
        digests.append(legs[0].output_digest)
    assert digests[0] != digests[1]
