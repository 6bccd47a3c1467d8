"""Counters and histograms: OTLP's rules, bounded, cumulative, with exemplars."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from shadowmesh.processor.accumulators import Counter, observed
from shadowmesh.processor.histograms import BoundedHistogram, Example

SPAN = Example(at_ns=5, trace_id=0xABC, span_id=0xDEF)
BOUNDS = (0.0, 1.0, 10.0)


def points(metric: Metric) -> list[Any]:
    return list(metric.data.data_points)


def histogram(limit: int = 100) -> BoundedHistogram:
    return BoundedHistogram("h", "s", ("a", "b"), BOUNDS, limit=limit)


def test_a_counter_adds_up_per_attribute_set_and_leaves_absent_attributes_out() -> None:
    counter = Counter("c", "{x}", ("a", "b"), limit=100)
    counter.add(("1", None), 2)
    counter.add(("1", None), 3)
    counter.add(("1", "2"), 4)
    metric = counter.collect(10, 20)
    assert (metric.name, metric.unit) == ("c", "{x}")
    assert metric.data.is_monotonic is True  # type: ignore[union-attr]
    assert [(one.attributes, one.value) for one in points(metric)] == [({"a": "1"}, 5), ({"a": "1", "b": "2"}, 4)]
    assert {(one.start_time_unix_nano, one.time_unix_nano) for one in points(metric)} == {(10, 20)}


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf"), 2.0**63])
def test_an_amount_that_is_none_changes_no_sum(amount: float) -> None:
    counter = Counter("c", "{x}", ("a",), limit=100)
    counter.add(("1",), 1)
    counter.add(("1",), amount)
    shape = histogram()
    shape.record(("1", None), 1.0, SPAN)
    shape.record(("1", None), amount, SPAN)
    assert points(counter.collect(1, 2))[0].value == 1
    assert points(shape.collect(1, 2))[0].count == 1


def test_a_refused_value_alone_makes_no_point() -> None:
    shape = histogram()
    shape.record(("1", None), float("nan"), SPAN)
    assert points(shape.collect(1, 2)) == []


def test_beyond_the_limit_one_overflow_point_takes_the_rest() -> None:
    counter, shape = Counter("c", "{x}", ("a", "b"), limit=3), histogram(limit=3)
    for n in range(10):
        counter.add((str(n), None), 1)
        shape.record((str(n), None), 1.0, SPAN)
    counter.add(("0", None), 1)
    sums = {str(one.attributes): one.value for one in points(counter.collect(1, 2))}
    assert sums == {"{'a': '0'}": 2, "{'a': '1'}": 1, "{'a': '2'}": 1, "{'otel.metric.overflow': True}": 7}
    assert [one.count for one in points(shape.collect(1, 2))] == [1, 1, 1, 7]
    assert points(shape.collect(1, 2))[-1].attributes == {"otel.metric.overflow": True}


def test_each_example_is_given_out_once_and_the_rest_is_cumulative() -> None:
    shape = histogram()
    shape.record(("1", None), 0.5, Example(1, 1, 1))
    shape.record(("1", None), 0.6, SPAN)
    (first,) = points(shape.collect(10, 20))
    (example,) = first.exemplars
    assert (example.value, example.trace_id, example.span_id, example.time_unix_nano) == (0.6, 0xABC, 0xDEF, 5)
    shape.record(("1", None), 5.0, SPAN)
    (second,) = points(shape.collect(10, 30))
    assert [one.value for one in second.exemplars] == [5.0]
    assert (first.count, second.count, second.start_time_unix_nano) == (2, 3, 10)


def test_an_observed_counter_is_a_sum_that_may_fall() -> None:
    metric = observed("size", "{span}", 3, 10, 20)
    assert metric.data.is_monotonic is False  # type: ignore[union-attr]
    assert points(metric)[0].value == 3


@given(st.lists(st.floats(0, 100), min_size=1))
def test_a_histogram_says_what_the_sdks_own_would(values: list[float]) -> None:
    reader = InMemoryMetricReader()
    view = View(instrument_name="h", aggregation=ExplicitBucketHistogramAggregation(boundaries=BOUNDS))
    provider = MeterProvider([reader], views=[view], shutdown_on_exit=False)
    theirs = provider.get_meter("m").create_histogram("h")
    ours = histogram()
    for value in values:
        theirs.record(value)
        ours.record((None, None), value, SPAN)
    data = reader.get_metrics_data()
    assert data is not None
    (expected,) = points(data.resource_metrics[0].scope_metrics[0].metrics[0])
    (shown,) = points(ours.collect(1, 2))
    for name in ("count", "min", "max"):
        assert getattr(shown, name) == getattr(expected, name)
    assert list(shown.bucket_counts) == list(expected.bucket_counts)
    assert shown.sum == pytest.approx(expected.sum)


def test_the_sdks_encoder_takes_what_is_collected() -> None:
    counter, shape = Counter("c", "{x}", ("a",), limit=1), histogram()
    counter.add(("1",), 1.5)
    counter.add(("2",), 1)
    shape.record(("1", "2"), 1, SPAN)
    metrics = [counter.collect(1, 2), shape.collect(1, 2), observed("u", "{span}", 1, 1, 2)]
    scope = ScopeMetrics(InstrumentationScope("s"), metrics, "")
    request = encode_metrics(MetricsData([ResourceMetrics(Resource({}), [scope], "")]))
    encoded = request.resource_metrics[0].scope_metrics[0].metrics
    assert [one.name for one in encoded] == ["c", "h", "u"]
    exemplar = encoded[1].histogram.data_points[0].exemplars[0]
    assert (exemplar.trace_id, exemplar.span_id) == ((0xABC).to_bytes(16, "big"), (0xDEF).to_bytes(8, "big"))
