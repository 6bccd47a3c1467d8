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
from shadowmesh.mirror.budget_file import check as check_budget_state
from shadowmesh.mirror.carrier import Carrier, Consumer, MakeCarrier, Receive
from shadowmesh.mirror.engine import EXPERIMENTS
from shadowmesh.mirror.file_watch import AGAIN_SECONDS, FileWatch
from shadowmesh.mirror.frames import Lost, Reload
from shadowmesh.mirror.live import LiveSide
from shadowmesh.mirror.loop import LoopCarrier
from shadowmesh.mirror.process import ProcessCarrier
from shadowmesh.mirror.rounds import Round, Rounds
from shadowmesh.mirror.thread import ThreadCarrier
from shadowmesh.names import SERVICE_INSTANCE_ID, LossReason, ReloadResult
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.experiment import in_force
from shadowmesh.policy.live_gate import FunnelKey
from shadowmesh.policy.self_check import Finding, SelfCheck
from shadowmesh.pricing import bundled_list_prices
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
    from shadowmesh.telemetry.status_shape import ConfigFile as ConfigFileStatus

DEFAULT_GRACE = 5.0
"""Seconds that shadows in flight get when a mesh is closed without saying how many."""
_FLUSH_SECONDS = 5.0
_LEAST_SECONDS = 0.5
_SELF_CHECK_SECONDS = 10.0


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
            ConfigError: the ``OTEL_*`` variables name an exporter we do not know; a file or variable that a credential
                is read from is missing; ``mirror.budget.state`` cannot be used, or a file in it is damaged.
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
            configuration.check_credentials(config)
            _prepare_budgets(config)
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
        self._remaining: dict[tuple[str, str, str], Remaining] = {}
        self._self_check = SelfCheck()
        self._self_check.watch(config.experiments)
        self._live.on_shadow(self._self_check.shadow_arrived)
        self._misfits: list[Finding] = []
        self._watch: FileWatch | None = None
        self._rounds = self._make_rounds()
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
        watch: bool | None = None,
    ) -> Self:
        """
        Build from a configuration file, checked now.

        Args:
            watch: whether a changed file takes effect, from the first interceptor that is asked for on; by default as
                ``reload.watch`` says.

        Raises:
            ConfigError: names the file and the key.
        """
        text = configuration.read(path)
        config = configuration.parse(text, source=str(path))
        mesh = cls(config, span_exporter=span_exporter, metric_reader=metric_reader)
        if config.reload.watch if watch is None else watch:
            accept = weakref.WeakMethod(mesh._reload_text)  # of our own class
            mesh._watch = FileWatch(Path(path), text.encode(), partial(_accept, accept))
            mesh._rounds = mesh._make_rounds()
        return mesh

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
        if not self._disabled:
            configuration.check_credentials(config)
            _prepare_budgets(config)
        if config.model_copy(update={"experiments": ()}) != self._config.model_copy(update={"experiments": ()}):
            self._faults.report("reload", "only experiments are reloaded; other settings need a restart")
        self._config = self._config.model_copy(update={"experiments": config.experiments})
        if self._carrier is not None:
            # First the engines, which still know the experiments that calls have begun under.
            self._carrier.reload(Reload(0, EXPERIMENTS.dump_json(in_force(config.experiments))))
        self._live.reload(config.experiments)
        self._live.accepting = self._may_accept and bool(config.experiments)
        self._self_check.watch(config.experiments)

    def reload_file(self, path: str | Path) -> None:
        """
        Do what :meth:`reload` does, from a file; one that is wrong changes nothing.

        Raises:
            ConfigError: names the file and the key.
        """
        self.reload(configuration.load(path))

    def _reload_text(self, text: str) -> None:
        if self._watch is not None and not self._closed:
            self.reload(configuration.parse(text, source=str(self._watch.path)))

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
                    remaining=self._left(),
                    misfits=self._misfits,
                ),
                buffers=status_shape.Buffers(
                    queue=status_shape.Fill(used=self._live.queued(), cap=mirror.queue_items),
                    captured_bytes=status_shape.Fill(used=self._live.credit_taken(), cap=mirror.capture_bytes),
                    pairs=snapshot.pairs(self._pairs, self._config.telemetry.queue_pairs),
                ),
                carrier=self._carrier_status(),
                harm_guard=asdict(self._live.guard.report) if self._config.mirror.harm_guard.enabled else None,
                config_file=self._file_status(),
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
        self._rounds.stop()

    def _choose(self, natural: str) -> None:
        """Settle on a carrier at the first interceptor that is asked for."""
        if self._carrier is None:
            wanted = self._config.mirror.carrier
            self._attach_carrier(self._make_carrier or self._our_carrier(natural if wanted == "auto" else wanted))
        if self._watch is not None and not self._closed:
            # Now and not at the first covered call: what the file covers now may be none.
            self._rounds.start()

    def _our_carrier(self, name: str) -> MakeCarrier:
        if name == "process":
            workers = self._config.mirror.workers
            return partial(ProcessCarrier, setup=self._worker_setup, workers=workers, faults=self._faults)
        return LoopCarrier if name == "loop" else ThreadCarrier

    def _attach_carrier(self, kind: MakeCarrier) -> None:
        experiments = Reload(0, EXPERIMENTS.dump_json(in_force(self._config.experiments)))
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
        return make_engine(reply, self._pairs, resource, self._config.mirror, self._faults, self._heard)

    def _worker_setup(self) -> bytes:
        """Likewise for the carrier ``process``, whose workers make the engine and the exporter themselves."""
        setup = WorkerSetup.of(self._config.mirror, self._config.telemetry, self._publish())
        return setup.model_dump_json().encode()

    def _publish(self) -> Resource:
        """Begin to publish the funnel of this process, and return what it is called."""
        resource = self._resource = self._resource or providers.make_resource(self._config.telemetry)
        self._live.known_as(str(resource.attributes[SERVICE_INSTANCE_ID]))
        if self._metrics is None:
            self._metrics = self._make_metrics(resource)
        self._open_status()
        self._rounds.start()
        return resource

    def _make_rounds(self) -> Rounds:
        """What is looked after beside the calls: our own mistakes, and the file."""
        own = weakref.WeakMethod(self._check_itself)
        rounds = [Round(_SELF_CHECK_SECONDS, partial(_call, own))]
        if self._watch is not None:
            watch = self._watch
            every = self._config.reload.every
            rounds.append(Round(every, lambda: min(AGAIN_SECONDS, every) if watch.look() else None))
        needed = weakref.ref(self)
        return Rounds(tuple(rounds), faults=self._faults, needed=lambda: needed() is not None)

    def _check_itself(self) -> None:
        for finding in self._self_check.look(self._live.funnel().items(), time.monotonic_ns()):
            self._misfits.append(finding)
            self._faults.report("self-check", f"{finding.experiment}/{finding.target} {finding.detail}")

    def _heard(self, one: Remaining) -> None:
        self._remaining[one[:3]] = one

    def _left(self) -> list[Remaining]:
        """Return what is left of every budget and time-box that is still there."""
        there = {
            (one.name, target.name)
            for one in self._config.experiments
            for target in one.targets
            if target.budget is not None or one.time_box is not None
        }
        return [one for key, one in self._remaining.copy().items() if key[:2] in there]

    def _file_status(self) -> ConfigFileStatus | None:
        from shadowmesh.telemetry import status_shape

        watch = self._watch
        if watch is None:
            return None
        return status_shape.ConfigFile(
            path=str(watch.path),
            watched=self._rounds.started,
            applied=watch.applied,
            refused=watch.refused,
            problem=watch.problem or None,
        )

    def _reload_results(self) -> dict[ReloadResult, int]:
        refused = self._watch.refused if self._watch is not None else 0
        return {ReloadResult.APPLIED: self._live.reloads, ReloadResult.REFUSED: refused}

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
            closed=self._live.closed,
            remaining=self._left,
            reloads=self._reload_results,
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
        if self._metrics is not None:
            self._metrics.forget()
            self._metrics = None
        self._faults.forked()
        self._live.forked()
        self._life = Life()
        self._remaining = {}
        started = self._rounds.started
        self._rounds.forget()
        if started:
            self._rounds.start()
        if self._endpoint is not None:
            self._endpoint.abandon()
            self._endpoint = None
        if self._carrier is not None:
            self._carrier.forget()
            self._attach_carrier(self._kind)


def _prepare_budgets(config: configuration.Config) -> None:
    """Check what budgets need, and load it now: the engine may share its loop with live calls."""
    check_budget_state(config.mirror.budget)
    if any(target.budget is not None and target.budget.money for one in config.experiments for target in one.targets):
        bundled_list_prices()


def _accept(accept: weakref.WeakMethod[Any], text: str) -> None:
    if (method := accept()) is not None:
        method(text)


def _call(method: weakref.WeakMethod[Any]) -> None:
    if (work := method()) is not None:
        work()


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
