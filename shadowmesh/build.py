"""
The composition root: from a configuration to the objects that run.

:class:`Mesh` is the public face. Building it checks everything and starts nothing; what runs is started by the
first mirrored call, so a mesh may be made before a server forks its workers.
"""

from __future__ import annotations

import asyncio
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import grpc
import grpc.aio

from shadowmesh import config as configuration
from shadowmesh.errors import ConfigError, LoopError, StartError
from shadowmesh.interceptor.aio import AioInterceptor
from shadowmesh.interceptor.sync import SyncInterceptor
from shadowmesh.mirror import process_hooks
from shadowmesh.mirror.budget_file import check as check_budget_state
from shadowmesh.mirror.carrier import Carrier, MakeCarrier
from shadowmesh.mirror.engines import Engines
from shadowmesh.mirror.file_watch import FileWatch
from shadowmesh.mirror.live import LiveSide
from shadowmesh.mirror.loop import LoopCarrier
from shadowmesh.mirror.publication import Publication
from shadowmesh.mirror.upkeep import Upkeep
from shadowmesh.policy.experiment import Content
from shadowmesh.policy.live_gate import FunnelKey
from shadowmesh.pricing import bundled_list_prices
from shadowmesh.telemetry import providers
from shadowmesh.telemetry.faults import Faults

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace.export import SpanExporter

DEFAULT_GRACE = 5.0
"""Seconds that shadows in flight get when a mesh is closed without saying how many."""


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
            _prepare(config)
        self._faults = Faults()
        self._live = LiveSide(config.experiments, config.mirror, faults=self._faults, maps=config.catalog.method_map)
        self._may_accept = not self._disabled
        self._live.accepting = self._may_accept and bool(config.experiments)
        self._closed = False
        self._upkeep = Upkeep(self._live)
        self._upkeep.watch(config.experiments)
        self._publication = Publication(
            self._live,
            config.telemetry,
            span_exporter=span_exporter,
            metric_reader=metric_reader,
            reloads=self._upkeep.reload_results,
            status=self.status,
        )
        self._engines = Engines(
            self._live,
            self._publication,
            self._upkeep,
            config.mirror,
            experiments=config.experiments,
            catalog=config.catalog,
            make_carrier=make_carrier,
        )
        if config.telemetry.status is not None:
            # Loaded now, so that the first question does not stop the server for imports.
            import_module("shadowmesh.mirror.status")
        process_hooks.opened(self)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        span_exporter: SpanExporter | None = None,
        metric_reader: MetricReader | None = None,
        watch: bool | None = None,
        processes: int = 1,
    ) -> Self:
        """
        Build from a configuration file, checked now.

        Args:
            processes: how many that run beside each other make their mesh so, each with its part of every budget;
                ``mirror.budget.processes`` counts such groups then.
            watch: whether a changed file takes effect, from the first interceptor that is asked for on; by default as
                ``reload.watch`` says.

        Raises:
            ConfigError: names the file and the key.
        """
        text = configuration.read(path)
        config = configuration.parse(text, source=str(path)).shared_by(processes)
        with configuration.named(path):
            mesh = cls(config, span_exporter=span_exporter, metric_reader=metric_reader)
        if config.reload.watch if watch is None else watch:
            file = FileWatch(Path(path), text.encode(), partial(mesh._reload_text, str(path), processes))
            mesh._upkeep.follow(file, every=config.reload.every)
        return mesh

    def interceptor(self) -> grpc.ServerInterceptor:
        """
        Return the interceptor for ``grpc.server``.

        Raises:
            StartError: the carrier ``loop`` is configured, and a synchronous server has no loop.
        """
        if isinstance(self._choose("thread"), LoopCarrier):
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

        Raises:
            ConfigError: an experiment needs a protocol that was not there when this mesh was made.
        """
        if config.catalog != self._config.catalog:
            wrong = configuration.unfit(config.experiments, config.mirror, self._config.catalog)
            if wrong:
                raise ConfigError(f"{wrong[1]} (protocols are read at the start)", key=wrong[0])
        if not self._disabled:
            _prepare(config)
        if config.model_copy(update={"experiments": ()}) != self._config.model_copy(update={"experiments": ()}):
            self._faults.report("reload", "only experiments are reloaded; other settings need a restart")
        # First the engines, which still know the experiments that calls have begun under.
        self._engines.reload(config.experiments)
        self._live.reload(config.experiments)
        self._live.accepting = self._may_accept and bool(config.experiments)
        # Only now: what the status shows, calls are decided by.
        self._config = self._config.model_copy(update={"experiments": config.experiments})
        self._upkeep.watch(config.experiments)

    def reload_file(self, path: str | Path) -> None:
        """
        Do what :meth:`reload` does, from a file; one that is wrong changes nothing.

        Raises:
            ConfigError: names the file and the key.
        """
        config = configuration.load(path)
        with configuration.named(path):
            self.reload(config)

    def _reload_text(self, source: str, processes: int, text: str) -> None:
        if not self._closed:
            config = configuration.parse(text, source=source).shared_by(processes)
            with configuration.named(source):
                self.reload(config)

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
        from shadowmesh.mirror.status import status_of
        from shadowmesh.telemetry.status_shape import as_json

        config = self._config
        return as_json(
            status_of(
                self._live,
                self._engines.carrier,
                self._publication,
                self._upkeep,
                experiments=config.experiments,
                settings=config.mirror,
            )
        )

    def drain(self, grace: float = DEFAULT_GRACE) -> None:
        """
        Mirror nothing new, give shadows in flight ``grace`` seconds, then cut them; export everything.

        Raises:
            LoopError: called in the event loop that the carrier shares; await :meth:`adrain` there.
        """
        self._stop_accepting()
        self._engines.drain_blocking(grace)
        self._publication.flush()

    async def adrain(self, grace: float = DEFAULT_GRACE) -> None:
        """Do what :meth:`drain` does, from any event loop."""
        self._stop_accepting()
        await self._engines.drain(grace)
        await asyncio.to_thread(self._publication.flush)

    def close(self, grace: float = DEFAULT_GRACE) -> None:
        """Drain, export what waits within a few seconds, and release everything; more than once is safe."""
        if not self._closed:
            self._stop_accepting()
            try:
                self._engines.drain_blocking(grace)
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
                await self._engines.drain(grace)
            except Exception as error:
                self._faults.report("drain", error)
            await asyncio.to_thread(self._release)

    def forked(self) -> None:
        """Forget what runs, in a child process: no thread, channel or exporter came along."""
        self._faults.forked()
        self._live.forked()
        self._publication.forked()
        self._upkeep.forked()
        self._engines.forked()

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
        self._upkeep.stop()

    def _release(self) -> None:
        self._closed = True
        process_hooks.closed(self)
        self._publication.close()

    def _choose(self, natural: Literal["loop", "thread"]) -> Carrier:
        """Settle on a carrier at the first interceptor that is asked for."""
        carrier = self._engines.choose(natural)
        if self._upkeep.file is not None:
            # Now and not at the first covered call: what the file covers now may be none.
            self._upkeep.start()
        return carrier


def _prepare(config: configuration.Config) -> None:
    """Check what targets need of this machine, and load it now: the engine may share its loop with live calls."""
    configuration.check_credentials(config)
    if any(experiment.content is Content.EVENTS for experiment in config.experiments):
        providers.check_logs(config.telemetry)
    check_budget_state(config.mirror.budget)
    if any(target.budget is not None and target.budget.money for one in config.experiments for target in one.targets):
        bundled_list_prices()
