"""The interceptor's own metrics: names, units, attributes, and values read when they are collected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, Sum
from opentelemetry.sdk.resources import Resource

from shadowmesh import names
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.live_gate import FunnelKey, LossKey
from shadowmesh.telemetry.metrics import MirrorMetrics

FUNNEL: Counter[FunnelKey] = Counter(
    {
        FunnelKey("summaries", "a", "mirrored", ""): 7,
        FunnelKey("summaries", "a", "not_sampled", ""): 93,
        FunnelKey("summaries", "a", "dropped", "queue_full"): 2,
        FunnelKey("summaries", "b", "disabled", "marked"): 1,
    }
)


REMAINING = (
    Remaining("summaries", "a", "per_day", "USD", 20.0, 5.5),
    Remaining("summaries", "a", "tokens", "", 1000.0, 400.0),
    Remaining("summaries", "b", "pairs", "", 10.0, 0.0),
)


class Sources:
    """What the metrics are read from."""

    def __init__(self) -> None:
        self.funnel = Counter(FUNNEL)
        self.active = {("summaries", "a"): 3, ("summaries", "b"): 0}
        self.queued = 5


@pytest.fixture
def sources() -> Sources:
    return Sources()


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def metrics(reader: InMemoryMetricReader, sources: Sources) -> Iterator[MirrorMetrics]:
    made = MirrorMetrics(
        reader,
        Resource({"service.instance.id": "i-1"}),
        funnel=lambda: sources.funnel,
        active=lambda: sources.active,
        queued=lambda: sources.queued,
        lost=lambda: {LossKey("summaries", "a", "export"): 4},
        closed=lambda: {("summaries", "a"): "circuit_open", ("summaries", "b"): "", ("summaries", "c"): "budget"},
        remaining=lambda: REMAINING,
        reloads=lambda: {names.ReloadResult.APPLIED: 2},
        harm=lambda: "latency",
    )
    yield made
    made.close(5)


def collected(reader: InMemoryMetricReader) -> dict[str, Any]:
    data = reader.get_metrics_data()
    assert data is not None
    (resource,) = data.resource_metrics
    assert resource.resource.attributes["service.instance.id"] == "i-1"
    (scope,) = resource.scope_metrics
    assert (scope.scope.name, scope.scope.schema_url) == (names.SCOPE_INTERCEPTOR, names.SCHEMA_URL)
    return {metric.name: metric for metric in scope.metrics}


@pytest.mark.usefixtures("metrics")
def test_a_breaker_is_open_or_it_is_not_whatever_else_closes_a_target(reader: InMemoryMetricReader) -> None:
    metric = collected(reader)["shadowmesh.mirror.breaker.state"]
    assert (metric.unit, type(metric.data)) == ("1", Gauge)
    states = {point.attributes["shadowmesh.target.name"]: point.value for point in metric.data.data_points}
    assert states == {"a": 1, "b": 0, "c": 0}


def points(metric: Any) -> dict[frozenset[tuple[str, Any]], int]:
    assert isinstance(metric.data, Sum)
    return {frozenset((point.attributes or {}).items()): int(point.value) for point in metric.data.data_points}


@pytest.mark.usefixtures("metrics")
def test_names_units_and_kinds(reader: InMemoryMetricReader) -> None:
    found = {
        name: (metric.unit, metric.data.is_monotonic, int(metric.data.aggregation_temporality))
        for name, metric in collected(reader).items()
        if isinstance(metric.data, Sum)
    }
    assert found == {
        "shadowmesh.mirror.requests": ("{request}", True, 2),
        "shadowmesh.mirror.active": ("{request}", False, 2),
        "shadowmesh.mirror.queue.size": ("{request}", False, 2),
        "shadowmesh.mirror.lost": ("{request}", True, 2),
        "shadowmesh.mirror.config.reloads": ("{reload}", True, 2),
        "shadowmesh.mirror.harm.stops": ("{stop}", True, 2),
    }
    assert all(metric.description for metric in collected(reader).values())


@pytest.mark.usefixtures("metrics")
def test_every_line_of_the_funnel_is_a_point_with_a_reason_only_where_there_is_one(
    reader: InMemoryMetricReader,
) -> None:
    def line(target: str, decision: str, **more: str) -> frozenset[tuple[str, Any]]:
        base = {
            "shadowmesh.experiment.name": "summaries",
            "shadowmesh.target.name": target,
            "shadowmesh.mirror.decision": decision,
        }
        return frozenset((base | more).items())

    assert points(collected(reader)["shadowmesh.mirror.requests"]) == {
        line("a", "mirrored"): 7,
        line("a", "not_sampled"): 93,
        line("a", "dropped", **{"shadowmesh.mirror.drop_reason": "queue_full"}): 2,
        line("b", "disabled", **{"shadowmesh.mirror.drop_reason": "marked"}): 1,
    }


@pytest.mark.usefixtures("metrics")
def test_what_is_known_to_be_lost_says_by_whom_and_a_stop_by_harm_says_what_showed_it(
    reader: InMemoryMetricReader,
) -> None:
    found = collected(reader)
    lost = {
        "shadowmesh.experiment.name": "summaries",
        "shadowmesh.target.name": "a",
        "shadowmesh.mirror.loss_reason": "export",
    }
    assert points(found["shadowmesh.mirror.lost"]) == {frozenset(lost.items()): 4}
    result = "shadowmesh.mirror.config.reload_result"
    assert points(found["shadowmesh.mirror.config.reloads"]) == {
        frozenset({(result, "applied")}): 2,
        frozenset({(result, "refused")}): 0,
    }
    assert points(found["shadowmesh.mirror.harm.stops"]) == {
        frozenset({("shadowmesh.mirror.harm.reason", "latency")}): 1,
        frozenset({("shadowmesh.mirror.harm.reason", "errors")}): 0,
    }


@pytest.mark.usefixtures("metrics")
def test_values_are_those_of_the_moment_of_collection(reader: InMemoryMetricReader, sources: Sources) -> None:
    def active() -> dict[str, int]:
        found = points(collected(reader)["shadowmesh.mirror.active"])
        return {dict(attributes)["shadowmesh.target.name"]: value for attributes, value in found.items()}

    assert active() == {"a": 3, "b": 0}
    assert points(collected(reader)["shadowmesh.mirror.queue.size"]) == {frozenset(): 5}
    sources.active["summaries", "b"], sources.queued = 4, 0
    sources.funnel[FunnelKey("summaries", "a", "mirrored", "")] += 10
    assert active() == {"a": 3, "b": 4}
    found = collected(reader)
    assert points(found["shadowmesh.mirror.queue.size"]) == {frozenset(): 0}
    assert 17 in points(found["shadowmesh.mirror.requests"]).values()


def test_closing_and_flushing_more_than_once_is_safe(metrics: MirrorMetrics) -> None:
    assert metrics.flush(5)
    metrics.close(5)
    metrics.close(5)
    assert metrics.flush(5)
