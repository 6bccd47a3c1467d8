"""
Metrics as a Prometheus server scrapes them: the same figures as over OTLP, under the names its OTLP receiver gives.

Names of scopes are no labels, as they are none there, and attributes of the resource are in ``target_info``. The text
formats have no exponential histograms: there those have a bucket for each power of two, into which theirs fit exactly.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    Metric,
    MetricsData,
    Sum,
)
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from shadowmesh.processor.scrape_names import family_of, label_of, unit_of
from shadowmesh.processor.scrape_text import OPENMETRICS, Example, Family, Form, labels_of, sample

PATH = "/metrics"

_LOWEST, _HIGHEST = -24, 24
_POWERS = tuple(2.0**exponent for exponent in range(_LOWEST, _HIGHEST + 1))
"""From 60 nanoseconds or tokens or dollars to 16 million: the same for all, so that no series appears late."""

Allowed = Callable[[Sequence[str]], bool]
"""Whether somebody with these ``authorization`` headers may look."""


def scrape_route(collect: Callable[[], MetricsData], *, allowed: Allowed = lambda _: True) -> Route:
    """
    Return the route of :data:`PATH`.

    Args:
        collect: called on the event loop; the text is made in a thread, one at a time.
    """
    one_at_a_time = asyncio.Lock()

    async def metrics(request: Request) -> Response:
        if not allowed(request.headers.getlist("authorization")):
            return PlainTextResponse("a valid bearer token is needed\n", 401, {"www-authenticate": "Bearer"})
        async with one_at_a_time:
            text, kind = await asyncio.to_thread(render, collect(), request.headers.get("accept", ""))
        return Response(text, headers={"content-type": kind})

    return Route(PATH, metrics)


def render(data: MetricsData, accept: str = "") -> tuple[bytes, str]:
    """
    Return the text of the metrics and its content type.

    Args:
        accept: the header of that name; with exemplars if it takes OpenMetrics.
    """
    form = Form(openmetrics=OPENMETRICS in accept)
    # Piece by piece into bytes: beside a large text there is never another one.
    text = bytearray()
    for resource in data.resource_metrics:
        text += form.head(Family("target", "info", "", "What the metrics are of")).encode()
        text += sample("target_info", _labels(resource.resource.attributes), 1).encode()
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for line in _lines(form, metric):
                    text += line.encode("utf-8", "replace")
    text += form.end.encode()
    return bytes(text), form.content_type


def _lines(form: Form, metric: Metric) -> Iterator[str]:
    data, unit = metric.data, metric.unit or ""
    name = family_of(metric.name, unit, gauge=isinstance(data, Gauge))
    if isinstance(data, (Histogram, ExponentialHistogram)):
        kind = "histogram"
    else:
        kind = "counter" if isinstance(data, Sum) and data.is_monotonic else "gauge"
    yield form.head(Family(name, kind, unit_of(unit), metric.description or ""))
    if isinstance(data, (Histogram, ExponentialHistogram)):
        for point in data.data_points:
            bounds, counts = _buckets(point)
            les = [*map(repr, map(float, bounds)), "+Inf"]
            buckets = zip(les, accumulate(counts), strict=True)
            examples = _examples(point.exemplars, bounds)
            yield from form.histogram(name, _labels(point.attributes), buckets, examples, point.sum)
    else:
        of_samples = f"{name}_total" if kind == "counter" else name
        for number in data.data_points:
            yield sample(of_samples, _labels(number.attributes), number.value)


def _buckets(point: Any) -> tuple[Sequence[float], Sequence[int]]:
    """Return upper bounds and how many values are in the bucket below each, and above all."""
    if isinstance(point, ExponentialHistogramDataPoint):
        return _POWERS, _powers(point)
    return point.explicit_bounds, point.bucket_counts


def _powers(point: ExponentialHistogramDataPoint) -> list[int]:
    """Return how many values are in each bucket of :data:`_POWERS`, and how many are above."""
    counts = [0] * (len(_POWERS) + 1)
    counts[0] = point.zero_count
    for index, count in enumerate(point.positive.bucket_counts, point.positive.offset):
        # The exponent of the power of two that is the upper bound of this bucket, or the next one above it.
        upper = (index >> point.scale) + 1 if point.scale >= 0 else (index + 1) << -point.scale
        counts[min(max(upper - _LOWEST, 0), len(_POWERS))] += count
    return counts


def _examples(exemplars: Iterable[Exemplar], bounds: Sequence[float]) -> dict[int, Example]:
    """Return the last example of each bucket, by its place."""
    return {
        bisect_left(bounds, one.value): Example(one.trace_id or 0, one.span_id or 0, one.value, one.time_unix_nano)
        for one in sorted(exemplars, key=lambda exemplar: exemplar.time_unix_nano)
    }


def _labels(attributes: Any) -> str:
    return labels_of([(label_of(name), _text(value)) for name, value in (attributes or {}).items()])


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
