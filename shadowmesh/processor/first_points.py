"""
What a series was before it first appeared.

Prometheus sees no increase in a counter that appears with something in it: the first failure of a target, the first
pair of an experiment would be in no ``increase()``. So a new series comes with a point that says 0 at the collection
before, when that was true.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics.export import (
    Buckets,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)


def with_first_points(metric: Metric, begun: Collection[Mapping[str, Any]], at_ns: int) -> Metric:
    """Return a metric whose new series, those with the attributes ``begun``, were 0 at that wall-clock time."""
    if not begun:
        return metric
    new = {frozenset(attributes.items()) for attributes in begun}
    data: Any = metric.data
    points: list[Any] = []
    for point in data.data_points:
        if frozenset((point.attributes or {}).items()) in new and at_ns < point.time_unix_nano:
            points.append(_nothing(point, at_ns))
        points.append(point)
    return replace(metric, data=replace(data, data_points=points))


def _nothing(point: Any, at_ns: int) -> NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint:
    if isinstance(point, NumberDataPoint):
        return replace(point, time_unix_nano=at_ns, value=0)
    # Of no values there is neither a smallest nor a largest one.
    empty: dict[str, Any] = {"count": 0, "sum": 0.0, "min": None, "max": None, "exemplars": []}
    if isinstance(point, HistogramDataPoint):
        return replace(point, time_unix_nano=at_ns, bucket_counts=(0,) * len(point.bucket_counts), **empty)
    exponential: ExponentialHistogramDataPoint = replace(
        point, time_unix_nano=at_ns, zero_count=0, positive=Buckets(0, ()), **empty
    )
    return exponential
