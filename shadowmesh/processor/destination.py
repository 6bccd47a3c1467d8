"""One configured endpoint, with an outbox for each thing it asks for."""

from __future__ import annotations

import asyncio
from typing import Any

from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace import ReadableSpan

from shadowmesh.processor.endpoints import is_there
from shadowmesh.processor.exporters import metric_sender, span_sender
from shadowmesh.processor.forward import Forwarded, Forwarder
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.otlp_services import SERVICES
from shadowmesh.processor.outbox import Outbox
from shadowmesh.processor.settings import ExportSettings, QueueSettings
from shadowmesh.telemetry.faults import Faults

_SPAN_BATCH = 512
# What a compare span holds at most is known: two dozen attributes, and texts that decode has bounded.
_SPAN_BYTES = 4096
# Long enough for a Collector that is started anew beside us; one that went before us does not come back for us.
_GONE_SECONDS = 2.0
_LOOK_SECONDS = 0.25


class Destination:
    """
    Takes what the processor has for one endpoint. Made on the event loop, which its channels belong to.

    Args:
        own: whether our own signals are exported; what is forwarded is not ours.

    Raises:
        StartError: a file that the ``OTEL_EXPORTER_OTLP_*`` variables name cannot be read.
    """

    def __init__(self, settings: ExportSettings, queue: QueueSettings, *, own: bool, faults: Faults) -> None:
        self._endpoint = settings.endpoint
        name = f"export to {settings.endpoint}"
        self._forwarded = {
            signal
            for signal, wanted in (
                (Signal.TRACES, settings.forward_spans),
                (Signal.METRICS, settings.forward_metrics),
                (Signal.LOGS, settings.forward_logs),
            )
            if wanted
        }
        self._spans: Outbox[ReadableSpan] | None = None
        self._metrics: Outbox[MetricsData] | None = None
        self._forward: Outbox[Forwarded] | None = None
        if self._forwarded:
            self._forward = Outbox(
                f"{name}, forwarded",
                Forwarder(settings),
                items=queue.items,
                size=queue.size,
                batch=1,
                faults=faults,
            )
        if own and settings.traces:
            self._spans = Outbox(
                f"{name}, spans",
                span_sender(settings),
                items=queue.items,
                size=queue.size,
                batch=_SPAN_BATCH,
                faults=faults,
            )
        if own and settings.metrics:
            self._metrics = Outbox(f"{name}, metrics", metric_sender(settings), items=1, size=1, batch=1, faults=faults)

    def outboxes(self) -> dict[str, Outbox[Any]]:
        """Return what this endpoint gets, by kind: ``spans``, ``metrics``, ``forwarded``."""
        every = {"spans": self._spans, "metrics": self._metrics, "forwarded": self._forward}
        return {kind: outbox for kind, outbox in every.items() if outbox is not None}

    def start(self) -> None:
        """Start sending."""
        for outbox in self.outboxes().values():
            outbox.start()

    def span(self, span: ReadableSpan) -> None:
        """Export a compare span."""
        if self._spans is not None:
            self._spans.offer(span, _SPAN_BYTES)

    def request(self, signal: Signal, request: bytes) -> None:
        """Pass a received request on, if this endpoint asked for its kind."""
        if self._forward is not None and signal in self._forwarded:
            self._forward.offer(Forwarded(SERVICES[signal].method, request), len(request))

    @property
    def wants_metrics(self) -> bool:
        """Whether a collection would be sent now; while one is under way the next is as good, sums being sums."""
        return self._metrics is not None and self._metrics.idle

    def metrics(self, data: MetricsData) -> None:
        """Export a collection."""
        if self._metrics is not None:
            self._metrics.offer(data)

    async def finish(self, last: MetricsData, seconds: float) -> None:
        """
        Send everything that waits, and the last metrics, within ``seconds``.

        It ends earlier, with things unsent, where nobody takes connections at the endpoint for two seconds on end.
        """
        ends = [asyncio.create_task(self._finish(last, seconds)), asyncio.create_task(self._gone())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    async def close(self) -> None:
        """Drop what waits and release everything."""
        for outbox in self.outboxes().values():
            await outbox.close()

    async def _gone(self) -> None:
        """Return when nobody has been there for a while."""
        clock = asyncio.get_running_loop().time
        seen = clock()
        while clock() - seen < _GONE_SECONDS:
            await asyncio.sleep(_LOOK_SECONDS)
            if await is_there(self._endpoint):
                seen = clock()

    async def _finish(self, last: MetricsData, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds

        async def last_metrics(outbox: Outbox[MetricsData]) -> None:
            if await outbox.drain(deadline - asyncio.get_running_loop().time()):
                outbox.offer(last)
                await outbox.drain(deadline - asyncio.get_running_loop().time())

        waits = [outbox.drain(seconds) for outbox in (self._spans, self._forward) if outbox is not None]
        if self._metrics is not None:
            await asyncio.gather(last_metrics(self._metrics), *waits)
        else:
            await asyncio.gather(*waits)
