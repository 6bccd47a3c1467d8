"""``/metrics``: literal names, every figure of the OTLP export, and the formats that Prometheus asks for."""

from __future__ import annotations

import http.client
import subprocess
from asyncio import to_thread
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser
from stack.parts import find
from support.legs import T0, live, shadow
from support.metrics import data_of
from support.pairs import GAUGES, NOW, START, everything, measured, record
from support.receiving import receiving

from shadowmesh.model import Leg
from shadowmesh.processor.instruments import INSTRUMENTS, OBSERVED
from shadowmesh.processor.metrics import PairMetrics
from shadowmesh.processor.receiver import Receiver
from shadowmesh.processor.scrape import render, scrape_route
from shadowmesh.processor.scrape_names import family_of

# Neither says its types.
parse_text: Any = parser.text_string_to_metric_families
parse_openmetrics: Any = openmetrics_parser.text_string_to_metric_families

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3"

# What Prometheus 3.14 shows of the same metrics after it received them by OTLP.
SERIES = {
    "shadowmesh_call_duration_seconds_bucket",
    "shadowmesh_call_duration_seconds_count",
    "shadowmesh_call_duration_seconds_sum",
    "shadowmesh_call_time_to_first_chunk_seconds_bucket",
    "shadowmesh_call_time_to_first_chunk_seconds_count",
    "shadowmesh_call_time_to_first_chunk_seconds_sum",
    "shadowmesh_call_time_per_output_token_seconds_bucket",
    "shadowmesh_call_time_per_output_token_seconds_count",
    "shadowmesh_call_time_per_output_token_seconds_sum",
    "shadowmesh_call_output_rate_per_second_bucket",
    "shadowmesh_call_output_rate_per_second_count",
    "shadowmesh_call_output_rate_per_second_sum",
    "shadowmesh_call_tokens_total",
    "shadowmesh_call_cost_total",
    "shadowmesh_pairs_total",
    "shadowmesh_pair_duration_ratio_bucket",
    "shadowmesh_pair_duration_ratio_count",
    "shadowmesh_pair_duration_ratio_sum",
    "shadowmesh_pair_time_to_first_chunk_ratio_bucket",
    "shadowmesh_pair_time_to_first_chunk_ratio_count",
    "shadowmesh_pair_time_to_first_chunk_ratio_sum",
    "shadowmesh_pair_output_tokens_ratio_bucket",
    "shadowmesh_pair_output_tokens_ratio_count",
    "shadowmesh_pair_output_tokens_ratio_sum",
    "shadowmesh_pair_cost_ratio_bucket",
    "shadowmesh_pair_cost_ratio_count",
    "shadowmesh_pair_cost_ratio_sum",
    "shadowmesh_pair_duration_delta_seconds_bucket",
    "shadowmesh_pair_duration_delta_seconds_count",
    "shadowmesh_pair_duration_delta_seconds_sum",
    "shadowmesh_pair_time_to_first_chunk_delta_seconds_bucket",
    "shadowmesh_pair_time_to_first_chunk_delta_seconds_count",
    "shadowmesh_pair_time_to_first_chunk_delta_seconds_sum",
    "shadowmesh_pair_input_tokens_delta_bucket",
    "shadowmesh_pair_input_tokens_delta_count",
    "shadowmesh_pair_input_tokens_delta_sum",
    "shadowmesh_pair_output_tokens_delta_bucket",
    "shadowmesh_pair_output_tokens_delta_count",
    "shadowmesh_pair_output_tokens_delta_sum",
    "shadowmesh_pair_cost_delta_bucket",
    "shadowmesh_pair_cost_delta_count",
    "shadowmesh_pair_cost_delta_sum",
    "shadowmesh_pair_checks_total",
    "shadowmesh_pair_output_divergence_bucket",
    "shadowmesh_pair_output_divergence_count",
    "shadowmesh_pair_output_divergence_sum",
    "shadowmesh_pair_lag_seconds_bucket",
    "shadowmesh_pair_lag_seconds_count",
    "shadowmesh_pair_lag_seconds_sum",
    "shadowmesh_pairing_buffer_size",
    "shadowmesh_pairing_buffer_capacity",
    "shadowmesh_pairing_spans_total",
    "shadowmesh_pairing_splits_total",
    "shadowmesh_journal_size_bytes",
    "shadowmesh_store_waiting",
    "shadowmesh_store_refused_total",
    "shadowmesh_store_late_texts_total",
    "shadowmesh_receiver_set_aside_total",
    "shadowmesh_verdict_alarms_total",
    "shadowmesh_alerts_waiting",
    "shadowmesh_alerts_delivered_total",
    "shadowmesh_alerts_lost_total",
    "target_info",
}


