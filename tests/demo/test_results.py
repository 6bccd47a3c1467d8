import json
import math
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from support.exchanges import ABOUT, counters, exchange, leg
from support.otlp import spans_request

from shadowmesh import names
from shadowmesh.cli.demo import exchange as drawn_exchange
from shadowmesh.cli.demo.document import document
from shadowmesh.cli.demo.results import Results, collect
from shadowmesh.cli.demo.sink import Sink
from shadowmesh.cli.demo.traffic import Sent
from shadowmesh.names import Role
from shadowmesh.report.records import Quantiles

LIVE, SHADOW = Role.LIVE, Role.SHADOW


def pair(number: int, *, streaming: bool, live_ms: float = 100, shadow_ms: float = 150) -> list[ReadableSpan]:
    return exchange(
        number,
        live=leg(LIVE, number, ms=live_ms, tokens=10, streaming=streaming),
        shadow=leg(SHADOW, number, ms=shadow_ms, tokens=20, streaming=streaming),
        costs=(2e-5, 1e-5),
    )


def near(value: float | Quantiles | None, expected: float) -> bool:
    """Return whether the value, or both quantiles, are the expected ones but for rounding."""
    if isinstance(value, Quantiles):
        return near(value.p50, expected) and near(value.p95, expected)
    return value is not None and math.isclose(value, expected, rel_tol=1e-9)


def sent(count: int) -> Sent:
    told = Sent()
    told.calls["Generate", "OK"] = count
    return told


def collected(*spans: list[ReadableSpan], metrics: tuple[bytes, ...] = (), calls: int = 0) -> Results:
    sink = Sink()
    for some in spans:
        sink.keep_traces(spans_request(some))
    for request in metrics:
        sink.keep_metrics(request)
    return collect(sink, sent(calls), ABOUT)


def requests(decision: str, count: int, reason: str = "") -> tuple[str, int, dict[str, str]]:
    attributes = {names.MIRROR_DECISION: decision}
    if reason:
        attributes[names.MIRROR_DROP_REASON] = reason
    return names.METRIC_MIRROR_REQUESTS, count, attributes


def pairs(outcome: str, count: int, method: str = "Generate") -> tuple[str, int, dict[str, str]]:
    return names.METRIC_PAIRS, count, {names.PAIR_OUTCOME: outcome, names.RPC_METHOD: method}


def test_pairs_are_grouped_by_shape_and_measured_on_both_sides() -> None:
    found = collected(pair(1, streaming=False), pair(2, streaming=True, live_ms=200, shadow_ms=250))
    unary, streaming = found.groups
    assert (unary.pairs, streaming.pairs) == (1, 1)
    latency = unary.rows[0]
    assert latency.live == Quantiles(0.1, 0.1)
    assert latency.shadow == Quantiles(0.15, 0.15)
    assert near(latency.ratio, 1.5)
    assert near(latency.delta, 0.05)
    assert [row.name for row in unary.rows] == ["duration", "output_tokens", "output_rate"]
    by_name = {row.name: row for row in streaming.rows}
    assert by_name["time_to_first_chunk"].live == Quantiles(0.01, 0.01)
    assert near(by_name["time_per_output_token"].live, 0.19 / 9)
    assert near(by_name["output_rate"].shadow, 20 / 0.24)


def test_ratios_and_deltas_are_those_of_pairs_not_of_quantiles() -> None:
    found = collected(
        pair(1, streaming=False, live_ms=100, shadow_ms=300),
        pair(2, streaming=False, live_ms=200, shadow_ms=200),
        pair(3, streaming=False, live_ms=300, shadow_ms=100),
    )
    latency = found.groups[0].rows[0]
    assert latency.live == latency.shadow
    assert latency.delta is not None
    assert latency.delta.p50 == 0
    assert latency.ratio is not None
    assert latency.ratio.p95 == pytest.approx(2.8)


def test_a_span_that_came_twice_counts_once() -> None:
    found = collected(pair(1, streaming=False), pair(1, streaming=False))
    assert found.groups[0].pairs == 1


def test_nothing_is_measured_on_a_failure() -> None:
    failed = leg(SHADOW, 1, ms=1, tokens=0, streaming=False, status="UNAVAILABLE")
    live = leg(LIVE, 1, ms=100, tokens=10, streaming=False)
    found = collected(exchange(1, live=live, shadow=failed))
    assert found.groups[0].pairs == 0
    assert found.groups[0].rows[0].live is None
    assert found.example is None


def test_another_target_is_left_out() -> None:
    other = leg(SHADOW, 1, ms=150, tokens=20, streaming=False, target="other")
    live = leg(LIVE, 1, ms=100, tokens=10, streaming=False)
    assert collected(exchange(1, live=live, shadow=other)).groups[0].pairs == 0


def test_cost_is_the_processors_and_per_1000_calls() -> None:
    cost = collected(pair(1, streaming=False), pair(2, streaming=False)).groups[0].cost
    assert cost.currency == "USD"
    assert near(cost.live, 0.02)
    assert near(cost.shadow, 0.01)
    assert near(cost.ratio, 0.5)
    assert near(cost.delta, -0.01)


