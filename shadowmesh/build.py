"""
The composition root: from a configuration to the objects that run.

:class:`Mesh` is the public face. Building it checks everything and starts nothing; what runs is started by the
first mirrored call, so a mesh may be made before a server forks its workers.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio

from shadowmesh import config as configuration
from shadowmesh.catalog import tokenizers
from shadowmesh.errors import ConfigError, StartError
from shadowmesh.interceptor.aio import AioInterceptor
from shadowmesh.interceptor.sync import SyncInterceptor
from shadowmesh.mirror.budget_file import check as check_budget_state
from shadowmesh.mirror.carrier import MakeCarrier, MirrorSettings
from shadowmesh.mirror.file_watch import FileWatch
from shadowmesh.mirror.loop import LoopCarrier
from shadowmesh.mirror.mirroring import DEFAULT_GRACE, Mirroring
from shadowmesh.policy.experiment import Content
from shadowmesh.policy.funnel import FunnelKey
from shadowmesh.pricing import bundled_list_prices
from shadowmesh.telemetry import providers

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace.export import SpanExporter


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
            StartError: a span exporter is given to the carrier ``process``, whose workers it cannot reach, or nothing
                can be written to ``capture.to``.
        """
        if span_exporter is not None and make_carrier is None and config.mirror.carrier == "process":
            raise StartError(
                "mirror.carrier: process exports from processes of its own, which a span exporter of this one cannot "
                "reach: say where to with telemetry.otlp or OTEL_*"
            )
        self._config = config
        self._processes = 1
        self._disabled = providers.sdk_disabled()
        if not self._disabled:
            providers.check(config.telemetry)
            _prepare(config)
        self._mirroring = Mirroring(
            config.experiments,
            config.mirror,
            config.telemetry,
            catalog=config.catalog,
            capture=config.capture,
            disabled=self._disabled,
            span_exporter=span_exporter,
            metric_reader=metric_reader,
            make_carrier=make_carrier,
        )

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
        mesh._processes = processes
        if config.reload.watch if watch is None else watch:
            file = FileWatch(Path(path), text.encode(), partial(mesh._reload_text, str(path)))
            mesh._mirroring.upkeep.follow(file, every=config.reload.every)
        return mesh

    def interceptor(self) -> grpc.ServerInterceptor:
        """
        Return the interceptor for ``grpc.server``.

        Raises:
            StartError: the carrier ``loop`` is configured, and a synchronous server has no loop.
        """
        if isinstance(self._mirroring.choose("thread"), LoopCarrier):
            raise StartError("the carrier loop serves grpc.aio servers only: set mirror.carrier to thread")
        return SyncInterceptor(*self._mirroring.engines.sides)

    def aio_interceptor(self) -> grpc.aio.ServerInterceptor:
        """Return the interceptor for ``grpc.aio.server``."""
        self._mirroring.choose("loop")
        return AioInterceptor(*self._mirroring.engines.sides)

    def start(self) -> None:
        """Start the carrier now instead of at the first mirrored call; with ``loop``, from inside the loop."""
        self._mirroring.start()

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
        if self._fixed(config) != self._fixed(self._config):
            self._mirroring.faults.report("reload", "only experiments are reloaded; other settings need a restart")
        self._mirroring.reload(config.experiments, config.capture)
        self._config = self._config.model_copy(update={"experiments": config.experiments})

    def reload_file(self, path: str | Path) -> None:
        """
        Do what :meth:`reload` does, from a file; one that is wrong changes nothing.

        Raises:
            ConfigError: names the file and the key.
        """
        config = configuration.load(path).shared_by(self._processes)
        with configuration.named(path):
            self.reload(config)

    def _reload_text(self, source: str, text: str) -> None:
        if not self._mirroring.closed:
            config = configuration.parse(text, source=source).shared_by(self._processes)
            with configuration.named(source):
                self.reload(config)

    def funnel(self) -> dict[FunnelKey, int]:
        """Return the account of every covered exchange so far, per target."""
        return self._mirroring.live.figures.funnel()

    def active(self) -> dict[tuple[str, str], int]:
        """Return how many shadows are in flight, by experiment and target."""
        return self._mirroring.live.figures.active()

    def aborts(self) -> dict[tuple[str, str, str], int]:
        """
        Return how many shadows were ended because their client had its call ended by id, by experiment, target and
        :class:`~shadowmesh.names.AbortResult`.
        """
        return self._mirroring.live.aborts.totals()

    def captured_bytes(self) -> int:
        """Return how many bytes of captured messages are held now, in whole pages."""
        return self._mirroring.live.credit_taken()

    def captured_calls(self) -> dict[tuple[str, str], int]:
        """Return what became of the calls that were to be captured to files, by result and reason to shed."""
        return self._mirroring.captured_calls()

    def faults(self) -> dict[str, int]:
        """Return the errors of the mirror side so far, counted per cause."""
        return self._mirroring.faults.totals()

    def status(self) -> dict[str, Any]:
        """Return what ``shadowmesh status`` shows of this process; see :mod:`shadowmesh.telemetry.status_shape`."""
        return self._mirroring.status()

    def drain(self, grace: float = DEFAULT_GRACE) -> None:
        """
        Mirror nothing new, give shadows in flight ``grace`` seconds, then cut them; export everything.

        Raises:
            LoopError: called in the event loop that the carrier shares; await :meth:`adrain` there.
        """
        self._mirroring.drain_blocking(grace)

    async def adrain(self, grace: float = DEFAULT_GRACE) -> None:
        """Do what :meth:`drain` does, from any event loop."""
        await self._mirroring.drain(grace)

    def close(self, grace: float = DEFAULT_GRACE) -> None:
        """Drain, export what waits within a few seconds, and release everything; more than once is safe."""
        self._mirroring.close(grace)

    async def aclose(self, grace: float = DEFAULT_GRACE) -> None:
        """Do what :meth:`close` does, from any event loop."""
        await self._mirroring.aclose(grace)

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

    def _fixed(self, config: configuration.Config) -> configuration.Config:
        """Return what a reload does not change."""
        capture = config.capture if self._mirroring.engines.capture is None else None
        return config.model_copy(update={"experiments": (), "capture": capture})


def _prepare(config: configuration.Config) -> None:
    """Check what targets need of this machine, and load it now: the engine may share its loop with live calls."""
    configuration.check_credentials(config)
    if any(experiment.content is Content.EVENTS for experiment in config.experiments):
        providers.check_logs(config.telemetry)
    check_budget_state(config.mirror.budget)
    _prepare_tokenizers(config.mirror)
    if any(target.budget is not None and target.budget.money for one in config.experiments for target in one.targets):
        bundled_list_prices()


def _prepare_tokenizers(mirror: MirrorSettings) -> None:
    try:
        # Workers load theirs themselves, and a vocabulary is large.
        (tokenizers.check if mirror.carrier == "process" else tokenizers.load)(mirror.tokenizers)
    except ConfigError as error:
        raise ConfigError(error.problem, key=f"mirror.tokenizers.{error.key}") from error
