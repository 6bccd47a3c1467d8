"""The metrics of the processor are exactly those of the contract, and a pair adds to the right ones."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import Histogram, Metric
from support.legs import lasting, live, shadow, usage
from support.metrics import attributes_of, data_of, kind_of, points_of, received, value_of
from support.pairs import GAUGES, NOW, START, dollars, everything, measured, record, shown

from shadowmesh.compare.texts import TextComparison
from shadowmesh.model import Comparison, Cost, Pair
from shadowmesh.names import SpanOutcome
from shadowmesh.processor.instruments import INSTRUMENTS, OBSERVED
from shadowmesh.processor.metrics import PairMetrics

TARGET = {"shadowmesh.experiment.name": "summaries", "shadowmesh.target.name": "candidate"}
COMMON = {
    **TARGET,
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
            ({**COMMON, "shadowmesh.check.name": "output_exact", "shadowmesh.check.result": "mismatch"}, 1),
            ({**COMMON, "shadowmesh.check.name": "output_exact", "shadowmesh.check.result": "not_comparable"}, 1),
            ({**COMMON, "shadowmesh.check.name": "output_similarity", "shadowmesh.check.result": "mismatch"}, 1),
            ({**COMMON, "shadowmesh.check.name": "status_code", "shadowmesh.check.result": "match"}, 1),
        ],
    ),
    "shadowmesh.pair.output.divergence": ("Histogram", "1", [(COMMON, 0.75)]),
    "shadowmesh.pair.lag": ("Histogram", "s", [(COMMON, 9.0)]),
    "shadowmesh.pairing.spans": ("Counter", "{span}", [({"shadowmesh.span.outcome": "accepted"}, 2)]),
    "shadowmesh.pairing.splits": ("Counter", "{pair}", [({}, 3)]),
    "shadowmesh.journal.size": ("UpDownCounter", "By", [({}, 4096)]),
    "shadowmesh.store.waiting": ("UpDownCounter", "{record}", [({}, 5)]),
    "shadowmesh.store.refused": ("Counter", "{record}", [({}, 1)]),
    "shadowmesh.store.late_texts": ("Counter", "{text}", [({}, 9)]),
    "shadowmesh.receiver.set_aside": ("Counter", "{request}", [({}, 2)]),
    "shadowmesh.verdict.alarms": (
        "Counter",
        "{alarm}",
        [
            ({**TARGET, "shadowmesh.finding.name": "errors"}, 1),
            ({**TARGET, "shadowmesh.finding.name": "latency.duration.p95"}, 0),
        ],
    ),
    "shadowmesh.alerts.waiting": ("UpDownCounter", "{alert}", [({}, 6)]),
    "shadowmesh.alerts.delivered": ("Counter", "{alert}", [({}, 7)]),
    "shadowmesh.alerts.lost": ("Counter", "{alert}", [({}, 8)]),
    "shadowmesh.pairing.buffer.size": ("UpDownCounter", "{span}", [({}, 3)]),
    "shadowmesh.pairing.buffer.capacity": ("UpDownCounter", "{span}", [({}, 1000)]),
}


_DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TIME_DELTA = (0.001, 0.0025, 0.005, *_DURATION)
_RATIO = (0.25, 0.5, 0.67, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.25, 1.5, 2, 3, 5, 10)
_FIRST_CHUNK = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_TOKEN_DELTA = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
BOUNDS: dict[str, tuple[float, ...]] = {
    "shadowmesh.call.duration": _DURATION,
    "shadowmesh.call.time_to_first_chunk": _FIRST_CHUNK,
    "shadowmesh.call.time_per_output_token": _PER_TOKEN,
    "shadowmesh.call.output_rate": (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000),
    "shadowmesh.pair.duration.ratio": _RATIO,
    "shadowmesh.pair.time_to_first_chunk.ratio": _RATIO,
    "shadowmesh.pair.output_tokens.ratio": _RATIO,
    "shadowmesh.pair.cost.ratio": _RATIO,
    "shadowmesh.pair.duration.delta": _TIME_DELTA,
    "shadowmesh.pair.time_to_first_chunk.delta": _TIME_DELTA,
    "shadowmesh.pair.input_tokens.delta": _TOKEN_DELTA,
    "shadowmesh.pair.output_tokens.delta": _TOKEN_DELTA,
    "shadowmesh.pair.cost.delta": (0, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1, 10),
    "shadowmesh.pair.output.divergence": (0, 0.01, 0.02, 0.05, *_TENTHS, 0.95, 1),
    "shadowmesh.pair.lag": (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120, 300),
}


def collected(metrics: PairMetrics) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics.collect(NOW, buffered=3, capacity=1000)}


def values(metric: Metric) -> list[tuple[dict[str, Any], float]]:
    """Return (attributes, value or sum) of each point, in the order of their text."""
    shown = [
        (dict(point.attributes or {}), point.sum if isinstance(metric.data, Histogram) else point.value)  # type: ignore[union-attr]
        for point in metric.data.data_points
    ]
    return sorted(shown, key=lambda one: str(sorted(one[0].items())))


def wire(metrics: PairMetrics, **options: Any) -> dict[str, Any]:
    """Return the metrics as they come out of OTLP's bytes."""
    return received(data_of(metrics.collect(NOW, buffered=3, capacity=1000, **options)))


