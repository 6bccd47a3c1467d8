"""Recorded calls become finished spans, the spans of one exchange at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from support.experiments import CONVERSE, STREAM_GENERATE, experiment, target
from support.parsing import Counted
from support.records import TRACE, Seen, record, wall
from support.wire import delta, last_delta, request, response

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.recorder import Recorder
from shadowmesh.model import Leg
from shadowmesh.names import CallEnd
from shadowmesh.policy.plan import Admission
from shadowmesh.protocols.rewrite import Rewrite
from shadowmesh.rpc import Arity
from shadowmesh.schema import messages
from shadowmesh.telemetry.content import ContentEvent
from shadowmesh.telemetry.export import Receipt
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import leg_of

UNARY = Seen([response("four")], at=[90])


class Sink:
    """Keeps the spans of each exchange together, or has no room."""

    def __init__(self, *, full: bool = False) -> None:
        self.submitted: list[tuple[ReadableSpan, ...]] = []
        self.receipts: list[Receipt] = []
        self.events: list[tuple[ContentEvent, ...]] = []
        self.content_bytes: list[int] = []
        self._full = full

    def submit(
        self,
        spans: tuple[ReadableSpan, ...],
        receipt: Receipt,
        *,
        events: Sequence[ContentEvent] = (),
        content_bytes: int = 0,
    ) -> bool:
        self.submitted.append(spans)
        self.receipts.append(receipt)
        self.events.append(tuple(events))
        self.content_bytes.append(content_bytes)
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


def conversation() -> CallRecord:
    """Return a call of three exchanges."""
    seen = Seen([last_delta("1", "a"), last_delta("1", "b"), last_delta("1", "c")], at=[1, 2, 3], asked=[0, 0, 0])
    return record([request(one) for one in "abc"], seen, seen, method=CONVERSE, arity=Arity.STREAM_STREAM)


def test_every_exchange_of_a_call_is_handed_over_by_itself_and_the_inbound_span_once() -> None:
    sink = Sink()
    assert recorder(sink).record(conversation()) == 3
    assert sink.receipts == [Receipt(1, "summaries", ("candidate",))] * 3
    assert [len(spans) for spans in sink.submitted] == [3, 2, 2]
    every = [span.context.span_id for spans in sink.submitted for span in spans]
    assert len(set(every)) == len(every)
    for spans in sink.submitted:
        live, shadow = spans[-2:]
        assert live.context.span_id == shadow.links[0].context.span_id


def test_of_a_call_that_cannot_be_recorded_whole_nothing_is_handed_over() -> None:
    charged: list[int] = []

    def charge(call: int, _leg: Leg) -> None:
        charged.append(call)
        if len(charged) == 3:
            raise RuntimeError("the third exchange")

    sink = Sink()
    with pytest.raises(RuntimeError):
        Recorder(sink, Resource({"service.name": "s"}), charge=charge).record(conversation())
    assert (charged, sink.submitted) == ([1, 1, 1], []), "its loss is counted, once"


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


# --- captured text --------------------------------------------------------------------------------------------

ASKED = request(prompt="Was ist 2 + 2?", model="m")
ANSWERED = Seen([response("vier", finish_reason=messages.FINISH_REASON_STOP)], at=[90], more={"sent": 1})
INPUT = [{"role": "user", "parts": [{"type": "text", "content": "Was ist 2 + 2?"}]}]


def output(text: str, reason: str = "stop") -> list[dict[str, Any]]:
    return [{"role": "assistant", "finish_reason": reason, "parts": [{"type": "text", "content": text}]}]


def captured(content: str, live: Seen = ANSWERED, shadow: Seen = ANSWERED, **changes: Any) -> Sink:
    sink = Sink()
    settings = experiment(target(), content=content, **changes.pop("limits", {}))
    call = record([ASKED], live, shadow, settings=settings, **changes)
    assert recorder(sink).record(call) >= 1
    return sink


def test_nothing_of_any_text_is_handed_over_where_nobody_asked_for_it() -> None:
    sink = captured("off")
    assert (sink.events, sink.content_bytes) == ([()], [0])
    assert not any("vier" in span.to_json() or "2 + 2" in span.to_json() for span in sink.submitted[0])


def test_every_leg_is_an_event_with_its_text_in_the_context_of_its_span() -> None:
    sink = captured("events", shadow=Seen([response("4")], at=[95], status="OK", more={"sent": 1}), trace=TRACE)
    ((_, *spans),), (events,) = sink.submitted, sink.events
    for span, event in zip(spans, events, strict=True):
        assert (event.trace_id, event.span_id) == (span.context.trace_id, span.context.span_id)
        assert (event.flags, event.at_ns, event.resource) == (1, span.end_time, span.resource)
    live, shadow = (event.attributes for event in events)
    common = {
        "shadowmesh.pair.id": f"{0xABC:032x}",
        "shadowmesh.experiment.name": "summaries",
        "shadowmesh.stream.complete": True,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.input.messages": INPUT,
    }
    assert live == common | {"shadowmesh.role": "live", "gen_ai.output.messages": output("vier")}
    assert shadow == common | {
        "shadowmesh.role": "shadow",
        "shadowmesh.target.name": "candidate",
        "gen_ai.output.messages": output("4", "unknown"),
    }
    assert not any("vier" in span.to_json() for span in spans), "not on the spans as well"


def test_on_spans_the_same_text_is_json_and_there_are_no_events() -> None:
    sink = captured("spans")
    ((inbound, *legs),) = sink.submitted
    assert sink.events == [()]
    for span in legs:
        attributes = span.attributes or {}
        assert json.loads(str(attributes["gen_ai.input.messages"])) == INPUT
        assert json.loads(str(attributes["gen_ai.output.messages"])) == output("vier")
        assert "shadowmesh.content.truncated" not in attributes
    assert "gen_ai.input.messages" not in (inbound.attributes or {})


def test_the_bytes_that_are_announced_are_those_of_the_json() -> None:
    for content in ("events", "spans"):
        sink = captured(content)
        each = sum(len(json.dumps(one, ensure_ascii=False, separators=(",", ":"))) for one in (INPUT, output("vier")))
        assert abs(sink.content_bytes[0] - 2 * each) < 32


@pytest.mark.parametrize("content", ["events", "spans"])
def test_a_text_over_the_limit_is_cut_and_said_to_be(content: str) -> None:
    long = Seen([response("ü" * 5000)], at=[90], more={"sent": 1})
    sink = captured(content, live=long, limits={"content_limit": "1KiB"})
    live: Any = sink.events[0][0].attributes if content == "events" else sink.submitted[0][1].attributes
    said = live["gen_ai.output.messages"]
    whole = json.loads(said) if content == "spans" else said
    assert len(json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()) <= 1024
    assert set(whole[0]["parts"][0]["content"]) == {"ü"}
    assert live["shadowmesh.content.truncated"] == ("gen_ai.output.messages",)
    assert sink.content_bytes[0] < 2 * 3 * 1024


def test_an_answer_that_nobody_kept_is_said_to_be_cut_whole() -> None:
    blind = Seen([response("x")], at=[90], captured=False)
    ((live, _),) = captured("events", live=blind).events
    assert "gen_ai.output.messages" not in live.attributes
    assert live.attributes["shadowmesh.content.truncated"] == ("gen_ai.output.messages",)


@pytest.mark.parametrize("shared", [True, False])
def test_whatever_is_read_of_a_leg_its_messages_are_parsed_once(shared: bool) -> None:
    answers = [delta("a"), last_delta("b")]
    settings = experiment(target(), content="events", output_digest=True, sampling={"by": {"field": "model"}})
    seen = Seen(answers, at=[1, 2], more={"sent": 1})
    call = record([request(model="m", prompt="q")], seen, seen, settings=settings, method=STREAM_GENERATE)
    assert call.method_map is not None
    counted = Counted(call.method_map)
    asked = [*call.requests]
    if not shared:
        rewrite = Rewrite(call.method_map, values={"model": "n"})
        call.rewrites["candidate"] = rewrite
        asked.append(rewrite(call.requests[0]))
    call.method_map = counted.as_map
    recorder(Sink()).record(call)
    assert sorted(counted.parsed) == sorted([*asked, *answers, *answers])


def test_a_failed_leg_has_what_it_was_asked_and_a_shed_one_has_no_event() -> None:
    failed = Seen(status="UNAVAILABLE", more={"sent": 1})
    ((_, shadow),) = captured("events", shadow=failed).events
    assert shadow.attributes["error.type"] == "UNAVAILABLE"
    assert shadow.attributes["gen_ai.input.messages"] == INPUT
    assert "gen_ai.output.messages" not in shadow.attributes
    shed = Seen(status="", how=CallEnd.SHED, captured=False)
    (only,) = captured("events", shadow=shed).events
    assert [event.attributes["shadowmesh.role"] for event in only] == ["live"]


def test_every_exchange_of_a_call_has_events_of_its_own() -> None:
    sink = Sink()
    settings = experiment(target(), content="events")
    seen = Seen([last_delta("1", "a"), last_delta("2", "b")], at=[1, 2], asked=[0, 0], more={"sent": 2})
    requests = [request(one, prompt=one) for one in "ab"]
    recorder(sink).record(record(requests, seen, seen, settings=settings, method=CONVERSE, arity=Arity.STREAM_STREAM))
    said = [
        (event.attributes["shadowmesh.exchange.index"], event.attributes["gen_ai.output.messages"][0]["parts"])
        for events in sink.events
        for event in events
    ]
    assert said == [(index, [{"type": "text", "content": text}]) for index, text in enumerate("12") for _ in range(2)]


@pytest.mark.parametrize("content", ["events", "spans"])
def test_a_method_without_a_map_has_no_text(content: str) -> None:
    sink = captured(content, method="/acme.Model/Generate")
    assert (sink.events, sink.content_bytes) == ([()], [0])
    assert not any("gen_ai.input.messages" in (span.attributes or {}) for span in sink.submitted[0])


@pytest.mark.parametrize("content", ["events", "spans"])
def test_text_that_cannot_be_read_costs_no_pair(content: str) -> None:
    faults = Faults()
    sink = Sink()
    call = record([ASKED], ANSWERED, ANSWERED, settings=experiment(target(), content=content))
    assert call.method_map is not None
    original = call.method_map

    class Broken:
        """A map whose answers have fields and no text."""

        def __getattr__(self, name: str) -> Any:
            if name == "tool_calls":
                raise RuntimeError("broken")
            return getattr(original, name)

    call.method_map = Broken()  # type: ignore[assignment]  # passes on all but what it breaks
    Recorder(sink, Resource({}), faults=faults).record(call)
    assert len(sink.submitted[0]) == 3
    assert faults.totals() == {"content: RuntimeError": 1}
