"""Exponential histograms: OTLP's buckets, bounded in number, near the exact quantiles, and Prometheus' scales."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import Metric

from shadowmesh.processor.exponential import ExponentialBucketHistogram
from shadowmesh.processor.histograms import Example

SPAN = Example(at_ns=5, trace_id=0xABC, span_id=0xDEF)
POSITIVE = st.floats(min_value=5e-324, max_value=1e17)


def recorded(*values: float) -> ExponentialBucketHistogram:
    histogram = ExponentialBucketHistogram("h", "s", ("a",), limit=10)
    for value in values:
        histogram.record(("x",), value, SPAN)
    return histogram


def point(metric: Metric) -> Any:
    (one,) = metric.data.data_points
    return one


def bucket_of(value: float, scale: int) -> int:
    """The data model's own words, with integers where floats would round: the bucket whose upper bound is next."""
    return int(np.ceil(np.ldexp(np.log2(value), scale))) - 1


@given(values=st.lists(st.one_of(POSITIVE, st.just(0.0)), min_size=1, max_size=200))
def test_every_value_is_in_the_bucket_that_the_scale_says(values: list[float]) -> None:
    one = point(recorded(*values).collect(1, 2))
    found = [
        one.positive.offset + place for place, count in enumerate(one.positive.bucket_counts) for _ in range(count)
    ]
    assert one.zero_count == values.count(0.0)
    assert one.count == len(values)
    assert len(one.positive.bucket_counts) <= 160
    assert -4 <= one.scale <= 8
    # Buckets that were merged twice are those of the coarser scale: floor(i / 2) of floor(i / 2) is floor(i / 4).
    assert found == sorted(bucket_of(value, 8) >> (8 - one.scale) for value in values if value)


@given(first=st.lists(POSITIVE, min_size=1, max_size=50), then=st.lists(POSITIVE, min_size=1, max_size=50))
def test_what_was_saved_and_restored_counts_on_as_if_nothing_had_happened(
    first: list[float], then: list[float]
) -> None:
    whole, before = recorded(*first, *then), recorded(*first)
    after = ExponentialBucketHistogram("h", "s", ("a",), limit=10)
    after.restore(json.loads(json.dumps(before.state())))
    for value in then:
        after.record(("x",), value, SPAN)
    one, other = point(whole.collect(1, 2)), point(after.collect(1, 2))
    assert (one.scale, one.positive, one.count, one.min, one.max) == (
        other.scale, other.positive, other.count, other.min, other.max,
    )  # fmt: skip
    assert one.sum == pytest.approx(other.sum)


def test_quantiles_are_within_the_width_of_a_bucket() -> None:
    values = np.random.default_rng(1).lognormal(0.0, 0.5, 20_000)
    one = point(recorded(*values.tolist()).collect(1, 2))
    base = 2 ** (2**-one.scale)
    cumulative = np.cumsum(one.positive.bucket_counts)
    for quantile in (0.5, 0.95, 0.99):
        place = int(np.searchsorted(cumulative, quantile * len(values)))
        assert base ** (one.positive.offset + place) <= np.quantile(values, quantile) * base
        assert base ** (one.positive.offset + place + 1) >= np.quantile(values, quantile) / base
    assert base < 1.05


def test_examples_are_given_out_once_and_are_few() -> None:
    histogram = recorded(*np.geomspace(1e-6, 1e6, 3000).tolist())
    assert 0 < len(point(histogram.collect(1, 2)).exemplars) <= 160
    assert point(histogram.collect(1, 2)).exemplars == []


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_value_that_is_none_changes_nothing(value: float) -> None:
    assert recorded(value).collect(1, 2).data.data_points == []
    assert point(recorded(value, 2.0).collect(1, 2)).sum == 2.0