def test_one_call_that_could_not_be_priced_makes_the_mean_unknown() -> None:
    unpriced = exchange(
        2,
        live=leg(LIVE, 2, ms=100, tokens=10, streaming=False),
        shadow=leg(SHADOW, 2, ms=100, tokens=10, streaming=False),
    )
    cost = collected(pair(1, streaming=False), unpriced).groups[0].cost
    assert (cost.live, cost.shadow, cost.ratio, cost.delta) == (None, None, None, None)


def test_the_funnel_takes_the_last_value_of_each_series_and_adds_processes_up() -> None:
    found = collected(
        metrics=(
            counters(requests("mirrored", 7), requests("dropped", 1, "queue_full"), at=2),
            counters(requests("mirrored", 3), at=1),
            counters(requests("mirrored", 5), requests("not_sampled", 2), at=2, instance="two"),
            counters(pairs("matched", 8), pairs("matched", 4, "StreamGenerate"), pairs("not_comparable", 1)),
        ),
        calls=15,
    )
    funnel = found.funnel
    assert funnel.decisions == {"mirrored": 12, "dropped": 1, "not_sampled": 2}
    assert funnel.drop_reasons == {"queue_full": 1}
    assert funnel.outcomes == {"matched": 12, "not_comparable": 1}
    assert (funnel.pairs_expected, funnel.lost, funnel.undecided) == (13, 0, 0)
    assert funnel.adds_up


@pytest.mark.parametrize(("calls", "matched"), [(9, 10), (11, 10), (10, 9), (10, 11)])
def test_a_missing_or_surplus_exchange_does_not_add_up(calls: int, matched: int) -> None:
    metrics = (counters(requests("mirrored", 10)), counters(pairs("matched", matched)))
    assert not collected(metrics=metrics, calls=calls).funnel.adds_up


def test_checks_are_counted_by_result() -> None:
    def check(result: str, count: int) -> tuple[str, int, dict[str, str]]:
        said = {names.CHECK_NAME: "finish_reason", names.CHECK_RESULT: result}
        return names.METRIC_PAIR_CHECKS, count, said

    found = collected(metrics=(counters(check("match", 3), check("mismatch", 2)),))
    counts = {check.name: (check.match, check.mismatch, check.not_comparable) for check in found.checks}
    assert counts == {"status_code": (0, 0, 0), "finish_reason": (3, 2, 0), "output_exact": (0, 0, 0)}


def test_the_example_is_a_stream_of_median_length_with_all_its_spans() -> None:
    found = collected(
        pair(1, streaming=False),
        *(pair(number, streaming=True, shadow_ms=100 * number) for number in (2, 3, 4)),
    )
    assert found.example is not None
    assert found.example.shadow.duration == pytest.approx(0.3)
    tree = drawn_exchange.tree(found.example)
    assert tree.name == "Inference/StreamGenerate"
    live, shadow = tree.children
    assert live.name == "live    pydoc-bigram"
    assert shadow.name == "shadow  pydoc-trigram (link: live)"
    assert shadow.facts == ("OK · finish stop · 12 → 20 tokens · first chunk 10.0 ms · 20 messages",)
    assert shadow.children[0].facts == ("matched · latency +200.0 ms (×3.00) · output +10 tokens · cost ×0.50",)


def test_an_exchange_whose_inbound_span_is_not_ours_is_drawn_from_the_live_leg() -> None:
    found = collected(pair(1, streaming=False))
    assert found.example is not None
    tree = drawn_exchange.tree(replace(found.example, inbound_span=None))
    assert (tree.name, tree.ended_ns) == ("Inference/Generate", found.example.live.ended_ns)


def test_the_document_says_everything_and_is_json() -> None:
    found = collected(
        pair(1, streaming=True),
        metrics=(counters(requests("mirrored", 1)), counters(pairs("matched", 1, "StreamGenerate"))),
        calls=1,
    )
    told = json.loads(json.dumps(document(found, seconds=3, judged=None)))
    assert (told["schema"], told["seconds"], told["adds_up"]) == ("shadowmesh.demo/1", 3, True)
    assert told["client"] == {"Generate": {"OK": 1}}
    assert told["funnel"]["outcomes"] == {
        "matched": 1,
        "live_only": 0,
        "shadow_only": 0,
        "not_comparable": 0,
        "evicted": 0,
    }
    unary, streaming = told["groups"]
    assert unary["metrics"][0]["live"] is None
    assert unary["cost_per_1000_calls"]["live"] is None
    assert streaming["metrics"][0]["shadow"] == {"p50": 0.15, "p95": 0.15}
    inbound, live, shadow, compared = told["trace"]["spans"]
    assert live["parent_span_id"] == shadow["parent_span_id"] == inbound["span_id"]
    assert shadow["linked_span_ids"] == [live["span_id"]]
    assert compared["parent_span_id"] == shadow["span_id"]
    assert told["trace"]["pair_id"] == live["attributes"]["shadowmesh.pair.id"]


def test_nothing_at_all_is_a_document_too() -> None:
    told = json.loads(json.dumps(document(collected(), seconds=1, judged=None)))
    assert told["trace"] is None
    assert told["adds_up"] is True


def test_a_closed_sink_keeps_nothing() -> None:
    sink = Sink()
    sink.keep_traces(spans_request(pair(1, streaming=False)))
    assert sink.arrived.is_set()
    sink.close()
    sink.keep_traces(spans_request(pair(2, streaming=False)))
    assert sink.spans() == []
