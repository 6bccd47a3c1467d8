"""
Counters and histograms of our own: the SDK's cost 7–10 µs a record, and a pair makes about 28 records.

An instrument knows the names of its attributes; a point is found by their values in the same order,
``None`` for an attribute that is absent. An instrument holds ``limit`` points; what comes after goes to one
overflow point, so that no sender can make us grow. Sums are cumulative from one start, and never go down.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

from shadowmesh import names

Values = tuple[str | None, ...]

# An OTLP sum is an int64 or a double; no honest sum comes near, and a hostile one must not break the export.
_MOST = 2**63


class Example(NamedTuple):
    """The span a recorded value is from, given out as the exemplar of its bucket."""

    at_ns: int
    trace_id: int
    span_id: int


class _Instrument(ABC):
    def __init__(self, name: str, unit: str, attributes: Sequence[str], *, limit: int) -> None:
        self.name = name
        self.unit = unit
        self.attributes = tuple(attributes)
        self._limit = limit

    @abstractmethod
    def collect(self, started_ns: int, at_ns: int) -> Metric:
        """Return every point, cumulative since the start; both times are wall-clock nanoseconds."""

    def _named(self, values: Values | None) -> dict[str, str | bool]:
        """Return the attributes of the point with these values; ``None`` is the overflow point."""
        if values is None:
            return {names.METRIC_OVERFLOW: True}
        return {name: str(value) for name, value in zip(self.attributes, values, strict=True) if value is not None}


class Counter(_Instrument):
    """A sum that only grows."""

    def __init__(self, name: str, unit: str, attributes: Sequence[str], *, limit: int) -> None:
        super().__init__(name, unit, attributes, limit=limit)
        self._sums: dict[Values | None, int | float] = {}

    def add(self, values: Values, amount: float) -> None:
        """Add an amount; one that is negative or no number changes nothing."""
        sums = self._sums
        key: Values | None = values
        if key not in sums and len(sums) >= self._limit:
            key = None
        total = sums.get(key, 0) + amount
        if amount >= 0 and total < _MOST:
            sums[key] = total

    def sums(self) -> dict[Values | None, int | float]:
        """Return every sum by its attributes' values; ``None`` is the overflow point."""
        return dict(self._sums)

    def collect(self, started_ns: int, at_ns: int) -> Metric:
        """Return the sums."""
        points = [
            NumberDataPoint(self._named(values), started_ns, at_ns, value) for values, value in self._sums.items()
        ]
        return _sum(self.name, self.unit, points, monotonic=True)


class _Distribution:
    """One distribution over explicit bounds, with the last example of each bucket since it was collected."""

    __slots__ = ("counts", "examples", "largest", "smallest", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.examples: dict[int, tuple[float, Example]] = {}
        self.total = 0.0
        self.smallest = math.inf
        self.largest = -math.inf


class BoundedHistogram(_Instrument):
    """A histogram with explicit bounds; a value equal to a bound is in the bucket below it, as OTLP says."""

    def __init__(self, name: str, unit: str, attributes: Sequence[str], bounds: Sequence[float], *, limit: int) -> None:
        super().__init__(name, unit, attributes, limit=limit)
        self.bounds = tuple(bounds)
        self._points: dict[Values | None, _Distribution] = {}

    def record(self, values: Values, value: float, example: Example) -> None:
        """Record a value; one that is negative or no number changes nothing."""
        point = self._points.get(values) or self._new_point(values)
        total = point.total + value
        if not (value >= 0 and total < _MOST):
            return
        bucket = bisect_left(self.bounds, value)
        point.total = total
        point.counts[bucket] += 1
        point.examples[bucket] = (value, example)
        point.smallest = min(point.smallest, value)
        point.largest = max(point.largest, value)

    def _new_point(self, values: Values) -> _Distribution:
        key = values if len(self._points) < self._limit else None
        return self._points.setdefault(key, _Distribution(len(self.bounds) + 1))

    def collect(self, started_ns: int, at_ns: int) -> Metric:
        """Return the distributions, and give each example out once."""
        points = [
            HistogramDataPoint(
                attributes=self._named(values),
                start_time_unix_nano=started_ns,
                time_unix_nano=at_ns,
                count=sum(point.counts),
                sum=point.total,
                bucket_counts=tuple(point.counts),
                explicit_bounds=self.bounds,
                min=point.smallest,
                max=point.largest,
                exemplars=[
                    Exemplar({}, value, example.at_ns, span_id=example.span_id, trace_id=example.trace_id)
                    for value, example in point.examples.values()
                ],
            )
            for values, point in self._points.items()
            if any(point.counts)
        ]
        for point in self._points.values():
            point.examples.clear()
        data = Histogram(points, AggregationTemporality.CUMULATIVE)
        return Metric(name=self.name, description="", unit=self.unit, data=data)


def up_down(name: str, unit: str, value: int, started_ns: int, at_ns: int) -> Metric:
    """Return the present value of an UpDownCounter without attributes."""
    return _sum(name, unit, [NumberDataPoint({}, started_ns, at_ns, value)], monotonic=False)


def _sum(name: str, unit: str, points: list[NumberDataPoint], *, monotonic: bool) -> Metric:
    data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=monotonic)
    return Metric(name=name, description="", unit=unit, data=data)
