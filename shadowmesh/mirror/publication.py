"""
What a process says of its mesh: pairs to an exporter, metrics to a reader, and its status to whoever asks.

It begins with the first covered call, and anew in a forked process, because neither exporters nor their channels
survive a fork, and every process needs a ``service.instance.id`` of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from shadowmesh.mirror.assembly import make_exporter
from shadowmesh.mirror.carrier import Receive
from shadowmesh.mirror.frames import Lost
from shadowmesh.mirror.live import LiveSide
from shadowmesh.names import SERVICE_INSTANCE_ID, LossReason, ReloadResult
from shadowmesh.telemetry import providers
from shadowmesh.telemetry.export import PairExporter, Receipt
from shadowmesh.telemetry.life import Life
from shadowmesh.telemetry.metrics import MirrorMetrics
from shadowmesh.telemetry.settings import TelemetrySettings
from shadowmesh.telemetry.status import Report, StatusEndpoint

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter

_FLUSH_SECONDS = 5.0
_LEAST_SECONDS = 0.5


class Publication:
    """
    One per mesh.

    Args:
        span_exporter: takes the spans, instead of what the settings and ``OTEL_*`` say.
        metric_reader: reads the metrics, likewise.
        reloads: returns the count of changed configurations by what became of them.
        captured: returns what became of the calls that were to be captured.
        status: returns the status of the mesh.

    Attributes:
        settings: where it all goes.
        life: since when the mesh has been in this process.
        resource: what this process is called, ``None`` before it has begun to publish.
        pairs: the queue in front of the exporter, ``None`` where this process does not export pairs itself.
    """

    def __init__(
        self,
        live: LiveSide,
        settings: TelemetrySettings,
        *,
        span_exporter: SpanExporter | None,
        metric_reader: MetricReader | None,
        reloads: Callable[[], Mapping[ReloadResult, int]],
        captured: Callable[[], Mapping[tuple[str, str], int]] = dict,
        status: Report,
    ) -> None:
        self.settings = settings
        self._live = live
        self._given_exporter = span_exporter
        self._given_reader = metric_reader
        self._reloads = reloads
        self._captured = captured
        self._status = status
        self._closed = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.life = Life()
        self.resource: Resource | None = None
        self.pairs: PairExporter | None = None
        self._metrics: MirrorMetrics | None = None
        self._endpoint: StatusEndpoint | None = None

    @property
    def running(self) -> bool:
        """Whether it has begun and not ended."""
        return self.resource is not None and not self._closed

    def begin(self) -> Resource:
        """Publish metrics and status from now on, and return what this process is called; more than once is safe."""
        if self.resource is None:
            self.resource = providers.make_resource(self.settings)
        self._live.known_as(str(self.resource.attributes[SERVICE_INSTANCE_ID]))
        if self._metrics is None:
            self._metrics = self._make_metrics(self.resource)
        address = self.settings.status
        if address is not None and self._endpoint is None:
            # It listens in a thread of its own, so nobody waits.
            self._endpoint = StatusEndpoint(address, self._status, faults=self._live.faults)
            self._endpoint.start()
        return self.resource

    def export_pairs(self) -> PairExporter:
        """Export pairs from this very process from now on, and return their queue; more than once is safe."""
        if self.pairs is None:
            settled = partial(_count_losses, self._live.receive)
            self.pairs = make_exporter(self.settings, self._given_exporter, self._live.faults, settled)
        return self.pairs

    def flush(self) -> None:
        """Export the pairs that wait, within a few seconds."""
        if self.pairs is not None:
            self.pairs.drain(_FLUSH_SECONDS)

    def close(self) -> None:
        """Export what waits within a few seconds, and end."""
        self._closed = True
        if self._endpoint is not None:
            self._endpoint.close()
        deadline = time.monotonic() + _FLUSH_SECONDS
        if self.pairs is not None:
            self.pairs.close(_FLUSH_SECONDS)
        if self._metrics is not None:
            try:
                self._metrics.close(max(deadline - time.monotonic(), _LEAST_SECONDS))
            except Exception as error:
                self._live.faults.report("metrics", error)

    def forked(self) -> None:
        """Let go, in a forked process, of what is its parent's: no thread, channel or exporter came along."""
        if self._metrics is not None:
            self._metrics.forget()
        if self._endpoint is not None:
            self._endpoint.abandon()
        self._begin_anew()

    def _make_metrics(self, resource: Resource) -> MirrorMetrics | None:
        reader = self._given_reader or providers.metric_reader(self.settings)
        if reader is None:
            return None
        live, figures = self._live, self._live.figures
        return MirrorMetrics(
            reader,
            resource,
            funnel=figures.funnel,
            active=figures.active,
            queued=live.queued,
            lost=figures.lost,
            closed=figures.closed,
            remaining=figures.remaining,
            reloads=self._reloads,
            harm=lambda: live.guard.harm,
            sampling=figures.sampling,
            draws=figures.draws,
            captured=self._captured,
            aborts=live.aborts.totals,
        )


def _count_losses(receive: Receive, receipts: list[Receipt], exported: bool) -> None:
    """Count the legs that the exporter of this very process has lost."""
    for receipt in () if exported else receipts:
        for target in receipt.targets:
            receive(Lost(0, receipt.experiment, target, LossReason.EXPORT.value, 1))