def whole(**options: Any) -> Any:
    """Return a collection in which every metric has a point."""
    return collected(everything(**options))


def collected(metrics: PairMetrics) -> Any:
    points = metrics.collect(NOW, buffered=3, capacity=1000, gauges=GAUGES, again=True)
    return data_of(points, service__name="shadowmesh-processor", service__instance__id="one")


def samples(data: Any, accept: str = OPENMETRICS) -> list[Any]:
    """Return every sample, by the parser of the format's own authors."""
    text, kind = render(data, accept)
    parse = parse_openmetrics if kind.startswith("application/openmetrics-text") else parse_text
    return [sample for family in parse(text.decode()) for sample in family.samples]


@pytest.mark.parametrize("exponential", [False, True])
@pytest.mark.parametrize("accept", [OPENMETRICS, "text/plain;version=0.0.4", ""])
def test_series_have_the_names_that_prometheus_gives_to_what_it_receives(accept: str, exponential: bool) -> None:
    assert {sample.name for sample in samples(whole(exponential=exponential), accept)} == SERIES


def test_labels_are_those_of_the_contract_and_say_nothing_of_the_scope() -> None:
    found = {sample.name: set(sample.labels) for sample in samples(whole())}
    common = {"shadowmesh_experiment_name", "shadowmesh_target_name", "rpc_method", "gen_ai_operation_name"}
    assert found["shadowmesh_pairs_total"] == {*common, "shadowmesh_pair_outcome"}
    assert found["shadowmesh_call_duration_seconds_bucket"] == {
        *(*common, "shadowmesh_role", "rpc_response_status_code", "le"),
    }
    assert found["shadowmesh_pair_cost_delta_sum"] == {
        *common,
        "shadowmesh_delta_direction",
        "shadowmesh_cost_currency",
    }
    assert found["target_info"] == {"service_name", "service_instance_id"}


def values(found: Iterable[Any], name: str, **labels: str) -> list[float]:
    return [one.value for one in found if one.name == name and labels.items() <= one.labels.items()]


def test_figures_are_those_of_the_collection() -> None:
    found = samples(whole())
    assert values(found, "shadowmesh_pairs_total", shadowmesh_pair_outcome="matched") == [1]
    assert values(found, "shadowmesh_call_tokens_total", shadowmesh_role="shadow", gen_ai_token_type="output") == [8]
    assert values(found, "shadowmesh_pair_duration_ratio_sum") == [2.0]
    assert values(found, "shadowmesh_pair_duration_ratio_bucket", le="1.5") == [0]
    assert values(found, "shadowmesh_pair_duration_ratio_bucket", le="2.0") == [1]
    assert values(found, "shadowmesh_pair_duration_ratio_bucket", le="+Inf") == [1]
    assert values(found, "shadowmesh_journal_size_bytes") == [4096]


def test_an_exemplar_stands_beside_its_bucket_and_names_the_trace() -> None:
    found = [one for one in samples(whole()) if one.exemplar is not None]
    (ratio,) = [one for one in found if one.name == "shadowmesh_pair_duration_ratio_bucket"]
    leg = measured()[1]
    assert ratio.labels["le"] == "2.0"
    assert ratio.exemplar.labels == {"trace_id": f"{leg.trace_id:032x}", "span_id": f"{leg.span_id:016x}"}
    assert ratio.exemplar.value == 2.0
    assert float(ratio.exemplar.timestamp) == pytest.approx(leg.ended_ns / 1e9)
    assert not [one for one in samples(whole(), "") if one.exemplar is not None]


