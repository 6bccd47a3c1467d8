"""The setting ``histograms`` decides what an OTLP receiver gets."""

from __future__ import annotations

from typing import Any

import pytest
from support.legs import lasting, live, shadow
from support.metrics import kind_of, points_of
from support.otlp import TRACES, OtlpSink, call, legs_request

from shadowmesh.processor.service import Processor
from shadowmesh.processor.settings import ProcessorSettings

DURATIONS = [0.0001, 0.5, 1.0, 3.0, 10_000.0]
PAIRS = [(live(f"p{n}"), shadow(f"p{n}", **lasting(seconds))) for n, seconds in enumerate(DURATIONS)]


async def exported(**settings: Any) -> dict[str, Any]:
    """Return what a receiver got of pairs whose shadows took :data:`DURATIONS`."""
    async with OtlpSink() as sink:
        chosen = ProcessorSettings.model_validate(
            {"listen": "127.0.0.1:0", "http_listen": None, "metric_interval": "10ms", "window": "1h"}
            | {"export": [{"endpoint": sink.endpoint, "traces": False}]}
            | settings
        )
        processor = Processor(chosen)
        port = await processor.start()
        try:
            legs = [
                leg
                for n, seconds in enumerate(DURATIONS)
                for leg in (live(f"p{n}"), shadow(f"p{n}", **lasting(seconds)))
            ]
            await call(f"127.0.0.1:{port}")(TRACES, legs_request(legs))
            await sink.until(lambda: _counted(sink) == len(DURATIONS))
        finally:
            await processor.close()
        return dict(sink.metrics())


def _counted(sink: OtlpSink) -> int:
    lag = sink.metrics().get("shadowmesh.pair.lag")
    return 0 if lag is None else sum(point.count for point in points_of(lag))


async def test_exponential_histograms_arrive_with_a_scale_that_prometheus_takes() -> None:
    metrics = await exported(histograms="exponential")
    kinds = {kind_of(metric) for metric in metrics.values()}
    assert kinds == {"Counter", "UpDownCounter", "ExponentialHistogram"}
    points = [
        point
        for metric in metrics.values()
        if metric.WhichOneof("data") == "exponential_histogram"
        for point in points_of(metric)
    ]
    assert all(-4 <= point.scale <= 8 for point in points)
    assert all(len(point.positive.bucket_counts) <= 160 and not point.negative.bucket_counts for point in points)
    (ratios,) = points_of(metrics["shadowmesh.pair.duration.ratio"])
    # Ratios from 5e-4 to 5e4 are 27 doublings: at most 160 buckets leave four to eight for each.
    assert (ratios.count, ratios.scale) == (len(DURATIONS), 2)
    base = 2 ** (2**-ratios.scale)
    counts = dict(enumerate(ratios.positive.bucket_counts, ratios.positive.offset))
    held = sorted(seconds / 0.2 for seconds in DURATIONS)
    buckets = [index for index, count in counts.items() for _ in range(count)]
    for value, index in zip(held, buckets, strict=True):
        assert base**index < value * 1.000001
        assert value <= base ** (index + 1) * 1.000001


@pytest.mark.parametrize("settings", [{}, {"histograms": "explicit"}])
async def test_histograms_have_the_bounds_of_the_conventions_unless_told_otherwise(settings: dict[str, Any]) -> None:
    metrics = await exported(**settings)
    assert {kind_of(metric) for metric in metrics.values()} == {"Counter", "UpDownCounter", "Histogram"}
    (ratios,) = points_of(metrics["shadowmesh.pair.duration.ratio"])
    assert list(ratios.explicit_bounds)[:3] == [0.25, 0.5, 0.67]


@pytest.mark.parametrize("histograms", ["explicit", "exponential"])
async def test_every_exemplar_that_arrives_leads_to_a_trace_with_both_legs(histograms: str) -> None:
    metrics = await exported(histograms=histograms)
    traces = {
        first.trace_id.to_bytes(16, "big"): {leg.span_id.to_bytes(8, "big") for leg in (first, second)}
        for first, second in PAIRS
        if first.trace_id == second.trace_id
    }
    assert len(traces) == len(PAIRS)
    with_points = [metric for metric in metrics.values() if metric.WhichOneof("data") != "sum"]
    examples = [one for metric in with_points for point in points_of(metric) for one in point.exemplars]
    assert all(point.exemplars for metric in with_points for point in points_of(metric))
    assert all(one.span_id in traces[one.trace_id] for one in examples)
