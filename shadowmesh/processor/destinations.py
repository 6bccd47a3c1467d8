"""Every endpoint that a processor sends to: what goes to which, and that none of them is the processor itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace import ReadableSpan

from shadowmesh.processor.destination import Destination
from shadowmesh.processor.endpoints import refuse_self
from shadowmesh.processor.exporters import unheeded_variables
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.providers import sdk_disabled

_LOG = logging.getLogger("shadowmesh")


class Destinations:
    """Belongs to one event loop; there are none before ``open`` and after ``close``."""

    def __init__(self, settings: ProcessorSettings, *, faults: Faults) -> None:
        self._settings = settings
        self._faults = faults
        self._all: list[Destination] = []

    def __iter__(self) -> Iterator[Destination]:
        return iter(self._all)

    @property
    def wants_spans(self) -> bool:
        """Whether any endpoint asks for compare spans."""
        return any(export.traces for export in self._settings.export)

    def refuse(self, port: int) -> None:
        """
        Refuse to send to a port that we listen on.

        Raises:
            StartError: an endpoint is this processor.
        """
        for export in self._settings.export:
            refuse_self(export.endpoint, port)

    def open(self) -> None:
        """
        Make what sends to each, which takes in from now on and sends from :meth:`start` on.

        Raises:
            StartError: a file of TLS cannot be read.
        """
        own = not sdk_disabled()
        if not own:
            _LOG.warning("OTEL_SDK_DISABLED is true: comparisons are made and not exported")
        for problem in unheeded_variables():
            _LOG.warning(problem)
        for export in self._settings.export:
            self._all.append(Destination(export, self._settings.queue, own=own, faults=self._faults))

    def start(self) -> None:
        """Start sending."""
        for destination in self._all:
            destination.start()

    def span(self, span: ReadableSpan) -> None:
        """Export a compare span."""
        for destination in self._all:
            destination.span(span)

    def request(self, signal: Signal, request: bytes) -> None:
        """Pass a received request on to whoever asked for its kind."""
        for destination in self._all:
            destination.request(signal, request)

    def metrics(self, collect: Callable[[], MetricsData]) -> None:
        """Collect and export to whoever is ready; if nobody is, nothing is collected."""
        ready = [destination for destination in self._all if destination.wants_metrics]
        if ready:
            data = collect()
            for destination in ready:
                destination.metrics(data)

    async def finish(self, collect: Callable[[], MetricsData], seconds: float) -> None:
        """Send everything that waits, and the last metrics, within so many seconds."""
        if self._all:
            last = collect()
            await asyncio.gather(*(destination.finish(last, seconds) for destination in self._all))

    async def close(self) -> None:
        """Drop what waits and release everything; more than once is safe."""
        every, self._all = self._all, []
        for destination in every:
            await destination.close()
