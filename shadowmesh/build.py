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
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc
import grpc.aio

from shadowmesh import config as configuration
from shadowmesh.errors import StartError
from shadowmesh.interceptor.aio import AioInterceptor
from shadowmesh.interceptor.sync import SyncInterceptor
from shadowmesh.mirror.carrier import Carrier, Consumer, MakeCarrier, Receive
from shadowmesh.mirror.engine import EXPERIMENTS, Engine
from shadowmesh.mirror.frames import Reload
from shadowmesh.mirror.live import LiveSide
from shadowmesh.mirror.loop import LoopCarrier
from shadowmesh.mirror.recorder import Recorder
from shadowmesh.mirror.thread import ThreadCarrier
from shadowmesh.names import SERVICE_INSTANCE_ID
from shadowmesh.telemetry import providers
from shadowmesh.telemetry.export import PairExporter
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.metrics import FunnelKey, MirrorMetrics

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter

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
        """
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
        self._live.accepting = not self._disabled and bool(config.experiments)
        self._carrier: Carrier | None = None
        self._closed = False
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

    def drain(self, grace: float = DEFAULT_GRACE) -> None:
        """
        Mirror nothing new, give shadows in flight ``grace`` seconds, then cut them; export everything.

        Raises:
            RuntimeError: called in the event loop that the carrier shares; await :meth:`adrain` there.
        """
        self._live.accepting = False
        if self._carrier is not None:
            self._carrier.drain_blocking(grace)
        self._flush()

    async def adrain(self, grace: float = DEFAULT_GRACE) -> None:
        """Do what :meth:`drain` does, from any event loop."""
        self._live.accepting = False
        if self._carrier is not None:
            await self._carrier.drain(grace)
        await asyncio.to_thread(self._flush)

    def close(self, grace: float = DEFAULT_GRACE) -> None:
        """Drain, export what waits within a few seconds, and release everything; more than once is safe."""
        if not self._closed:
            self._live.accepting = False
            if self._carrier is not None:
                self._carrier.drain_blocking(grace)
            self._release()

    async def aclose(self, grace: float = DEFAULT_GRACE) -> None:
        """Do what :meth:`close` does, from any event loop."""
        if not self._closed:
            self._live.accepting = False
            if self._carrier is not None:
                await self._carrier.drain(grace)
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

    def _choose(self, natural: str) -> None:
        """Settle on a carrier at the first interceptor that is asked for."""
        if self._carrier is None:
            wanted = self._config.mirror.carrier
            ours = LoopCarrier if (natural if wanted == "auto" else wanted) == "loop" else ThreadCarrier
            self._attach_carrier(self._make_carrier or ours)

    def _attach_carrier(self, kind: MakeCarrier) -> None:
        experiments = Reload(0, EXPERIMENTS.dump_json(self._config.experiments))
        self._kind = kind
        self._carrier = kind(
            self._engine, self._live.receive, first=(experiments,), queue_items=self._config.mirror.queue_items
        )
        self._live.attach(self._carrier)

    def _engine(self, reply: Receive) -> Consumer:
        """
        Make the engine and what it reports to: called by the carrier when it starts, in the process it runs in,
        because neither exporters nor their channels survive a fork,
        and every process needs a ``service.instance.id`` of its own.
        """
        resource = self._resource = self._resource or providers.make_resource(self._config.telemetry)
        if self._metrics is None:
            self._metrics = self._make_metrics(resource)
        if self._pairs is None:
            exporter = self._given_exporter or providers.span_exporter(self._config.telemetry)
            self._pairs = PairExporter(exporter, capacity=self._config.telemetry.queue_pairs, faults=self._faults)
            self._pairs.start()
        return Engine(
            reply,
            recorder=Recorder(self._pairs, resource),
            instance_id=str(resource.attributes[SERVICE_INSTANCE_ID]),
            max_call_bytes=self._config.mirror.max_call_bytes,
            faults=self._faults,
        )

    def _make_metrics(self, resource: Resource) -> MirrorMetrics | None:
        reader = self._given_reader or providers.metric_reader(self._config.telemetry)
        if reader is None:
            return None
        return MirrorMetrics(
            reader, resource, funnel=self._live.funnel, active=self._live.active, queued=self._live.queued
        )

    def _flush(self) -> None:
        if self._pairs is not None:
            self._pairs.drain(_FLUSH_SECONDS)

    def _release(self) -> None:
        self._closed = True
        _OPEN.discard(self)
        deadline = time.monotonic() + _FLUSH_SECONDS
        if self._pairs is not None:
            self._pairs.close(_FLUSH_SECONDS)
        if self._metrics is not None:
            self._metrics.close(max(deadline - time.monotonic(), _LEAST_SECONDS))

    def forked(self) -> None:
        """Forget what runs, in a child process: no thread, channel or exporter came along."""
        self._resource = None
        self._pairs = None
        self._metrics = None
        if self._carrier is not None:
            self._attach_carrier(self._kind)


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