@pytest.mark.parametrize("spread", [(0.9, 1.1), (1e-7, 3e7), (0.25, 4.0), (0.0, 1e-300)])
def test_an_exponential_histogram_fits_exactly_into_powers_of_two(spread: tuple[float, float]) -> None:
    metrics = PairMetrics(START, exponential=True)
    low, high = spread
    lags = [0.0, low, 1.0, 2.0, high]
    legs = [(live(f"p{n}", **at(lag)), shadow(f"p{n}", **at(lag))) for n, lag in enumerate(lags)]
    record(metrics, *legs)
    exact = [max(NOW - pair[0].ended_ns, 0) / 1e9 for pair in legs]
    found = [one for one in samples(collected(metrics)) if one.name == "shadowmesh_pair_lag_seconds_bucket"]
    assert len(found) == 50
    for one in found:
        assert one.value == sum(lag <= float(one.labels["le"]) for lag in exact), one


def at(lag: float) -> dict[str, Any]:
    """Return the times of a leg that ended so long ago."""
    return {"started_ns": T0 - 10**17, "ended_ns": NOW - round(lag * 1e9)}


def test_hostile_names_are_escaped() -> None:
    metrics = PairMetrics(START)
    name = 'a"b\\c\nd{é}'
    record(metrics, (live(experiment=name), None))
    for accept in (OPENMETRICS, ""):
        found = [one for one in samples(collected(metrics), accept) if one.name == "shadowmesh_pairs_total"]
        assert [one.labels["shadowmesh_experiment_name"] for one in found] == [name]


def test_the_overflow_point_is_a_series_of_its_own() -> None:
    metrics = PairMetrics(START, limit=1)
    pairs: list[tuple[Leg | None, Leg | None]] = [(live(experiment=f"e{n}"), None) for n in range(3)]
    record(metrics, *pairs)
    found = samples(collected(metrics))
    assert values(found, "shadowmesh_pairs_total", otel_metric_overflow="true") == [2]


@pytest.mark.parametrize(
    ("name", "unit", "gauge", "expected"),
    [
        ("a.duration", "s", False, "a_duration_seconds"),
        ("a.seconds", "s", False, "a_seconds"),
        ("a.size", "By", True, "a_size_bytes"),
        ("a.rate", "{token}/s", False, "a_rate_per_second"),
        ("a.ratio", "1", False, "a_ratio"),
        ("a.state", "1", True, "a_state_ratio"),
        ("a.cost", "{currency}", False, "a_cost"),
    ],
)
def test_units_are_words_as_in_prometheus(name: str, unit: str, gauge: bool, expected: str) -> None:
    assert family_of(name, unit, gauge=gauge) == expected


def test_every_metric_has_a_description() -> None:
    assert all(instrument.description for instrument in INSTRUMENTS)
    assert all(one.description for one in OBSERVED.values())


@pytest.mark.parametrize("exponential", [False, True])
def test_promtool_finds_nothing_to_say(exponential: bool) -> None:
    stack = find()
    if stack is None:
        pytest.skip("no promtool: run make stack")
    text, _ = render(whole(exponential=exponential))
    command = [str(stack.promtool), "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == (0, "", "")


async def get(port: int, **headers: str) -> tuple[int, str, bytes]:
    def ask() -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", "/metrics", headers=headers)
            response = connection.getresponse()
            return response.status, response.headers["content-type"], response.read()
        finally:
            connection.close()

    return await to_thread(ask)


async def test_the_http_port_answers_a_scrape_with_what_is_collected_then() -> None:
    metrics = PairMetrics(START)
    async with receiving(routes=(scrape_route(lambda: collected(metrics)),)) as receiver:
        for count in (1, 2):
            record(metrics, measured())
            status, kind, text = await get(receiver.http_port, accept=OPENMETRICS)
            assert (status, kind.split(";")[0]) == (200, "application/openmetrics-text")
            found = [one for family in parse_openmetrics(text.decode()) for one in family.samples]
            assert values(found, "shadowmesh_pairs_total") == [count]
        assert (await get(receiver.http_port))[1].startswith("text/plain")


async def test_who_may_not_send_may_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDERS", "right")
    receivers: list[Receiver] = []

    def known(authorization: Sequence[str]) -> bool:
        return receivers[0].knows(authorization)

    route = scrape_route(whole, allowed=known)
    async with receiving(routes=(route,), bearer_token={"env": "SENDERS"}) as receiver:
        receivers.append(receiver)
        assert (await get(receiver.http_port))[0] == 401
        assert (await get(receiver.http_port, authorization="Bearer wrong"))[0] == 401
        assert (await get(receiver.http_port, authorization="Bearer right"))[0] == 200
