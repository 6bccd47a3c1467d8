"""Captured text as an event and as attributes, and a span without it."""

from __future__ import annotations

import json

from support.events import RESOURCE, said
from support.legs import live, shadow, usage

from shadowmesh.protocols.content import NOTHING, Said
from shadowmesh.telemetry.content import Text, content_attributes, content_event, without_content
from shadowmesh.telemetry.spans import leg_span

PART = {"type": "text", "content": "Be brief."}
ALL = Text(Said([PART], 10, False), said("Why?"), said("So."))


def test_an_event_has_the_texts_as_they_are_and_whose_they_are() -> None:
    leg = shadow("p7", exchange_index=2, complete=False, status="ABORTED", fields=usage(1, 1, request_model="m"))
    made = content_event(leg, ALL, resource=RESOURCE, flags=1)
    assert made is not None
    assert made.attributes == {
        "shadowmesh.pair.id": "p7",
        "shadowmesh.experiment.name": "summaries",
        "shadowmesh.role": "shadow",
        "shadowmesh.target.name": "candidate",
        "shadowmesh.exchange.index": 2,
        "shadowmesh.stream.complete": False,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "error.type": "ABORTED",
        "gen_ai.system_instructions": [PART],
        "gen_ai.input.messages": said("Why?").items,
        "gen_ai.output.messages": said("So.").items,
    }
    assert (made.trace_id, made.span_id, made.at_ns, made.flags) == (leg.trace_id, leg.span_id, leg.ended_ns, 1)


def test_a_leg_without_text_is_no_event() -> None:
    assert content_event(live(), Text(), resource=RESOURCE, flags=1) is None
    assert content_attributes(Text()) == {}


def test_on_a_span_each_text_is_one_json_string() -> None:
    attributes = content_attributes(ALL)
    assert {name: json.loads(str(value)) for name, value in attributes.items()} == {
        "gen_ai.system_instructions": [PART],
        "gen_ai.input.messages": said("Why?").items,
        "gen_ai.output.messages": said("So.").items,
    }


def test_what_was_cut_is_named() -> None:
    cut = Text(input=said("Wh")._replace(cut=True), output=Said([], 2, True))
    name = "shadowmesh.content.truncated"
    assert content_attributes(cut)[name] == ("gen_ai.input.messages", "gen_ai.output.messages")
    assert content_attributes(Text(input=said("Why?"), lost=True))[name] == ("gen_ai.output.messages",)
    assert content_attributes(Text(NOTHING, said("Why?"))).keys() == {"gen_ai.input.messages"}


def test_a_span_without_its_text_is_the_same_span_and_says_what_it_had() -> None:
    leg = live()
    bare, full = leg_span(leg, resource=RESOURCE), leg_span(leg, resource=RESOURCE, more=content_attributes(ALL))
    slim = without_content(full)
    assert without_content(bare) is bare
    assert dict(slim.attributes or {}) == dict(bare.attributes or {}) | {
        "shadowmesh.content.truncated": (
            "gen_ai.system_instructions",
            "gen_ai.input.messages",
            "gen_ai.output.messages",
        )
    }
    for facts in ("name", "context", "parent", "kind", "status", "links", "start_time", "end_time", "resource"):
        assert getattr(slim, facts) == getattr(bare, facts)
    assert slim.instrumentation_scope == bare.instrumentation_scope
