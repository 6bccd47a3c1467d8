"""What an interceptor exports of how it drew calls."""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from shadowmesh import names
from shadowmesh.policy.draws import Drawn, DrawnKey
from shadowmesh.telemetry.metrics import MirrorMetrics


def exported(key: DrawnKey, *moments: Drawn, instance: str = "i-1") -> Iterator[bytes]:
    """Return the metrics requests of an instance that has counted so much at each collection."""
    counts = iter(moments)
    reader = InMemoryMetricReader()
    metrics = MirrorMetrics(
        reader, Resource({names.SERVICE_INSTANCE_ID: instance}), funnel=dict, active=dict, queued=lambda: 0, lost=dict,
        closed=dict, remaining=tuple, reloads=dict, harm=str, sampling=dict, draws=lambda: {key: next(counts)},
    )  # fmt: skip
    for _ in moments:
        data = reader.get_metrics_data()
        assert data is not None
        yield encode_metrics(data).SerializeToString()
    metrics.forget()
    metrics.close(1)
