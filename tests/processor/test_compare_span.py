"""The compare span: where it hangs, what it says, that a replay makes the same one, and which pairs are worth one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from support.legs import T0, lasting, live, shadow, usage

from shadowmesh.compare.comparison import compare
from shadowmesh.model import ChunkGaps, Comparison, Cost, Leg, Pair
from shadowmesh.processor.compare_span import FIGURES, compare_span, compare_span_id, remarkable
from shadowmesh.processor.settings import CompareThresholdSettings
from shadowmesh.telemetry.otlp import PairSpanExporter


def pair_of(live_leg: Leg, shadow_leg: Leg) -> Pair:
    return Pair(pair_id="p1", target="candidate", live=live_leg, shadow=shadow_leg)


def span_of(live_leg: Leg, shadow_leg: Leg) -> ReadableSpan:
    comparison = compare(pair_of(live_leg, shadow_leg))
    return compare_span(live_leg, shadow_leg, comparison, Resource({"service.name": "p"}))


def dollars(amount: float) -> Cost:
    return Cost(amount=amount, currency="USD", source="collector", pricing_version="v1")


def test_it_goes_out_as_the_sdk_encodes_it_and_its_figures_are_not_kept() -> None:
    fields = usage(10, 5, request_model="m")
    spans = [
        span_of(
            live(f"p{number}", **lasting(0.5), time_to_first_chunk=0.25, cost=dollars(number), fields=fields),
            shadow(f"p{number}", **lasting(number), time_to_first_chunk=0.125, cost=dollars(0.25), fields=fields),
        )
        for number in range(1, 9)
    ]
    exporter = PairSpanExporter(endpoint="http://127.0.0.1:1", insecure=True, passing=FIGURES)
    try:
        one, same = exporter._translate_data(spans), encode_spans(spans)
    finally:
        exporter.shutdown()
    for request in (one, same):
        for span in request.resource_spans[0].scope_spans[0].spans:
            span.attributes.sort(key=lambda attribute: attribute.key)
    assert one == same
    assert {key for key, _ in exporter._kept}.isdisjoint({"shadowmesh.pair.id", *FIGURES})
    assert len(exporter._kept) == len({key for key, _ in exporter._kept})


def test_it_is_a_child_of_the_shadow_with_links_to_both_at_the_end_of_the_later_leg() -> None:
    legs = live(**lasting(0.5)), shadow(**lasting(0.25), trace_id=99)
    span = span_of(*legs)
    assert (span.name, span.kind) == ("shadowmesh.compare", SpanKind.INTERNAL)
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id, span.context.trace_id) == (99, legs[1].span_id, 99)
    assert [(link.context.trace_id, link.context.span_id) for link in span.links] == [
        (leg.trace_id, leg.span_id) for leg in legs
    ]
    assert (span.start_time, span.end_time) == (T0 + 500_000_000, T0 + 500_000_001)
    assert span.resource.attributes["service.name"] == "p"
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "shadowmesh.processor"


def test_it_says_all_changes_and_checks_with_their_types() -> None:
    span = span_of(
        live(
            **lasting(0.5),
            time_to_first_chunk=0.25,
            chunk_gaps=ChunkGaps(p50=0.01, p95=0.25, max=0.5),
            stall_count=0,
            output_digest="a",
            cost=dollars(0.5),
            fields=usage(10, 5, finish_reasons=("stop",)),
        ),
        shadow(
            **lasting(1.0),
            time_to_first_chunk=0.125,
            chunk_gaps=ChunkGaps(p50=0.01, p95=0.125, max=1.0),
            stall_count=2,
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
        "shadowmesh.pair.time_per_output_token.delta": 0.0625,
        "shadowmesh.pair.time_per_output_token.ratio": 2.0,
        "shadowmesh.pair.output_rate.delta": 8 / 0.875 - 5 / 0.25,
        "shadowmesh.pair.output_rate.ratio": 8 / 0.875 / (5 / 0.25),
        "shadowmesh.pair.chunk_gap.p95.delta": -0.125,
        "shadowmesh.pair.chunk_gap.p95.ratio": 0.5,
        "shadowmesh.pair.chunk_gap.max.delta": 0.5,
        "shadowmesh.pair.chunk_gap.max.ratio": 2.0,
        "shadowmesh.pair.stall_count.delta": 2,
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
    assert kinds["shadowmesh.pair.stall_count.delta"] is int
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


# --- which pairs are worth one --------------------------------------------------------------------------------

DEFAULT = CompareThresholdSettings()
ALIKE: dict[str, Any] = {
    **lasting(1.0),
    "time_to_first_chunk": 0.1,
    "output_digest": "a",
    "cost": dollars(0.01),
    "fields": usage(100, 100, finish_reasons=("stop",)),
}


def is_remarkable(shadow_leg: dict[str, Any], live_leg: dict[str, Any] | None = None, **threshold: Any) -> bool:
    pair = pair_of(live(**ALIKE | (live_leg or {})), shadow(**ALIKE | shadow_leg))
    return remarkable(compare(pair), CompareThresholdSettings(**threshold))


def test_a_pair_whose_legs_are_alike_is_not_worth_a_span() -> None:
    assert not is_remarkable({})
    assert not is_remarkable(lasting(1.4))
    assert not is_remarkable({"fields": usage(100, 70, finish_reasons=("stop",))})


@pytest.mark.parametrize(
    "shadow_leg",
    [
        {"status": "INTERNAL"},
        {"output_digest": "b"},
        {"fields": usage(100, 100, finish_reasons=("length",))},
        {"status": None},
        {"end": "cut", "complete": False},
        lasting(1.6),
        lasting(0.6),
        {"time_to_first_chunk": 0.16},
        {"time_to_first_chunk": 0.06},
        {"fields": usage(100, 151, finish_reasons=("stop",))},
        {"fields": usage(66, 100, finish_reasons=("stop",))},
        {"fields": usage(100, 0, finish_reasons=("stop",))},
        {"cost": dollars(0.016)},
        {"cost": dollars(0.0)},
    ],
    ids=repr,
)
def test_a_pair_in_which_something_differs_is_worth_a_span(shadow_leg: dict[str, Any]) -> None:
    assert is_remarkable(shadow_leg)


def test_what_one_leg_does_not_say_is_no_difference() -> None:
    silent = {"time_to_first_chunk": None, "output_digest": None, "cost": None, "fields": usage(None, None)}
    assert not is_remarkable(silent)


def test_times_that_differ_by_less_than_the_least_are_alike_whatever_their_ratio() -> None:
    short = {**lasting(0.002), "time_to_first_chunk": 0.001}
    assert not is_remarkable({**lasting(0.009), "time_to_first_chunk": 0.008}, short)
    assert is_remarkable({**lasting(0.009), "time_to_first_chunk": 0.008}, short, least_time="5ms")


def test_each_limit_is_the_settings() -> None:
    far = {**lasting(3.0), "time_to_first_chunk": 0.3, "cost": dollars(0.03), "fields": usage(300, 300)}
    assert not is_remarkable(far, duration=4.0, time_to_first_chunk=4.0, tokens=4.0, cost=4.0)
    for name in ("duration", "time_to_first_chunk", "tokens", "cost"):
        wide: dict[str, Any] = dict.fromkeys(("duration", "time_to_first_chunk", "tokens", "cost"), 4.0) | {name: 2.0}
        assert is_remarkable(far, **wide)


@pytest.mark.parametrize("outcome", ["not_comparable", "evicted"])
def test_a_pair_that_came_to_no_comparison_is_worth_a_span(outcome: str) -> None:
    assert remarkable(Comparison(outcome=outcome), DEFAULT)
