"""
The composition root: from a configuration to the objects that run.

:class:`Mesh` is the public face. Building it checks everything and starts nothing; what runs is started by the
first mirrored call, so a mesh may be made before a server forks its workers.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import time
import weakref
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio

from shadowmesh import config as configuration
from shadowmesh.errors import LoopError, StartError
from shadowmesh.interceptor.aio import AioInterceptor
from shadowmesh.interceptor.sync import SyncInterceptor
from shadowmesh.mirror.assembly import WorkerSetup, make_engine, make_exporter
from shadowmesh.mirror.carrier import Carrier, Consumer, MakeCarrier, Receive
from shadowmesh.mirror.engine import EXPERIMENTS
from shadowmesh.mirror.frames import Lost, Reload
from shadowmesh.mirror.live import LiveSide
from shadowmesh.mirror.loop import LoopCarrier
from shadowmesh.mirror.process import ProcessCarrier
from shadowmesh.mirror.thread import ThreadCarrier
from shadowmesh.names import LossReason
from shadowmesh.policy.live_gate import FunnelKey
from shadowmesh.telemetry import providers
from shadowmesh.telemetry.export import PairExporter, Receipt
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.life import Life
from shadowmesh.telemetry.metrics import MirrorMetrics
from shadowmesh.telemetry.status import StatusEndpoint

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter

    from shadowmesh.telemetry.status_shape import Carrier as CarrierStatus

DEFAULT_GRACE = 5.0
"""Seconds that shadows in flight get when a mesh is closed without saying how many."""
_FLUSH_SECONDS = 5.0
_LEAST_SECONDS = 0.5


class Mesh:
    """
    Mirrors the calls of the servers its interceptors are given to.

    A context manager, synchronous and asynchronous: leaving it drains and closes. A program that forgets to is
    drained at exit as far as its event loop still runs.
    """

    def __init__(
        self,
        config: configuration.Config,
        *,
        span_exporter: SpanExporter | None = None,
        metric_reader: MetricReader | None = None,
        make_carrier: MakeCarrier | None = None,
    ) -> None:
        """
        Build from a checked configuration.

        Args:
            span_exporter: takes the spans, instead of what the configuration and ``OTEL_*`` say.
            metric_reader: reads the mirror's own metrics, likewise.
            make_carrier: makes what carries the frames, instead of what ``mirror.carrier`` says.

        Raises:
            ConfigError: the ``OTEL_*`` variables name an exporter we do not know.
            StartError: a span exporter is given to the carrier ``process``, whose workers it cannot reach.
        """
        if span_exporter is not None and make_carrier is None and config.mirror.carrier == "process":
            raise StartError(
                "mirror.carrier: process exports from processes of its own, which a span exporter of this one cannot "
                "reach: say where to with telemetry.otlp or OTEL_*"
            )
        self._config = config
        self._disabled = providers.sdk_disabled()
        if not self._disabled:
            providers.check(config.telemetry)
        self._faults = Faults()
        self._given_exporter = span_exporter
        self._given_reader = metric_reader
        self._make_carrier = make_carrier
        self._pairs: PairExporter | None = None
        self._metrics: MirrorMetrics | None = None
        self._resource: Resource | None = None
        self._live = LiveSide(config.experiments, config.mirror, faults=self._faults)
        self._may_accept = not self._disabled
        self._live.accepting = self._may_accept and bool(config.experiments)
        self._carrier: Carrier | None = None
        self._closed = False
        self._life = Life()
        self._endpoint: StatusEndpoint | None = None
        if config.telemetry.status is not None:
            # Loaded now, so that the first question does not stop the server for imports.
            import_module("shadowmesh.telemetry.snapshot")
        _OPEN.add(self)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        span_exporter: SpanExporter | None = None,
        metric_reader: MetricReader | None = None,
    ) -> Self:
        """
        Build from a configuration file, checked now.

        Raises:
            ConfigError: names the file and the key.
        """
        return cls(configuration.load(path), span_exporter=span_exporter, metric_reader=metric_reader)

    def interceptor(self) -> grpc.ServerInterceptor:
        """
        Return the interceptor for ``grpc.server``.

        Raises:
            StartError: the carrier ``loop`` is configured, and a synchronous server has no loop.
        """
        self._choose("thread")
        if isinstance(self._carrier, LoopCarrier):
            raise StartError("the carrier loop serves grpc.aio servers only: set mirror.carrier to thread")
        return SyncInterceptor(self._live)

    def aio_interceptor(self) -> grpc.aio.ServerInterceptor:
        """Return the interceptor for ``grpc.aio.server``."""
        self._choose("loop")
        return AioInterceptor(self._live)

    def start(self) -> None:
        """Start the carrier now instead of at the first mirrored call; with ``loop``, from inside the loop."""
        self._live.start()

    def reload(self, config: configuration.Config) -> None:
        """
        Mirror by the experiments of another configuration from now on. Pairs in flight finish as they began; a target
        that is gone gets nothing more. Other settings take effect at the next start, which is said in the log.
        """
        if config.model_copy(update={"experiments": ()}) != self._config.model_copy(update={"experiments": ()}):
            self._faults.report("reload", "only experiments are reloaded; other settings need a restart")
        self._config = self._config.model_copy(update={"experiments": config.experiments})
        if self._carrier is not None:
            # First the engines, which still know the experiments that calls have begun under.
            self._carrier.reload(Reload(0, EXPERIMENTS.dump_json(config.experiments)))
        self._live.reload(config.experiments)
        self._live.accepting = self._may_accept and bool(config.experiments)

    def reload_file(self, path: str | Path) -> None:
        """
        Do what :meth:`reload` does, from a file; one that is wrong changes nothing.

        Raises:
            ConfigError: names the file and the key.
        """
        self.reload(configuration.load(path))

    def funnel(self) -> dict[FunnelKey, int]:
        """Return the account of every covered exchange so far, per target."""
        return self._live.funnel()

    def active(self) -> dict[tuple[str, str], int]:
        """Return how many shadows are in flight, by experiment and target."""
        return self._live.active()

    def captured_bytes(self) -> int:
        """Return how many bytes of captured messages are held now, in whole pages."""
        return self._live.credit_taken()

    def faults(self) -> dict[str, int]:
        """Return the errors of the mirror side so far, counted per cause."""
        return self._faults.totals()

    def status(self) -> dict[str, Any]:
        """Return what ``shadowmesh status`` shows of this process; see :mod:`shadowmesh.telemetry.status_shape`."""
        from shadowmesh.telemetry import snapshot, status_shape

        mirror = self._config.mirror
        return status_shape.as_json(
            status_shape.InterceptorStatus(
                **snapshot.header(self._life, self._resource, self._faults),
                accepting=self._live.accepting,
                experiments=snapshot.experiments(
                    self._config.experiments,
                    lines=self._live.funnel(),
                    active=self._live.active(),
                    closed=self._live.closed(),
                    lost=self._live.lost(),
                ),
                buffers=status_shape.Buffers(
                    queue=status_shape.Fill(used=self._live.queued(), cap=mirror.queue_items),
                    captured_bytes=status_shape.Fill(used=self._live.credit_taken(), cap=mirror.capture_bytes),
                    pairs=snapshot.pairs(self._pairs, self._config.telemetry.queue_pairs),
                ),
                carrier=self._carrier_status(),
                harm_guard=asdict(self._live.guard.report) if self._config.mirror.harm_guard.enabled else None,
            )
        )

    def drain(self, grace: float = DEFAULT_GRACE) -> None:
        """
        Mirror nothing new, give shadows in flight ``grace`` seconds, then cut them; export everything.

        Raises:
            LoopError: called in the event loop that the carrier shares; await :meth:`adrain` there.
        """
        self._stop_accepting()
        if self._carrier is not None:
            self._carrier.drain_blocking(grace)
        self._flush()

    async def adrain(self, grace: float = DEFAULT_GRACE) -> None:
        """Do what :meth:`drain` does, from any event loop."""
        self._stop_accepting()
        if self._carrier is not None:
            await self._carrier.drain(grace)
        await asyncio.to_thread(self._flush)

    def close(self, grace: float = DEFAULT_GRACE) -> None:
        """Drain, export what waits within a few seconds, and release everything; more than once is safe."""
        if not self._closed:
            self._stop_accepting()
            try:
                if self._carrier is not None:
                    self._carrier.drain_blocking(grace)
            except LoopError:
                raise
            except Exception as error:
                self._faults.report("drain", error)
            self._release()

    async def aclose(self, grace: float = DEFAULT_GRACE) -> None:
        """Do what :meth:`close` does, from any event loop."""
        if not self._closed:
            self._stop_accepting()
            try:
                if self._carrier is not None:
                    await self._carrier.drain(grace)
            except Exception as error:
                self._faults.report("drain", error)
            await asyncio.to_thread(self._release)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _stop_accepting(self) -> None:
        self._may_accept = self._live.accepting = False

    def _choose(self, natural: str) -> None:
        """Settle on a carrier at the first interceptor that is asked for."""
        if self._carrier is None:
            wanted = self._config.mirror.carrier
            self._attach_carrier(self._make_carrier or self._our_carrier(natural if wanted == "auto" else wanted))

    def _our_carrier(self, name: str) -> MakeCarrier:
        if name == "process":
            workers = self._config.mirror.workers
            return partial(ProcessCarrier, setup=self._worker_setup, workers=workers, faults=self._faults)
        return LoopCarrier if name == "loop" else ThreadCarrier

    def _attach_carrier(self, kind: MakeCarrier) -> None:
        experiments = Reload(0, EXPERIMENTS.dump_json(self._config.experiments))
        self._kind = kind
        self._carrier = kind(
            self._engine,
            self._live.receive,
            first=(experiments,),
            queue_items=self._config.mirror.queue_items,
            admit=self._live.admit,
        )
        self._live.attach(self._carrier)

    def _engine(self, reply: Receive) -> Consumer:
        """
        Make the engine and what it reports to: called by the carrier when it starts, in the process it runs in,
        because neither exporters nor their channels survive a fork,
        and every process needs a ``service.instance.id`` of its own.
        """
        resource = self._publish()
        if self._pairs is None:
            self._pairs = make_exporter(
                self._config.telemetry, self._given_exporter, self._faults, partial(_count_losses, self._live.receive)
            )
        return make_engine(reply, self._pairs, resource, self._config.mirror, self._faults)

    def _worker_setup(self) -> bytes:
        """Likewise for the carrier ``process``, whose workers make the engine and the exporter themselves."""
        setup = WorkerSetup.of(self._config.mirror, self._config.telemetry, self._publish())
        return setup.model_dump_json().encode()

    def _publish(self) -> Resource:
        """Begin to publish the funnel of this process, and return what it is called."""
        resource = self._resource = self._resource or providers.make_resource(self._config.telemetry)
        if self._metrics is None:
            self._metrics = self._make_metrics(resource)
        self._open_status()
        return resource

    def _carrier_status(self) -> CarrierStatus:
        from shadowmesh.telemetry import status_shape

        carrier = self._carrier
        kind = None if carrier is None else type(carrier).__name__.removesuffix("Carrier").lower()
        running = self._resource is not None and not self._closed
        if not isinstance(carrier, ProcessCarrier):
            return status_shape.Carrier(kind=kind, running=running)
        return status_shape.Carrier(
            kind=kind,
            running=running,
            workers=status_shape.Fill(used=sum(link.pid is not None for link in carrier.links), cap=len(carrier.links)),
            restarts=sum(link.restarts for link in carrier.links),
            unconfirmed=carrier.unconfirmed,
        )

    def _open_status(self) -> None:
        """Answer ``shadowmesh status``, where that is configured; listens in a thread of its own, so nobody waits."""
        address = self._config.telemetry.status
        if address is not None and self._endpoint is None:
            self._endpoint = StatusEndpoint(address, self.status, faults=self._faults)
            self._endpoint.start()

    def _make_metrics(self, resource: Resource) -> MirrorMetrics | None:
        reader = self._given_reader or providers.metric_reader(self._config.telemetry)
        if reader is None:
            return None
        return MirrorMetrics(
            reader,
            resource,
            funnel=self._live.funnel,
            active=self._live.active,
            queued=self._live.queued,
            lost=self._live.lost,
            reloads=lambda: self._live.reloads,
            harm=lambda: self._live.guard.harm,
        )

    def _flush(self) -> None:
        if self._pairs is not None:
            self._pairs.drain(_FLUSH_SECONDS)

    def _release(self) -> None:
        self._closed = True
        _OPEN.discard(self)
        if self._endpoint is not None:
            self._endpoint.close()
        deadline = time.monotonic() + _FLUSH_SECONDS
        if self._pairs is not None:
            self._pairs.close(_FLUSH_SECONDS)
        if self._metrics is not None:
            try:
                self._metrics.close(max(deadline - time.monotonic(), _LEAST_SECONDS))
            except Exception as error:
                self._faults.report("metrics", error)

    def forked(self) -> None:
        """Forget what runs, in a child process: no thread, channel or exporter came along."""
        self._resource = None
        self._pairs = None
        self._metrics = None
        self._life = Life()
        if self._endpoint is not None:
            self._endpoint.abandon()
            self._endpoint = None
        if self._carrier is not None:
            self._carrier.forget()
            self._attach_carrier(self._kind)


def _count_losses(receive: Receive, receipts: list[Receipt], exported: bool) -> None:
    """Count the legs that the exporter of this very process has lost."""
    for receipt in () if exported else receipts:
        for target in receipt.targets:
            receive(Lost(0, receipt.experiment, target, LossReason.EXPORT.value, 1))


# Drained at exit if their programs did not; a mesh nobody holds any more has nothing running.
_OPEN: weakref.WeakSet[Mesh] = weakref.WeakSet()


@atexit.register
def _drain_at_exit() -> None:
    for mesh in tuple(_OPEN):
        try:
            mesh.close()
        except Exception as error:
            logging.getLogger("shadowmesh").warning("draining at exit failed: %s", error)


def _after_fork() -> None:
    for mesh in tuple(_OPEN):
        mesh.forked()


os.register_at_fork(after_in_child=_after_fork)
