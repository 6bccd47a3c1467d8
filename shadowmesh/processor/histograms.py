"""
Histograms with explicit bounds, and what all histograms have in common.

Values are appended and counted by the thousand, with numpy: a value costs a fraction of a microsecond. Of each bucket
the last example since the collection before is kept, and given out once.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    Histogram,
    HistogramDataPoint,
    Metric,
)

from shadowmesh.processor.accumulators import MOST, Instrument, Values

_FOLD = 1024
"""How many values of one point wait to be counted together."""


class Example(NamedTuple):
    """The span a recorded value is from, given out as the exemplar of its bucket."""

    at_ns: int
    trace_id: int
    span_id: int


class Distribution:
    """What the points of both kinds have in common."""

    __slots__ = ("examples", "largest", "pending", "smallest", "total")

    def __init__(self) -> None:
        self.pending: list[tuple[float, Example]] = []
        self.examples: dict[int, tuple[float, Example]] = {}
        self.total = 0.0
        self.smallest = math.inf
        self.largest = -math.inf

    @property
    def count(self) -> int:
        """How many values were counted."""
        raise NotImplementedError

    def fold(self) -> None:
        """Count what waits; a value that is negative, no number or too large for any sum changes nothing."""
        pending, self.pending = self.pending, []
        if not pending:
            return
        values = np.fromiter((value for value, _ in pending), np.float64, len(pending))
        good = (values >= 0) & (values < MOST)
        if not good.all():
            pending = [one for one, fits in zip(pending, good.tolist(), strict=True) if fits]
            values = values[good]
        while pending and self.total + float(values.sum()) >= MOST:
            pending, values = pending[:-1], values[:-1]
        if not pending:
            return
        self.total += float(values.sum())
        self.smallest = min(self.smallest, float(values.min()))
        self.largest = max(self.largest, float(values.max()))
        buckets = self.put(values)
        # Later values of a bucket take the place of earlier ones.
        last = dict(zip(buckets.tolist(), range(len(pending)), strict=True))
        self.examples |= {bucket: pending[place] for bucket, place in last.items()}

    def put(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Count good values, and return the bucket of each."""
        raise NotImplementedError

    def exemplars(self) -> list[Exemplar]:
        """Return the examples and forget them."""
        examples, self.examples = self.examples, {}
        return [
            Exemplar({}, value, example.at_ns, span_id=example.span_id, trace_id=example.trace_id)
            for value, example in examples.values()
        ]


class HistogramInstrument(Instrument):
    """Finds the point of a value."""

    def __init__(self, name: str, unit: str, attributes: Sequence[str], *, limit: int) -> None:
        super().__init__(name, unit, attributes, limit=limit)
        self._points: dict[Values | None, Any] = {}

    def record(self, values: Values, value: float, example: Example) -> None:
        """Record a value; one that is negative or no number changes nothing."""
        point = self._points.get(values) or self._new_point(values)
        pending = point.pending
        pending.append((value, example))
        if len(pending) >= _FOLD:
            point.fold()

    def state(self) -> list[Any]:
        """Return what was counted of every point; examples are not kept."""
        return [[values, *self._held(point)] for values, point in self._folded()]

    @abstractmethod
    def _empty(self) -> Any:
        """Return a point that has counted nothing."""

    @abstractmethod
    def _held(self, point: Any) -> list[Any]:
        """Return what one point has counted."""

    def _folded(self) -> list[tuple[Values | None, Any]]:
        """Return the points that have counted something."""
        for point in self._points.values():
            point.fold()
        return [(values, point) for values, point in self._points.items() if point.count]

    def _new_point(self, values: Values) -> Any:
        key = values if len(self._points) < self._limit else None
        point = self._points.get(key)
        if point is None:
            point = self._points[key] = self._empty()
        return point


class _Bounded(Distribution):
    __slots__ = ("bounds", "counts")

    def __init__(self, bounds: NDArray[np.float64]) -> None:
        super().__init__()
        self.bounds = bounds
        self.counts = np.zeros(len(bounds) + 1, np.int64)

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    def put(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        buckets = np.searchsorted(self.bounds, values, side="left")
        self.counts += np.bincount(buckets, minlength=len(self.counts))
        return buckets


class BoundedHistogram(HistogramInstrument):
    """A histogram with explicit bounds; a value equal to a bound is in the bucket below it, as OTLP says."""

    def __init__(self, name: str, unit: str, attributes: Sequence[str], bounds: Sequence[float], *, limit: int) -> None:
        super().__init__(name, unit, attributes, limit=limit)
        self.bounds = tuple(bounds)

    def collect(self, started_ns: int, at_ns: int) -> Metric:
        """Return the distributions, and give each example out once."""
        points = [
            HistogramDataPoint(
                attributes=self.named(values),
                start_time_unix_nano=started_ns,
                time_unix_nano=at_ns,
                count=point.count,
                sum=point.total,
                bucket_counts=tuple(point.counts.tolist()),
                explicit_bounds=self.bounds,
                min=point.smallest,
                max=point.largest,
                exemplars=point.exemplars(),
            )
            for values, point in self._folded()
        ]
        return metric(self, Histogram(points, AggregationTemporality.CUMULATIVE))

    def restore(self, state: list[Any]) -> None:
        """Take the points over; other bounds than ours are refused."""
        points: dict[Values | None, _Bounded] = {}
        for values, bounds, counts, *sums in state:
            point = _Bounded(np.asarray(self.bounds))
            if tuple(bounds) != self.bounds or len(counts) != len(point.counts):
                raise ValueError(f"{self.name} has other bounds")
            point.counts = np.array(counts, np.int64)
            point.total, point.smallest, point.largest = map(float, sums)
            points[self.key(values)] = point
        self._points = points

    def _empty(self) -> _Bounded:
        return _Bounded(np.asarray(self.bounds))

    def _held(self, point: _Bounded) -> list[Any]:
        return [self.bounds, point.counts.tolist(), point.total, point.smallest, point.largest]


def metric(of: Instrument, data: Histogram | ExponentialHistogram) -> Metric:
    """Return the metric of an instrument."""
    return Metric(name=of.name, description="", unit=of.unit, data=data)
