"""The interceptor's own metrics: names, units, attributes, and values read when they are collected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, Sum
from opentelemetry.sdk.resources import Resource
from support.metrics import attributes_of, kind_of, points_of, received, value_of

from shadowmesh import names
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.draws import Drawn, DrawnKey
from shadowmesh.policy.funnel import FunnelKey, LossKey
from shadowmesh.policy.skew import KeyFigures
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


EXPERIMENT = {"shadowmesh.experiment.name": "summaries"}
A, B, C = ({**EXPERIMENT, "shadowmesh.target.name": name} for name in "abc")
DECISION, REASON = "shadowmesh.mirror.decision", "shadowmesh.mirror.drop_reason"
MONEY = {"shadowmesh.mirror.budget.limit": "per_day", "shadowmesh.cost.currency": "USD"}
DIGEST = "shadowmesh.config.digest"
RELOAD, HARM = "shadowmesh.mirror.config.reload_result", "shadowmesh.mirror.harm.reason"

# name → (instrument, unit, [(attributes, value)]), for what the fixture `metrics` is read from.
GOLDEN: dict[str, tuple[str, str, list[tuple[dict[str, str], float]]]] = {
    "shadowmesh.mirror.requests": (
        "Counter",
        "{request}",
        [
            ({**A, DECISION: "mirrored"}, 7),
            ({**A, DECISION: "not_sampled"}, 93),
            ({**A, DECISION: "dropped", REASON: "queue_full"}, 2),
            ({**B, DECISION: "disabled", REASON: "marked"}, 1),
        ],
    ),
    "shadowmesh.mirror.active": ("UpDownCounter", "{request}", [(A, 3), (B, 0)]),
    "shadowmesh.mirror.queue.size": ("UpDownCounter", "{request}", [({}, 5)]),
    "shadowmesh.mirror.lost": ("Counter", "{request}", [({**A, "shadowmesh.mirror.loss_reason": "export"}, 4)]),
    "shadowmesh.mirror.breaker.state": ("Gauge", "1", [(A, 1), (B, 0), (C, 0)]),
    "shadowmesh.mirror.config.reloads": ("Counter", "{reload}", [({RELOAD: "applied"}, 2), ({RELOAD: "refused"}, 0)]),
    "shadowmesh.mirror.budget.remaining": ("Gauge", "{currency}", [({**A, **MONEY}, 5.5)]),
    "shadowmesh.mirror.budget.tokens": ("Gauge", "{token}", [(A, 400)]),
    "shadowmesh.mirror.time_box.pairs": ("Gauge", "{pair}", [(B, 0)]),
    "shadowmesh.mirror.harm.stops": ("Counter", "{stop}", [({HARM: "latency"}, 1), ({HARM: "errors"}, 0)]),
    "shadowmesh.mirror.sampling.top_key_share": ("Gauge", "1", [(EXPERIMENT, 0.25)]),
    "shadowmesh.mirror.sampling.missing_keys": (
        "Counter",
        "{request}",
        [(EXPERIMENT, 3), ({"shadowmesh.experiment.name": "quiet"}, 0)],
    ),
    "shadowmesh.mirror.sampling.eligible": ("Counter", "{request}", [({**A, DIGEST: "c0ffee"}, 80)]),
    "shadowmesh.mirror.sampling.sampled": ("Counter", "{request}", [({**A, DIGEST: "c0ffee"}, 21)]),
    "shadowmesh.mirror.sampling.expected": ("Counter", "{request}", [({**A, DIGEST: "c0ffee"}, 20.5)]),
}


class Sources:
    """What the metrics are read from."""

    def __init__(self) -> None:
        self.funnel = Counter(FUNNEL)
        self.active = {("summaries", "a"): 3, ("summaries", "b"): 0}
        self.queued = 5
        self.draws = {DrawnKey("summaries", "a", "c0ffee"): Drawn(80, 21, 20.5)}

    def counted(self) -> dict[DrawnKey, Drawn]:
        """Return the draws so far; while they are read, calls go on."""
        now = dict(self.draws)
        self.draws = {key: Drawn(2 * sums.eligible, 2 * sums.sampled, 2 * sums.expected) for key, sums in now.items()}
        return now


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
        sampling=lambda: {"summaries": KeyFigures(0.25, 3), "quiet": KeyFigures(None, 0)},
        draws=sources.counted,
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


def wire(reader: InMemoryMetricReader) -> dict[str, Any]:
    """Return the metrics as they come out of OTLP's bytes."""
    data = reader.get_metrics_data()
    assert data is not None
    return received(data)


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
def test_every_metric_of_the_contract_and_no_other_is_sent(reader: InMemoryMetricReader) -> None:
    assert wire(reader).keys() == GOLDEN.keys()


@pytest.mark.usefixtures("metrics")
@pytest.mark.parametrize("name", GOLDEN)
def test_a_metric_on_the_wire_has_the_instrument_unit_attributes_and_values_of_the_contract(
    reader: InMemoryMetricReader, name: str
) -> None:
    metric = wire(reader)[name]
    kind, unit, expected = GOLDEN[name]
    assert (kind_of(metric), metric.unit) == (kind, unit)
    assert metric.description
    shown = {frozenset(attributes_of(point).items()): value_of(point) for point in points_of(metric)}
    assert shown == {frozenset(attributes.items()): value for attributes, value in expected}


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
def test_the_share_of_a_key_is_said_where_it_is_known_and_missing_keys_from_the_start(
    reader: InMemoryMetricReader,
) -> None:
    found = collected(reader)
    share = found["shadowmesh.mirror.sampling.top_key_share"]
    assert (share.unit, type(share.data)) == ("1", Gauge)
    assert [(dict(point.attributes), point.value) for point in share.data.data_points] == [
        ({"shadowmesh.experiment.name": "summaries"}, 0.25)
    ]
    assert points(found["shadowmesh.mirror.sampling.missing_keys"]) == {
        frozenset({("shadowmesh.experiment.name", "summaries")}): 3,
        frozenset({("shadowmesh.experiment.name", "quiet")}): 0,
    }


@pytest.mark.usefixtures("metrics")
def test_how_calls_were_drawn_is_said_as_of_one_moment(reader: InMemoryMetricReader) -> None:
    about = frozenset({**A, DIGEST: "c0ffee"}.items())
    for times in (1, 2):
        found = collected(reader)
        said = {name: points(found[f"shadowmesh.mirror.sampling.{name}"])[about] for name in ("eligible", "sampled")}
        assert said == {"eligible": 80 * times, "sampled": 21 * times}
        assert points(found["shadowmesh.mirror.sampling.expected"])[about] == int(20.5 * times)


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
