"""
Histograms with explicit bounds, and what all histograms have in common.

Of each bucket the last example is kept. An export gives out those that are new to it; a scrape gives out the last of
each bucket whenever it comes, as the formats it is read in expect.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    Histogram,
    HistogramDataPoint,
    Metric,
)

from shadowmesh.processor.accumulators import MOST, Instrument, Values


class Example(NamedTuple):
    """The span a recorded value is from, given out as the exemplar of its bucket."""

    at_ns: int
    trace_id: int
    span_id: int


class Distribution:
    """What the points of both kinds have in common."""

    __slots__ = ("examples", "given_out", "largest", "smallest", "total")

    def __init__(self) -> None:
        self.examples: dict[int, tuple[float, Example]] = {}
        self.given_out: dict[int, tuple[float, Example]] = {}
        self.total = 0.0
        self.smallest = math.inf
        self.largest = -math.inf

    @property
    @abstractmethod
    def count(self) -> int:
        """How many values were counted."""

    @abstractmethod
    def put(self, value: float) -> int:
        """Count a good value, and return where its example is kept."""

    def record(self, value: float, example: Example) -> None:
        """Count a value; one that is negative, no number or too large for any sum changes nothing."""
        total = self.total + value
        if value >= 0 and total < MOST:
            self.total = total
            if value < self.smallest:  # noqa: PLR1730 - min() takes four times as long, 18 times a pair
                self.smallest = value
            if value > self.largest:  # noqa: PLR1730
                self.largest = value
            self.examples[self.put(value)] = value, example

    def exemplars(self, *, again: bool) -> list[Exemplar]:
        """Return the examples that were not given out, or all there are ``again``."""
        if again:
            examples = self.given_out | self.examples
        else:
            examples, self.examples = self.examples, {}
            self.given_out |= examples
        return [
            Exemplar({}, value, example.at_ns, span_id=example.span_id, trace_id=example.trace_id)
            for value, example in examples.values()
        ]


Shape = TypeVar("Shape", bound=Distribution)


class HistogramInstrument(Instrument[Shape]):
    """Counts values by their size."""

    def record(self, values: Values, value: float, example: Example) -> None:
        """Record a value at the point with these values."""
        self.point(values).record(value, example)

    def state(self) -> list[Any]:
        """Return what was counted of every point."""
        return [[values, *self._held(point)] for values, point in self._counted()]

    @abstractmethod
    def _held(self, point: Shape) -> list[Any]:
        """Return what one point has counted."""

    def _counted(self) -> list[tuple[Values | None, Shape]]:
        """Return the points that have counted something."""
        return [(values, point) for values, point in self._points.items() if point.count]


class Bounded(Distribution):
    """A point with explicit bounds."""

    __slots__ = ("bounds", "counts")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        super().__init__()
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def put(self, value: float) -> int:
        """Count the value in its bucket, which keeps one example."""
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        return bucket


class BoundedHistogram(HistogramInstrument[Bounded]):
    """A histogram with explicit bounds; a value equal to a bound is in the bucket below it, as OTLP says."""

    def __init__(
        self,
        name: str,
        unit: str,
        attributes: Sequence[str],
        bounds: Sequence[float],
        *,
        limit: int,
        description: str = "",
    ) -> None:
        super().__init__(name, unit, attributes, limit=limit, description=description)
        self.bounds = tuple(bounds)

    def collect(self, started_ns: int, at_ns: int, *, again: bool = False) -> Metric:
        """Return the distributions."""
        points = [
            HistogramDataPoint(
                attributes=self.named(values),
                start_time_unix_nano=started_ns,
                time_unix_nano=at_ns,
                count=point.count,
                sum=point.total,
                bucket_counts=tuple(point.counts),
                explicit_bounds=self.bounds,
                min=point.smallest,
                max=point.largest,
                exemplars=point.exemplars(again=again),
            )
            for values, point in self._counted()
        ]
        return metric(self, Histogram(points, AggregationTemporality.CUMULATIVE))

    def restore(self, state: list[Any]) -> None:
        """Take the points over; other bounds than ours are refused."""
        points: dict[Values | None, Bounded] = {}
        for values, bounds, counts, *sums in state:
            point = self._empty()
            if tuple(bounds) != self.bounds or len(counts) != len(point.counts):
                raise ValueError(f"{self.name} has other bounds")
            point.counts = [int(count) for count in counts]
            point.total, point.smallest, point.largest = map(float, sums)
            points[self.key(values)] = point
        self._points = points

    def _empty(self) -> Bounded:
        return Bounded(self.bounds)

    def _held(self, point: Bounded) -> list[Any]:
        sums = map(float, (point.total, point.smallest, point.largest))
        # A copy: it is written out while counting goes on.
        return [self.bounds, list(point.counts), *sums]


def metric(of: Instrument[Any], data: Histogram | ExponentialHistogram) -> Metric:
    """Return the metric of an instrument."""
    return Metric(name=of.name, description=of.description, unit=of.unit, data=data)
