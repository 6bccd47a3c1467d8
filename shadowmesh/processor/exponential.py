"""Histograms whose buckets follow the data: exponential ones, which Prometheus keeps as native histograms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
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
_FINEST, _COARSEST = 8, -4
"""What Prometheus takes (3.14). At -4 the buckets above hold every double there is."""


class _Exponential(Distribution):
    """Bucket ``i`` holds values in (base^i, base^(i+1)], base = 2^(2^-scale), as the OpenTelemetry data model says."""

    __slots__ = ("counts", "offset", "scale", "zeros")

    def __init__(self) -> None:
        super().__init__()
        self.scale = _FINEST
        self.offset = 0
        self.counts = np.zeros(0, np.int64)
        self.zeros = 0

    @property
    def count(self) -> int:
        return self.zeros + int(self.counts.sum())

    def put(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        positive = values > 0
        self.zeros += int((~positive).sum())
        indices = np.zeros(len(values), np.int64)
        if positive.any():
            logs = np.log2(values[positive])
            found = self._indices(logs)
            low, high = int(found.min()), int(found.max())
            if self.counts.size:
                low, high = min(low, self.offset), max(high, self.offset + self.counts.size - 1)
            while high - low >= _MOST_BUCKETS and self.scale > _COARSEST:
                self._coarsen()
                low, high = low >> 1, high >> 1
            found = self._indices(logs)
            self._stretch(low, high)
            self.counts += np.bincount(found - self.offset, minlength=self.counts.size)
            indices[positive] = found
        # An example is for a reader, whom it serves in whatever bucket it was; at most one for each of ours.
        return np.asarray(indices % _MOST_BUCKETS)

    def _indices(self, logs: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.asarray(np.ceil(np.ldexp(logs, self.scale)) - 1, np.int64)

    def _coarsen(self) -> None:
        """Merge each two buckets."""
        self.scale -= 1
        if self.counts.size:
            indices = np.arange(self.offset, self.offset + self.counts.size) >> 1
            counts = np.bincount(indices - indices[0], weights=self.counts)
            self.offset, self.counts = int(indices[0]), counts.astype(np.int64)

    def _stretch(self, low: int, high: int) -> None:
        if self.counts.size:
            left, right = self.offset - low, high - self.offset - self.counts.size + 1
            self.counts = np.pad(self.counts, (left, right))
        else:
            self.counts = np.zeros(high - low + 1, np.int64)
        self.offset = low


class ExponentialBucketHistogram(HistogramInstrument):
    """A histogram of at most 160 buckets, which become coarser as the values spread; 0 has a count of its own."""

    def collect(self, started_ns: int, at_ns: int) -> Metric:
        """Return the distributions, and give each example out once."""
        points = [
            ExponentialHistogramDataPoint(
                attributes=self.named(values),
                start_time_unix_nano=started_ns,
                time_unix_nano=at_ns,
                count=point.count,
                sum=point.total,
                scale=point.scale,
                zero_count=point.zeros,
                positive=Buckets(point.offset, point.counts.tolist()),
                negative=Buckets(0, []),
                flags=0,
                min=point.smallest,
                max=point.largest,
                exemplars=point.exemplars(),
            )
            for values, point in self._folded()
        ]
        return metric(self, ExponentialHistogram(points, AggregationTemporality.CUMULATIVE))

    def restore(self, state: list[Any]) -> None:
        """Take the points over."""
        points: dict[Values | None, _Exponential] = {}
        for values, scale, offset, counts, zeros, *sums in state:
            point = _Exponential()
            point.scale, point.offset, point.zeros = int(scale), int(offset), int(zeros)
            point.counts = np.array(counts, np.int64)
            point.total, point.smallest, point.largest = map(float, sums)
            points[self.key(values)] = point
        self._points = points

    def _empty(self) -> _Exponential:
        return _Exponential()

    def _held(self, point: _Exponential) -> list[Any]:
        return [
            point.scale,
            point.offset,
            point.counts.tolist(),
            point.zeros,
            point.total,
            point.smallest,
            point.largest,
        ]
