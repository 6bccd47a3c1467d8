"""The metrics of the processor are exactly those of the contract, and a pair adds to the right ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, Metric, Sum
from support.legs import T0, lasting, live, shadow, usage

from shadowmesh.compare.comparison import compare
from shadowmesh.model import Comparison, Cost, Leg, Pair
from shadowmesh.names import SpanOutcome
from shadowmesh.processor.metrics import PairMetrics

START, NOW = T0 - 1, T0 + 10_000_000_000

COMMON = {
    "shadowmesh.experiment.name": "summaries",
    "shadowmesh.target.name": "candidate",
    "rpc.method": "shadowmesh.v1.Inference/Generate",
    "gen_ai.operation.name": "chat",
}
LIVE, SHADOW = {**COMMON, "shadowmesh.role": "live"}, {**COMMON, "shadowmesh.role": "shadow"}
MORE, LESS, SAME = ({**COMMON, "shadowmesh.delta.direction": way} for way in ("increase", "decrease", "none"))
OK = {"rpc.response.status_code": "OK"}
MONEY = {"shadowmesh.cost.currency": "USD", "shadowmesh.cost.source": "collector"}

# name → (instrument, unit, [(attributes, value or histogram sum)]), for the pair of `measured` below.
GOLDEN: dict[str, tuple[str, str, list[tuple[dict[str, Any], float]]]] = {
    "shadowmesh.call.duration": ("Histogram", "s", [({**LIVE, **OK}, 0.5), ({**SHADOW, **OK}, 1.0)]),
    "shadowmesh.call.time_to_first_chunk": ("Histogram", "s", [(LIVE, 0.25), (SHADOW, 0.125)]),
    "shadowmesh.call.time_per_output_token": ("Histogram", "s", [(LIVE, 0.25 / 4), (SHADOW, 0.875 / 7)]),
    "shadowmesh.call.output_rate": ("Histogram", "{token}/s", [(LIVE, 5 / 0.25), (SHADOW, 8 / 0.875)]),
    "shadowmesh.call.tokens": (
        "Counter",
        "{token}",
        [
            ({**LIVE, "gen_ai.token.type": "input"}, 10),
            ({**LIVE, "gen_ai.token.type": "output"}, 5),
            ({**SHADOW, "gen_ai.token.type": "input"}, 10),
            ({**SHADOW, "gen_ai.token.type": "output"}, 8),
        ],
    ),
    "shadowmesh.call.cost": ("Counter", "{currency}", [({**LIVE, **MONEY}, 0.5), ({**SHADOW, **MONEY}, 0.25)]),
    "shadowmesh.pairs": ("Counter", "{pair}", [({**COMMON, "shadowmesh.pair.outcome": "matched"}, 1)]),
    "shadowmesh.pair.duration.ratio": ("Histogram", "1", [(COMMON, 2.0)]),
    "shadowmesh.pair.time_to_first_chunk.ratio": ("Histogram", "1", [(COMMON, 0.5)]),
    "shadowmesh.pair.output_tokens.ratio": ("Histogram", "1", [(COMMON, 1.6)]),
    "shadowmesh.pair.cost.ratio": ("Histogram", "1", [(COMMON, 0.5)]),
    "shadowmesh.pair.duration.delta": ("Histogram", "s", [(MORE, 0.5)]),
    "shadowmesh.pair.time_to_first_chunk.delta": ("Histogram", "s", [(LESS, 0.125)]),
    "shadowmesh.pair.input_tokens.delta": ("Histogram", "{token}", [(SAME, 0)]),
    "shadowmesh.pair.output_tokens.delta": ("Histogram", "{token}", [(MORE, 3)]),
    "shadowmesh.pair.cost.delta": ("Histogram", "{currency}", [({**LESS, "shadowmesh.cost.currency": "USD"}, 0.25)]),
    "shadowmesh.pair.checks": (
        "Counter",
        "{check}",
        [
            ({**COMMON, "shadowmesh.check.name": "finish_reason", "shadowmesh.check.result": "mismatch"}, 1),
            ({**COMMON, "shadowmesh.check.name": "output_exact", "shadowmesh.check.result": "not_comparable"}, 1),
            ({**COMMON, "shadowmesh.check.name": "status_code", "shadowmesh.check.result": "match"}, 1),
        ],
    ),
    "shadowmesh.pair.lag": ("Histogram", "s", [(COMMON, 9.0)]),
    "shadowmesh.pairing.spans": ("Counter", "{span}", [({"shadowmesh.span.outcome": "accepted"}, 2)]),
    "shadowmesh.pairing.buffer.size": ("UpDownCounter", "{span}", [({}, 3)]),
    "shadowmesh.pairing.buffer.capacity": ("UpDownCounter", "{span}", [({}, 1000)]),
}


def dollars(amount: float) -> Cost:
    return Cost(amount=amount, currency="USD", source="collector")


def measured() -> tuple[Leg, Leg]:
    """Return a pair of which everything is known except the output."""
    return (
        live(
            **lasting(0.5),
            time_to_first_chunk=0.25,
            cost=dollars(0.5),
            fields=usage(10, 5, finish_reasons=("stop",), request_model="m"),
        ),
        shadow(
            **lasting(1.0),
            time_to_first_chunk=0.125,
            cost=dollars(0.25),
            fields=usage(10, 8, finish_reasons=("length",), request_model="m2"),
        ),
    )


def record(metrics: PairMetrics, *pairs: tuple[Leg | None, Leg | None], target: str = "candidate") -> None:
    for live_leg, shadow_leg in pairs:
        pair = Pair(pair_id="p", target=target, live=live_leg, shadow=shadow_leg)
        metrics.pair(pair, compare(pair), NOW)


def collected(metrics: PairMetrics) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics.collect(NOW, buffered=3, capacity=1000)}


def values(metric: Metric) -> list[tuple[dict[str, Any], float]]:
    """Return (attributes, value or sum) of each point, in the order of their text."""
    shown = [
        (dict(point.attributes or {}), point.sum if isinstance(metric.data, Histogram) else point.value)  # type: ignore[union-attr]
        for point in metric.data.data_points
    ]
    return sorted(shown, key=lambda one: str(sorted(one[0].items())))


def instrument(metric: Metric) -> str:
    assert isinstance(metric.data, (Sum, Histogram))
    assert metric.data.aggregation_temporality == AggregationTemporality.CUMULATIVE
    if isinstance(metric.data, Histogram):
        return "Histogram"
    return "Counter" if metric.data.is_monotonic else "UpDownCounter"


def test_names_instruments_units_and_attributes_are_those_of_the_contract() -> None:
    metrics = PairMetrics(START)
    metrics.spans(SpanOutcome.ACCEPTED, 2)
    record(metrics, measured())
    shown = collected(metrics)
    assert shown.keys() == GOLDEN.keys()
    for name, (kind, unit, expected) in GOLDEN.items():
        assert (instrument(shown[name]), shown[name].unit) == (kind, unit), name
        order = sorted(expected, key=lambda one: str(sorted(one[0].items())))
        assert [attributes for attributes, _ in values(shown[name])] == [attributes for attributes, _ in order], name
        assert [value for _, value in values(shown[name])] == pytest.approx([value for _, value in order]), name


def test_bounds_are_those_of_the_conventions() -> None:
    metrics = PairMetrics(START)
    record(metrics, measured())
    bounds = {
        name: metric.data.data_points[0].explicit_bounds
        for name, metric in collected(metrics).items()
        if isinstance(metric.data, Histogram)
    }
    assert bounds["shadowmesh.call.duration"] == tuple(0.01 * 2**n for n in range(14))
    assert bounds["shadowmesh.call.time_to_first_chunk"] == (
        *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    )
    assert bounds["shadowmesh.call.time_per_output_token"] == (
        *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
    )
    assert bounds["shadowmesh.pair.duration.ratio"] == (
        *(0.25, 0.5, 0.67, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.25, 1.5, 2, 3, 5, 10),
    )
    assert all(tuple(sorted(set(one))) == one for one in bounds.values())


def test_exemplars_name_the_leg_and_for_the_pair_its_shadow() -> None:
    metrics = PairMetrics(START)
    legs = measured()
    record(metrics, legs)
    shown = collected(metrics)

    def spans(name: str) -> list[tuple[int | None, int | None]]:
        return [(one.trace_id, one.span_id) for point in shown[name].data.data_points for one in point.exemplars]

    assert spans("shadowmesh.call.duration") == [(leg.trace_id, leg.span_id) for leg in legs]
    assert spans("shadowmesh.pair.duration.ratio") == [(legs[1].trace_id, legs[1].span_id)]


def outcomes(metrics: PairMetrics) -> dict[str, float]:
    return {
        attributes["shadowmesh.pair.outcome"]: value
        for attributes, value in values(collected(metrics)["shadowmesh.pairs"])
    }


def test_the_live_side_counts_once_in_the_series_of_each_target() -> None:
    metrics = PairMetrics(START)
    one = live(targets=("a", "b"))
    for target in ("a", "b"):
        record(metrics, (one, shadow(target=target)), target=target)
    counts = [
        (point.attributes["shadowmesh.target.name"], point.attributes["shadowmesh.role"], point.count)  # type: ignore[index, union-attr]
        for point in collected(metrics)["shadowmesh.call.duration"].data.data_points
    ]
    assert counts == [("a", "live", 1), ("a", "shadow", 1), ("b", "live", 1), ("b", "shadow", 1)]


def test_a_shed_leg_has_an_outcome_and_checks_and_no_figures() -> None:
    metrics = PairMetrics(START)
    record(metrics, (live(), shadow(end="shed", status=None, drop_reason="queue_full")))
    shown = collected(metrics)
    assert outcomes(metrics) == {"not_comparable": 1}
    assert [attributes["shadowmesh.role"] for attributes, _ in values(shown["shadowmesh.call.duration"])] == ["live"]
    assert {attributes["shadowmesh.check.result"] for attributes, _ in values(shown["shadowmesh.pair.checks"])} == {
        "not_comparable"
    }


def test_a_failed_leg_is_counted_with_its_error_and_its_speed_is_not() -> None:
    metrics = PairMetrics(START)
    failed = shadow(status="INTERNAL", complete=False, time_to_first_chunk=0.01, fields=usage(1, 2))
    record(metrics, (None, failed))
    shown = collected(metrics)
    ((attributes, _),) = values(shown["shadowmesh.call.duration"])
    assert (attributes["error.type"], attributes["rpc.response.status_code"]) == ("INTERNAL", "INTERNAL")
    assert "shadowmesh.call.time_to_first_chunk" not in shown
    assert len(values(shown["shadowmesh.call.tokens"])) == 2


def test_an_evicted_pair_is_only_counted() -> None:
    metrics = PairMetrics(START)
    pair = Pair(pair_id="p", target="candidate", live=live(), shadow=None)
    metrics.pair(pair, Comparison(outcome="evicted"), NOW)
    assert outcomes(metrics) == {"evicted": 1}
    assert "shadowmesh.call.duration" not in collected(metrics)


def test_a_pair_is_never_complete_before_its_legs_whatever_the_clocks_say() -> None:
    metrics = PairMetrics(START)
    record(metrics, (live(), shadow(started_ns=NOW, ended_ns=NOW + 5)))
    assert values(collected(metrics)["shadowmesh.pair.lag"])[0][1] == 0


def test_money_of_two_currencies_is_counted_apart() -> None:
    metrics = PairMetrics(START)
    euros = Cost(amount=3.0, currency="EUR", source="provider")
    record(metrics, (live(cost=dollars(1)), shadow(cost=euros)))
    assert [
        (attributes["shadowmesh.cost.currency"], value)
        for attributes, value in values(collected(metrics)["shadowmesh.call.cost"])
    ] == [("EUR", 3.0), ("USD", 1.0)]
    assert "shadowmesh.pair.cost.delta" not in collected(metrics)


def test_only_listed_methods_and_models_are_told_apart() -> None:
    metrics = PairMetrics(START, methods=["a.B/*"], models=["llama-*"])
    for method, model in (("a.B/C", "llama-3"), ("x.Y/Z", "gpt")):
        record(metrics, (live(method=method, fields=usage(1, 1, request_model=model)), None))
    labels = [
        (attributes["rpc.method"], attributes["gen_ai.request.model"])
        for attributes, _ in values(collected(metrics)["shadowmesh.call.duration"])
    ]
    assert sorted(labels) == [("_OTHER", "_OTHER"), ("a.B/C", "llama-3")]
    assert all(
        "gen_ai.request.model" not in attributes for attributes, _ in values(collected(metrics)["shadowmesh.pairs"])
    )


def test_what_a_leg_does_not_say_is_absent_and_what_cannot_be_a_label_is_other() -> None:
    metrics = PairMetrics(START)
    record(metrics, (live(experiment="x" * 1000, status=None), None), target="")
    ((attributes, _),) = values(collected(metrics)["shadowmesh.call.duration"])
    assert attributes == {
        "shadowmesh.experiment.name": "_OTHER",
        "shadowmesh.target.name": "_OTHER",
        "rpc.method": "shadowmesh.v1.Inference/Generate",
        "shadowmesh.role": "live",
    }


def test_random_methods_and_experiments_make_a_bounded_number_of_series() -> None:
    metrics = PairMetrics(START, limit=50)
    for n in range(3000):
        record(metrics, (live(method=f"m{n}", experiment=f"e{n}"), shadow(method=f"m{n}")))
    shown = collected(metrics)
    assert max(len(metric.data.data_points) for metric in shown.values()) == 51
    assert sum(value for _, value in values(shown["shadowmesh.pairs"])) == 3000


@pytest.mark.parametrize("exponential", [False, True])
def test_metrics_that_were_saved_and_restored_count_on_as_if_nothing_had_happened(exponential: bool) -> None:
    whole, before, after = (PairMetrics(start, exponential=exponential) for start in (START, START, NOW))
    for metrics in (whole, before):
        record(metrics, measured())
        metrics.spans(SpanOutcome.ACCEPTED, 2)
    after.restore(json.loads(json.dumps(before.state())))
    for metrics in (whole, after):
        record(metrics, measured(), (live(), None))
    assert json.dumps(after.state()) == json.dumps(whole.state())


def test_an_instrument_that_has_changed_its_form_begins_anew_and_leaves_the_others_alone() -> None:
    before, after = PairMetrics(START), PairMetrics(NOW, exponential=True)
    record(before, measured())
    after.restore(json.loads(json.dumps(before.state())))
    assert {name for name, held in after.state()["instruments"].items() if held} == {
        "shadowmesh.pairs", "shadowmesh.call.tokens", "shadowmesh.call.cost", "shadowmesh.pair.checks",
    }  # fmt: skip
