"""Histograms whose buckets follow the data: exponential ones, which Prometheus keeps as native histograms."""

from __future__ import annotations

from math import ceil, ldexp, log2
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Metric,
)

from shadowmesh.processor.accumulators import Values
from shadowmesh.processor.histograms import Distribution, HistogramInstrument, metric

_MOST_BUCKETS = 160
"""As many as the SDK's exponential histograms have."""
_MOST_EXAMPLES = 20
"""As many as the SDK keeps of an exponential histogram."""
_FINEST, _COARSEST = 8, -4
"""What Prometheus takes (3.14). At -4 the buckets above hold every double there is."""


class Exponential(Distribution):
    """Bucket ``i`` holds values in (base^i, base^(i+1)], base = 2^(2^-scale), as the OpenTelemetry data model says."""

    __slots__ = ("counts", "offset", "scale", "zeros")

    def __init__(self) -> None:
        super().__init__()
        self.scale = _FINEST
        self.offset = 0
        self.counts: list[int] = []
        self.zeros = 0

    @property
    def count(self) -> int:
        """How many values were counted."""
        return self.zeros + sum(self.counts)

    def put(self, value: float) -> int:
        """Count the value in its bucket; neighbours share examples by turns."""
        if not value:
            self.zeros += 1
            return 0
        index = ceil(ldexp(log2(value), self.scale)) - 1
        place = index - self.offset
        if not 0 <= place < len(self.counts):
            index = self._make_room(index)
            place = index - self.offset
        self.counts[place] += 1
        return index % _MOST_EXAMPLES

    def _make_room(self, index: int) -> int:
        """Have a bucket for what is at this index now, and return its index then."""
        if not self.counts:
            self.offset = index
        low, high = min(index, self.offset), max(index, self.offset + len(self.counts) - 1)
        while high - low >= _MOST_BUCKETS and self.scale > _COARSEST:
            self._coarsen()
            index, low, high = index >> 1, low >> 1, high >> 1
        after = high - self.offset - len(self.counts) + 1
        self.counts = [0] * (self.offset - low) + self.counts + [0] * after
        self.offset = low
        return index

    def _coarsen(self) -> None:
        """Merge each two buckets."""
        padded = [0] * (self.offset & 1) + self.counts + [0]
        self.counts = [left + right for left, right in zip(padded[::2], padded[1::2], strict=False)]
        self.scale -= 1
        self.offset >>= 1


class ExponentialBucketHistogram(HistogramInstrument[Exponential]):
    """A histogram of at most 160 buckets, which become coarser as the values spread; 0 has a count of its own."""

    def collect(self, started_ns: int, at_ns: int, *, again: bool = False) -> Metric:
        """Return the distributions."""
        points = [
            ExponentialHistogramDataPoint(
                attributes=self.named(values),
                start_time_unix_nano=started_ns,
                time_unix_nano=at_ns,
                count=point.count,
                sum=point.total,
                scale=point.scale,
                zero_count=point.zeros,
                positive=Buckets(point.offset, tuple(point.counts)),
                negative=Buckets(0, []),
                flags=0,
                min=point.smallest,
                max=point.largest,
                exemplars=point.exemplars(again=again),
            )
            for values, point in self._counted()
        ]
        return metric(self, ExponentialHistogram(points, AggregationTemporality.CUMULATIVE))

    def restore(self, state: list[Any]) -> None:
        """
        Take the points over.

        Raises:
            ValueError: a point has more buckets, or finer or coarser ones, than there are here.
        """
        points: dict[Values | None, Exponential] = {}
        for values, scale, offset, counts, zeros, *sums in state:
            point = Exponential()
            point.scale, point.offset, point.zeros = int(scale), int(offset), int(zeros)
            if not _COARSEST <= point.scale <= _FINEST or len(counts) > _MOST_BUCKETS:
                raise ValueError(f"{self.name} has buckets that cannot be")
            point.counts = [int(count) for count in counts]
            point.total, point.smallest, point.largest = map(float, sums)
            points[self.key(values)] = point
        self._points = points

    def _empty(self) -> Exponential:
        return Exponential()

    def _held(self, point: Exponential) -> list[Any]:
        sums = map(float, (point.total, point.smallest, point.largest))
        # A copy: it is written out while counting goes on.
        return [point.scale, point.offset, list(point.counts), point.zeros, *sums]
