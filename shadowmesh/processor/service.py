"""The running processor: a receiver in front of the pipeline, endpoints behind it, and the clock of the windows."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from shadowmesh.names import SERVICE_NAME
from shadowmesh.pricing import Pricing, bundled_list_prices
from shadowmesh.processor.destination import Destination
from shadowmesh.processor.endpoints import port_of, refuse_self
from shadowmesh.processor.exporters import unheeded_variables
from shadowmesh.processor.funnel import Account
from shadowmesh.processor.pipeline import Clock, Pipeline
from shadowmesh.processor.receiver import METRICS_EXPORT, TRACE_EXPORT, Receiver, Rejected
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.processor.status import status_of
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.life import Life
from shadowmesh.telemetry.providers import make_resource, sdk_disabled
from shadowmesh.telemetry.settings import TelemetrySettings
from shadowmesh.telemetry.snapshot import header
from shadowmesh.telemetry.status import StatusEndpoint
from shadowmesh.telemetry.status_shape import ProcessorStatus, as_json

_EXPIRY_SECONDS = 1.0
_STATUS_SECONDS = 1.0

_LOG = logging.getLogger("shadowmesh")


class Processor:
    """
    Receives, pairs, compares, and exports the comparison.

    Everything belongs to one event loop. ``drain`` and ``close`` may be called more than once, and before
    ``start``.

    Args:
        monotonic_ns: the clock of the pairing window.
        wall_ns: the clock of metrics.
        faults: where errors after the start are counted, and logged once per cause.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        *,
        monotonic_ns: Clock = time.monotonic_ns,
        wall_ns: Clock = time.time_ns,
        faults: Faults | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self._settings = settings
        self._resource = _resource()
        self._life = Life(monotonic_ns=monotonic_ns, wall_ns=wall_ns)
        self._pipeline = Pipeline(
            settings,
            pricing=Pricing(settings.prices, list_prices=bundled_list_prices()),
            resource=self._resource,
            emit_span=self._emit_span if settings.compare_spans == "always" and _wants_spans(settings) else None,
            monotonic_ns=monotonic_ns,
            wall_ns=wall_ns,
        )
        self.receiver = Receiver(
            settings.listen,
            on_traces=self._on_traces,
            on_metrics=self._on_metrics,
            max_message_bytes=settings.max_message_bytes,
            faults=self.faults,
        )
        self._destinations: list[Destination] = []
        self._clocks: list[asyncio.Task[None]] = []
        self._status: StatusEndpoint | None = None
        self._port: int | None = None

    async def start(self) -> int:
        """
        Listen and return the port; a second call returns it again.

        Raises:
            StartError: an address is taken, an endpoint is this processor, or a TLS file cannot be read.
        """
        if self._port is not None:
            return self._port
        self._refuse_self(port_of(self._settings.listen))
        own = not sdk_disabled()
        if not own:
            _LOG.warning("OTEL_SDK_DISABLED is true: comparisons are made and not exported")
        for problem in unheeded_variables():
            _LOG.warning(problem)
        try:
            for export in self._settings.export:
                self._destinations.append(Destination(export, self._settings.queue, own=own, faults=self.faults))
            port = await self.receiver.start()
            self._refuse_self(port)
            self._open_status()
        except BaseException:
            await self.close()
            raise
        for destination in self._destinations:
            destination.start()
        self._clocks = [
            asyncio.create_task(self._every(min(_EXPIRY_SECONDS, self._settings.window), self.expire)),
            asyncio.create_task(self._every(self._settings.metric_interval, self.export_metrics)),
        ]
        self._port = port
        return port

    async def drain(self, grace: float) -> None:
        """Take nothing new in, end what waits, and export everything within ``grace`` seconds."""
        deadline = asyncio.get_running_loop().time() + grace
        await self.receiver.stop(grace)
        self._stop_clocks()
        self._pipeline.flush()
        if self._destinations:
            left = max(deadline - asyncio.get_running_loop().time(), 0)
            last = self._pipeline.collect()
            await asyncio.gather(*(destination.finish(last, left) for destination in self._destinations))

    async def close(self) -> None:
        """End at once; what was not drained is dropped and counted."""
        self._stop_clocks()
        await self.receiver.stop(0)
        destinations, self._destinations = self._destinations, []
        for destination in destinations:
            await destination.close()
        status, self._status = self._status, None
        if status is not None:
            # Its thread may be waiting for this loop to answer.
            await asyncio.to_thread(status.close)
        self._port = None

    def accounts(self) -> list[Account]:
        """Return the funnel: per target what the interceptors sent, and what became of it here."""
        return self._pipeline.accounts()

    def status(self) -> ProcessorStatus:
        """Return the state of everything; on the event loop's thread."""
        return status_of(
            self._pipeline,
            self._settings,
            listen=f"{self._settings.listen.rpartition(':')[0]}:{self._port or port_of(self._settings.listen)}",
            header=header(self._life, self._resource, self.faults),
            requests=self.receiver.requests,
            destinations=self._destinations,
        )

    @property
    def status_address(self) -> str | None:
        """Where the status is answered, if anywhere."""
        return None if self._status is None else self._status.address

    @property
    def waiting(self) -> int:
        """Legs that wait for others."""
        return self._pipeline.waiting

    def expire(self) -> None:
        """End the pairs whose window is over; done every second at least."""
        self._pipeline.expire()

    def export_metrics(self) -> None:
        """Collect and export now; done at every interval."""
        ready = [destination for destination in self._destinations if destination.wants_metrics]
        if ready:
            data = self._pipeline.collect()
            for destination in ready:
                destination.metrics(data)

    def _on_traces(self, request: bytes) -> Rejected | None:
        rejected = self._pipeline.on_traces(request)
        self._pass_on(TRACE_EXPORT, request)
        return rejected

    def _on_metrics(self, request: bytes) -> None:
        self._pipeline.on_metrics(request)
        self._pass_on(METRICS_EXPORT, request)

    def _pass_on(self, method: str, request: bytes) -> None:
        for destination in self._destinations:
            destination.request(method, request)

    def _emit_span(self, span: ReadableSpan) -> None:
        for destination in self._destinations:
            destination.span(span)

    def _open_status(self) -> None:
        if self._settings.status is None:
            return
        loop = asyncio.get_running_loop()

        def report() -> dict[str, Any]:
            """Ask the loop, which owns what is asked for; one that is too busy gives no answer."""
            answer: Future[dict[str, Any]] = Future()

            def look() -> None:
                if answer.set_running_or_notify_cancel():
                    try:
                        answer.set_result(as_json(self.status()))
                    except Exception as error:  # noqa: BLE001 - handed to the thread that asked
                        answer.set_exception(error)

            loop.call_soon_threadsafe(look)
            try:
                return answer.result(_STATUS_SECONDS)
            finally:
                answer.cancel()

        self._status = StatusEndpoint(self._settings.status, report, faults=self.faults)
        self._status.open()
        self._status.start()

    def _refuse_self(self, port: int) -> None:
        for export in self._settings.export:
            refuse_self(export.endpoint, port)

    async def _every(self, seconds: float, action: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                action()
            except Exception as error:  # noqa: BLE001 - the one boundary: a stopped clock lets all pairs wait
                self.faults.report(action.__name__, error)

    def _stop_clocks(self) -> None:
        clocks, self._clocks = self._clocks, []
        for clock in clocks:
            clock.cancel()


def _wants_spans(settings: ProcessorSettings) -> bool:
    return any(export.traces for export in settings.export)


def _resource() -> Resource:
    """Return this process's resource: a name of ours where the environment gives none, and an instance id."""
    resource = make_resource(TelemetrySettings())
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "shadowmesh-processor"}))
    return resource
