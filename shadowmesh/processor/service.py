"""The running processor: receivers in front, journal, pipeline and store behind them, endpoints, and clocks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from opentelemetry.sdk.metrics.export import MetricsData

from shadowmesh.errors import OverloadedError, StoreError
from shadowmesh.names import SERVICE_INSTANCE_ID
from shadowmesh.pricing import Pricing, bundled_list_prices
from shadowmesh.processor.clocks import Clocks
from shadowmesh.processor.destinations import Destinations
from shadowmesh.processor.endpoints import port_of
from shadowmesh.processor.funnel import Account
from shadowmesh.processor.identity import identity, own_resource
from shadowmesh.processor.intake import Accepted, Signal
from shadowmesh.processor.judging import Judging
from shadowmesh.processor.keeper import Keeper
from shadowmesh.processor.pipeline import Clock, Pipeline
from shadowmesh.processor.receiver import Receiver
from shadowmesh.processor.routes import routes
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.processor.status import asking, status_of
from shadowmesh.store.records import Content, PairRecord
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.life import Life
from shadowmesh.telemetry.snapshot import header
from shadowmesh.telemetry.status import StatusEndpoint
from shadowmesh.telemetry.status_shape import ProcessorStatus
from shadowmesh.verdict.plan import Plan

_EXPIRY_SECONDS = 1.0
_FOLD_SECONDS = 30.0
_JUDGE_SECONDS = 60.0
_SWEEP_SECONDS = 60.0
# For one that is saved after everything was stored at the last moment.
_CHECKPOINT_SECONDS = 1.0
# For the last alerts; what waits longer waits for the next start.
_ALERT_SECONDS = 1.0


class Processor:
    """
    Receives, pairs, compares, and exports the comparison.

    Everything belongs to one event loop. ``drain`` and ``close`` may be called more than once, and before
    ``start``.

    Args:
        monotonic_ns: the clock of the pairing window.
        wall_ns: the clock of metrics.
        plans: how candidates are judged, by the experiments of the processor's own file; the others by defaults.
        faults: where errors after the start are counted, and logged once per cause.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        *,
        monotonic_ns: Clock = time.monotonic_ns,
        wall_ns: Clock = time.time_ns,
        plans: Sequence[Plan] = (),
        faults: Faults | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self._settings = settings
        self._resource = own_resource()
        self._life = Life(monotonic_ns=monotonic_ns, wall_ns=wall_ns)
        self._destinations = Destinations(settings, faults=self.faults)
        unwanted = settings.compare_spans == "never" or not self._destinations.wants_spans
        self._pipeline = Pipeline(
            settings,
            pricing=Pricing(settings.prices, list_prices=bundled_list_prices()),
            resource=self._resource,
            put=self._put,
            emit_span=None if unwanted else self._destinations.span,
            monotonic_ns=monotonic_ns,
            wall_ns=wall_ns,
            faults=self.faults,
        )
        self._judging = Judging(settings, plans, faults=self.faults, wall_ns=wall_ns, monotonic_ns=monotonic_ns)
        scrape = partial(self._collect, again=True)
        beside = routes(settings, self._judging.verdicts, scrape, allowed=self._knows, faults=self.faults)
        self.receiver = Receiver(settings, self, ready=self._why_not, routes=beside, faults=self.faults)
        self._keeper: Keeper | None = None
        self._wall_ns = wall_ns
        self._clocks = Clocks(self.faults)
        self._status: StatusEndpoint | None = None
        self._port: int | None = None

    async def start(self) -> int:
        """
        Listen and return the port of OTLP/gRPC; a second call returns it again.

        Raises:
            StartError: an address is taken, an endpoint is this processor, a file of TLS or tokens cannot be read, a
                package is missing, or the data directory cannot be used or belongs to another processor.
            StoreError: the store cannot be used.
        """
        if self._port is not None:
            return self._port
        self._destinations.refuse(port_of(self._settings.listen))
        if self._settings.http_listen is not None:
            self._destinations.refuse(port_of(self._settings.http_listen))
        try:
            self._destinations.open()
            await self._open_keeper()
            await self.receiver.start()
            self._destinations.refuse(self.receiver.port)
            self._destinations.refuse(self.receiver.http_port)
            self._open_status()
        except BaseException:
            await self.close()
            raise
        self._destinations.start()
        self._clocks.start(min(_EXPIRY_SECONDS, self._settings.window), self.expire)
        self._clocks.start(self._settings.metric_interval, self.export_metrics)
        self._clocks.start(self._settings.checkpoint_interval, self.checkpoint)
        self._clocks.start(_FOLD_SECONDS, self.fold)
        self._clocks.start(_JUDGE_SECONDS, self.judge)
        self._clocks.start(_SWEEP_SECONDS, self._sweep)
        self._port = self.receiver.port
        return self._port

    async def drain(self, grace: float, *, flush: bool = False) -> None:
        """
        Take nothing new in, store, save and export what has ended, all within ``grace`` seconds, or
        one more where the store hangs.

        Args:
            flush: end what waits, too. Without, it waits in the journal for the next start: its other half may come.
        """
        deadline = asyncio.get_running_loop().time() + grace
        await self.receiver.drain(grace)
        self._clocks.stop()
        if flush:
            self._pipeline.flush()
        if self._keeper is not None:
            left = max(deadline - asyncio.get_running_loop().time(), 0)
            try:
                await asyncio.wait_for(self._keeper.drain(left), left + _CHECKPOINT_SECONDS)
            except (StoreError, TimeoutError) as error:
                self.faults.report("checkpoint", error)
        await self._judging.drain(min(max(deadline - asyncio.get_running_loop().time(), 0), _ALERT_SECONDS))
        await self._destinations.finish(self._collect, max(deadline - asyncio.get_running_loop().time(), 0))

    async def close(self) -> None:
        """End at once; what was not drained is in the journal, what was not exported is dropped and counted."""
        self._clocks.stop()
        await self.receiver.close()
        await self._judging.close()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.close()
        await self._destinations.close()
        status, self._status = self._status, None
        if status is not None:
            # Its thread may be waiting for this loop to answer.
            await asyncio.to_thread(status.close)
        self._port = None

    async def take(self, signal: Signal, request: bytes) -> Accepted:
        """
        Take in what a receiver has received, as an :class:`~shadowmesh.processor.intake.Intake`.

        Raises:
            DecodeError: the bytes are no request of the signal.
            OverloadedError: there is no room now.
            SetAsideError: it failed again and again, and is lost.
        """
        if self._keeper is None:
            raise OverloadedError("starting", retry_after=1.0)
        accepted = await self._keeper.take(signal, request)
        self._destinations.request(signal, request)
        return accepted

    def accounts(self) -> list[Account]:
        """Return the funnel: per target what the interceptors sent, and what became of it here."""
        return self._pipeline.accounts(() if self._keeper is None else self._keeper.unstored())

    def status(self) -> ProcessorStatus:
        """Return the state of everything; on the event loop's thread."""
        return status_of(
            self._pipeline,
            self._settings,
            listen=f"{self._settings.listen.rpartition(':')[0]}:{self._port or port_of(self._settings.listen)}",
            header=header(self._life, self._resource, self.faults),
            requests=self.receiver.requests,
            destinations=self._destinations,
            storage=None if self._keeper is None else self._keeper.status(),
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
        self._destinations.metrics(self._collect)

    async def checkpoint(self) -> None:
        """
        Save what was counted now; done at every interval.

        Raises:
            StoreError: it was not saved; the one before still holds.
        """
        if self._keeper is not None:
            await self._keeper.checkpoint()

    async def fold(self) -> None:
        """
        Add to the ledgers what is settled now; done every half minute.

        Raises:
            StoreError: the rest was not; it is the next time.
        """
        if self._keeper is not None:
            await self._keeper.fold()

    async def judge(self) -> None:
        """
        Make the verdicts, for metrics and alerts; done every minute.

        Raises:
            StoreError: the store failed; what was said of them before stands.
        """
        if self._keeper is not None:
            await self._judging.judge()

    async def stored(self, seconds: float) -> bool:
        """Return whether everything that has ended was stored and counted within so many seconds."""
        return self._keeper is None or await self._keeper.writer.drain(seconds)

    async def _sweep(self) -> None:
        if self._keeper is not None:
            await self._keeper.sweep()

    def _why_not(self) -> str | None:
        return "starting" if self._keeper is None else self._keeper.why_not()

    def _put(self, item: PairRecord | Content, position: int) -> None:
        if self._keeper is not None:
            self._keeper.put(item, position)

    async def _open_keeper(self) -> None:
        name = await asyncio.to_thread(identity, Path(self._settings.data))
        self._resource = self._pipeline.resource = own_resource(name)
        instance = str(self._resource.attributes[SERVICE_INSTANCE_ID])
        self._keeper = Keeper(
            self._settings,
            self._pipeline,
            name=name,
            instance=instance,
            judging=self._judging,
            faults=self.faults,
            wall_ns=self._wall_ns,
        )
        await self._keeper.open()

    def _collect(self, *, again: bool = False) -> MetricsData:
        gauges = {} if self._keeper is None else self._keeper.gauges() | self._judging.gauges()
        return self._pipeline.collect(gauges, self._judging.metrics(self._wall_ns()), again=again)

    def _knows(self, authorization: Sequence[str]) -> bool:
        # The receiver is made with these routes, so there is none yet when they are.
        return self.receiver.knows(authorization)

    def _open_status(self) -> None:
        if self._settings.status is None:
            return
        report = asking(asyncio.get_running_loop(), self.status)
        self._status = StatusEndpoint(self._settings.status, report, faults=self.faults)
        self._status.open()
        self._status.start()
