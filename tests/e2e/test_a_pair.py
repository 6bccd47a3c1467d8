"""A mirrored call, seen in Jaeger and in Prometheus, by way of the Collector and the processor."""

from __future__ import annotations

from typing import Any

import pytest
from e2e.live import mirrored
from e2e.stage import Stage
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from support.resources import until

from shadowmesh import names

pytestmark = pytest.mark.e2e

WITHIN = 20.0
PROCESSOR = "shadowmesh-processor"
PROMPTS = ("one", "two", "three")


def shadow(prompt: str) -> str:
    return "zwei" if prompt == "two" else prompt.upper()


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


def text(span: Span, name: str) -> str:
    return next((one.value.string_value for one in span.attributes if one.key == name), "")


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_a_pair_whose_outputs_differ_is_found_in_jaeger_with_both_legs_their_link_and_the_comparison(
    stage: Stage, kind: str
) -> None:
    experiment = f"found-{kind}"
    with mirrored(stage, kind, name=experiment, shadow=shadow) as live:
        for prompt in PROMPTS:
            live.ask(prompt)
    wanted = {names.MATCH_OUTPUT: "false", names.EXPERIMENT_NAME: experiment}
    assert until(lambda: len(stage.jaeger.find(wanted, service=PROCESSOR)) == 4, WITHIN)
    # By the pair's id, which the legs have too, it is the same trace.
    (pair_id,) = {text(span, names.PAIR_ID) for span in stage.jaeger.find(wanted, service=PROCESSOR)} - {""}
    (trace_id,) = {span.trace_id.hex() for span in stage.jaeger.find({names.PAIR_ID: pair_id}, service=experiment)}

    spans = {place(span): span for span in stage.jaeger.trace(trace_id)}
    assert spans.keys() == {"inbound", "live", "shadow", "compare"}
    inbound, live_leg, shadow_leg = (spans[name]["spanId"] for name in ("inbound", "live", "shadow"))
    parents = {name: span.get("parentSpanId", "") for name, span in spans.items()}
    assert parents == {"inbound": "", "live": inbound, "shadow": inbound, "compare": shadow_leg}
    assert links(spans["shadow"]) == {(trace_id, live_leg)}
    assert links(spans["compare"]) == {(trace_id, live_leg), (trace_id, shadow_leg)}
    assert attributes(spans["compare"])[names.MATCH_OUTPUT] is False
    assert {attributes(spans[name])[names.PAIR_ID] for name in ("live", "shadow", "compare")} == {pair_id}


def test_an_exemplar_of_a_histogram_leads_to_a_trace_with_both_legs(stage: Stage) -> None:
    with mirrored(stage, name="exemplars") as live:
        for prompt in PROMPTS:
            live.ask(prompt)
    assert until(lambda: exemplars(stage, "exemplars") != set(), WITHIN)

    def legs_of(trace_id: str) -> set[str]:
        return {place(span) for span in stage.jaeger.trace(trace_id)} & {"live", "shadow"}

    # Metrics and traces come by ways of their own.
    found = exemplars(stage, "exemplars")
    assert until(lambda: all(legs_of(trace_id) == {"live", "shadow"} for trace_id in found), WITHIN)


def place(span: dict[str, Any]) -> str:
    """Return what a span of ours is: a leg by its role, the comparison, or the call that both legs are of."""
    return "compare" if span["name"] == names.COMPARE_SPAN else attributes(span).get(names.ROLE, "inbound")


def links(span: dict[str, Any]) -> set[tuple[str, str]]:
    return {(link["traceId"], link["spanId"]) for link in span.get("links", ())}


def exemplars(stage: Stage, experiment: str) -> set[str]:
    """Return the traces that the exemplars of an experiment's pairs name."""
    query = f'shadowmesh_pair_duration_ratio_bucket{{shadowmesh_experiment_name="{experiment}"}}'
    found = stage.prometheus.api("query_exemplars", query=query, start="0", end="9999999999")
    return {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}