def golden(name: str) -> tuple[str, str, list[tuple[dict[str, Any], float]]]:
    kind, unit, expected = GOLDEN[name]
    return kind, unit, sorted(expected, key=lambda one: str(sorted(one[0].items())))


def on_the_wire(metric: Any) -> tuple[str, str, list[tuple[dict[str, Any], float]]]:
    shown = [(attributes_of(point), value_of(point)) for point in points_of(metric)]
    return kind_of(metric), metric.unit, sorted(shown, key=lambda one: str(sorted(one[0].items())))


def test_every_metric_of_the_contract_and_no_other_is_sent() -> None:
    assert wire(everything(), gauges=GAUGES).keys() == GOLDEN.keys()
    assert {instrument.name for instrument in INSTRUMENTS} | OBSERVED.keys() == GOLDEN.keys()


@pytest.mark.parametrize("name", GOLDEN)
def test_a_metric_on_the_wire_has_the_instrument_unit_attributes_and_values_of_the_contract(name: str) -> None:
    shown, expected = on_the_wire(wire(everything(), gauges=GAUGES)[name]), golden(name)
    assert shown[:2] == expected[:2]
    assert [attributes for attributes, _ in shown[2]] == [attributes for attributes, _ in expected[2]]
    assert [value for _, value in shown[2]] == pytest.approx([value for _, value in expected[2]])


def checks(metrics: PairMetrics, name: str) -> dict[str, float]:
    """Return how often each result of a check was counted."""
    found = values(collected(metrics)["shadowmesh.pair.checks"])
    return {one["shadowmesh.check.result"]: value for one, value in found if one["shadowmesh.check.name"] == name}


@pytest.mark.parametrize(
    ("similarity", "result"), [(0.9, "match"), (0.89, "mismatch"), (None, "not_comparable"), (1.0, "match")]
)
def test_captured_outputs_match_from_the_similarity_on_that_was_set(similarity: float | None, result: str) -> None:
    metrics = PairMetrics(START, similarity_match=0.9)
    shown(metrics, TextComparison(similarity))
    assert checks(metrics, "output_similarity") == {result: 1}
    assert "shadowmesh.pair.output.divergence" not in collected(metrics)


def test_texts_tell_whether_outputs_are_equal_where_digests_have_not() -> None:
    metrics = PairMetrics(START)
    shown(metrics, TextComparison(1.0, equal=True), live="a", shadow="a")
    assert checks(metrics, "output_exact") == {}
    shown(metrics, TextComparison(1.0, equal=True), live="a")
    shown(metrics, TextComparison(0.5, 4, 0.5, equal=False))
    shown(metrics, TextComparison(None, None, None, equal=None))
    assert checks(metrics, "output_exact") == {"match": 1, "mismatch": 1}


def test_every_point_on_the_wire_is_cumulative_from_the_start_to_now() -> None:
    times = {
        (point.start_time_unix_nano, point.time_unix_nano)
        for metric in wire(everything(), gauges=GAUGES).values()
        for point in points_of(metric)
    }
    assert times == {(START, NOW)}


