"""The compare span: where it hangs, what it says, and that a replay makes the same one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from support.legs import T0, lasting, live, shadow, usage

from shadowmesh.compare.comparison import compare
from shadowmesh.model import Cost, Leg, Pair
from shadowmesh.processor.compare_span import compare_span, compare_span_id


def span_of(live_leg: Leg, shadow_leg: Leg) -> ReadableSpan:
    pair = Pair(pair_id="p1", target="candidate", live=live_leg, shadow=shadow_leg)
    return compare_span(live_leg, shadow_leg, compare(pair), Resource({"service.name": "p"}))


def dollars(amount: float) -> Cost:
    return Cost(amount=amount, currency="USD", source="collector", pricing_version="v1")


def test_it_is_a_child_of_the_shadow_with_links_to_both_at_the_end_of_the_later_leg() -> None:
    legs = live(**lasting(0.5)), shadow(**lasting(0.25), trace_id=99)
    span = span_of(*legs)
    assert (span.name, span.kind) == ("shadowmesh.compare", SpanKind.INTERNAL)
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id, span.context.trace_id) == (99, legs[1].span_id, 99)
    assert [(link.context.trace_id, link.context.span_id) for link in span.links] == [
        (leg.trace_id, leg.span_id) for leg in legs
    ]
    assert span.start_time == span.end_time == T0 + 500_000_000
    assert span.resource.attributes["service.name"] == "p"
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "shadowmesh.processor"


def test_it_says_all_changes_and_checks_with_their_types() -> None:
    span = span_of(
        live(
            **lasting(0.5),
            time_to_first_chunk=0.25,
            output_digest="a",
            cost=dollars(0.5),
            fields=usage(10, 5, finish_reasons=("stop",)),
        ),
        shadow(
            **lasting(1.0),
            time_to_first_chunk=0.125,
            output_digest="b",
            cost=dollars(0.25),
            fields=usage(10, 8, finish_reasons=("stop",)),
        ),
    )
    assert dict(span.attributes or {}) == {
        "shadowmesh.pair.id": "p1",
        "shadowmesh.experiment.name": "summaries",
        "shadowmesh.target.name": "candidate",
        "shadowmesh.pair.outcome": "matched",
        "shadowmesh.pair.duration.delta": 0.5,
        "shadowmesh.pair.duration.ratio": 2.0,
        "shadowmesh.pair.time_to_first_chunk.delta": -0.125,
        "shadowmesh.pair.time_to_first_chunk.ratio": 0.5,
        "shadowmesh.pair.input_tokens.delta": 0,
        "shadowmesh.pair.input_tokens.ratio": 1.0,
        "shadowmesh.pair.output_tokens.delta": 3,
        "shadowmesh.pair.output_tokens.ratio": 1.6,
        "shadowmesh.pair.cost.delta": -0.25,
        "shadowmesh.pair.cost.ratio": 0.5,
        "shadowmesh.cost.amount": 0.25,
        "shadowmesh.cost.currency": "USD",
        "shadowmesh.cost.source": "collector",
        "shadowmesh.cost.pricing_version": "v1",
        "shadowmesh.match.status_code": True,
        "shadowmesh.match.finish_reason": True,
        "shadowmesh.match.output": False,
    }
    kinds = {name: type(value) for name, value in (span.attributes or {}).items()}
    assert kinds["shadowmesh.pair.output_tokens.delta"] is int
    assert kinds["shadowmesh.pair.outcome"] is str


def test_what_cannot_be_compared_is_left_out() -> None:
    span = span_of(live(fields=usage(0, 5)), shadow(end="shed", status=None))
    assert dict(span.attributes or {}) == {
        "shadowmesh.pair.id": "p1",
        "shadowmesh.experiment.name": "summaries",
        "shadowmesh.target.name": "candidate",
        "shadowmesh.pair.outcome": "not_comparable",
    }


@given(st.text(), st.text())
def test_its_id_is_the_same_for_the_same_pair_and_target_and_is_an_id(pair_id: str, target: str) -> None:
    span_id = compare_span_id(pair_id, target)
    assert span_id == compare_span_id(pair_id, target)
    assert 0 < span_id < 2**64
    assert span_id != compare_span_id(pair_id, target + "x")


def test_its_id_never_changes_between_releases() -> None:
    assert f"{compare_span_id('p1', 'candidate'):016x}" == "2117a3e3e139d6a9"
