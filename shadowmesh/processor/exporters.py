"""
Our own signals out, through the SDK's OTLP exporters: their retries, TLS, headers and ``OTEL_*``
variables.

Those exporters block for as long as their timeout, so each has a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from shadowmesh.processor.compare_span import FIGURES

if TYPE_CHECKING:
    from shadowmesh.processor.settings import ExportSettings

T = TypeVar("T")

# gRPC refuses messages over 4 MiB by default; a point with a full set of exemplars stays under 1 KiB.
_MOST_POINTS = 4000


class ExporterSender(Generic[T]):
    """An outbox's sender over one SDK exporter."""

    def __init__(self, export: Callable[[Sequence[T]], bool], shutdown: Callable[[], None]) -> None:
        self._export = export
        self._shutdown = shutdown
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadowmesh-export")

    async def send(self, batch: Sequence[T]) -> bool:
        """Export the batch; the exporter has retried already when this is ``False``."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._export, batch)

    async def close(self) -> None:
        """Shut the exporter down, which ends an export that is under way."""
        shutdown, self._shutdown = self._shutdown, _nothing
        shutdown()
        self._thread.shutdown(wait=False, cancel_futures=True)


def span_sender(settings: ExportSettings) -> ExporterSender[ReadableSpan]:
    """Return the sender of compare spans to this endpoint."""
    from shadowmesh.telemetry.otlp import PairSpanExporter

    exporter = PairSpanExporter(**_options(settings), passing=FIGURES)
    return ExporterSender(lambda spans: exporter.export(spans) is SpanExportResult.SUCCESS, exporter.shutdown)


def metric_sender(settings: ExportSettings) -> ExporterSender[MetricsData]:
    """Return the sender of metrics to this endpoint; its batches hold one collection."""
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    exporter = OTLPMetricExporter(max_export_batch_size=_MOST_POINTS, **_options(settings))
    return ExporterSender(
        lambda batch: all(exporter.export(data) is MetricExportResult.SUCCESS for data in batch),
        exporter.shutdown,
    )


def unheeded_variables() -> list[str]:
    """Return one line for each standard variable that asks for what our metrics are not."""
    return [
        f"{variable}={os.environ[variable]} is not heeded: the processor's metrics are {ours} always"
        for variable, ours in (
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative"),
            ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"),
        )
        if os.environ.get(variable, ours).strip().lower() != ours
    ]


def _options(settings: ExportSettings) -> dict[str, Any]:
    headers = tuple((name, value.get_secret_value()) for name, value in settings.headers.items())
    return {"endpoint": settings.endpoint, "insecure": settings.insecure, "headers": headers or None}


def _nothing() -> None:
    pass