def test_buckets_are_those_of_the_conventions_and_each_value_is_in_its_own() -> None:
    shown = {
        name: points_of(metric)[0]
        for name, metric in wire(everything()).items()
        if metric.WhichOneof("data") == "histogram"
    }
    assert {name: tuple(point.explicit_bounds) for name, point in shown.items()} == BOUNDS
    for name, point in shown.items():
        assert (point.count, point.min, point.max) == (1, point.sum, point.sum), name
        (place,) = [place for place, count in enumerate(point.bucket_counts) if count]
        edges = (-1.0, *BOUNDS[name], float("inf"))
        assert edges[place] < point.sum <= edges[place + 1], name


def test_every_histogram_has_an_exemplar_that_leads_to_the_trace_of_the_pair() -> None:
    live_leg, shadow_leg = measured()
    spans = {shadow_leg.span_id.to_bytes(8, "big"), live_leg.span_id.to_bytes(8, "big")}
    for name, metric in wire(everything()).items():
        if metric.WhichOneof("data") == "histogram":
            for point in points_of(metric):
                (exemplar,) = point.exemplars
                assert exemplar.trace_id == shadow_leg.trace_id.to_bytes(16, "big"), name
                assert exemplar.span_id in spans, name
                assert (value_of(exemplar), list(exemplar.filtered_attributes)) == (point.sum, []), name


def test_a_scrape_sees_the_last_example_of_each_bucket_and_takes_none_from_an_export() -> None:
    metrics = everything()

    def examples(**options: bool) -> int:
        return sum(len(p.exemplars) for p in points_of(wire(metrics, **options)["shadowmesh.call.duration"]))

    assert [examples(again=True), examples(), examples(), examples(again=True)] == [2, 2, 0, 2]


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


def test_what_is_restored_takes_the_place_of_all_that_was_counted_here() -> None:
    before, after = everything(), everything()
    record(after, measured(), measured())
    after.restore(json.loads(json.dumps(before.state())))
    record(after, measured())
    assert outcomes(after) == {"matched": 2}


def test_metrics_that_were_restored_keep_their_start_and_those_that_were_not_have_a_new_one() -> None:
    before, after, new = everything(), PairMetrics(NOW - 5), PairMetrics(NOW - 5)
    after.restore(json.loads(json.dumps(before.state())))
    for metrics in (after, new):
        record(metrics, measured())

    def first(metrics: PairMetrics, name: str) -> tuple[int, float]:
        point = points_of(wire(metrics, gauges=GAUGES)[name])[0]
        return point.start_time_unix_nano, value_of(point)

    assert (first(after, "shadowmesh.pairs"), first(new, "shadowmesh.pairs")) == ((START, 2), (NOW - 5, 1))
    # Whoever keeps this begins at 0 with each process, and so must its start.
    assert first(after, "shadowmesh.store.refused") == (NOW - 5, 1)


@pytest.mark.parametrize("exponential", [False, True])
@given(batches=st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1e6)), max_size=5), max_size=5))
def test_every_point_only_grows_from_one_start_however_often_it_is_exported(
    exponential: bool, batches: list[list[tuple[str, float]]]
) -> None:
    metrics, before = PairMetrics(START, exponential=exponential), dict[tuple[str, str], tuple[float, ...]]()
    for batch in batches:
        for method, seconds in batch:
            record(metrics, (live(method=method), shadow(method=method, **lasting(seconds))))
        for name, metric in wire(metrics).items():
            for point in points_of(metric):
                key = name, str(sorted(attributes_of(point).items()))
                value = (value_of(point), *((point.count,) if "count" in point.DESCRIPTOR.fields_by_name else ()))
                assert point.start_time_unix_nano == START
                assert all(map(isfinite, value))
                assert value >= before.get(key, value)
                before[key] = value


@pytest.mark.parametrize("exponential", [False, True])
def test_what_was_saved_stays_as_it_was_while_counting_goes_on(exponential: bool) -> None:
    metrics = PairMetrics(START, exponential=exponential)
    record(metrics, measured())
    saved = metrics.state()
    written = json.dumps(saved)
    record(metrics, measured(), measured())
    assert json.dumps(saved) == written
