"""All that mirrors in a process, put together: it is told of other experiments, says what it does, and ends as one."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from shadowmesh.catalog.catalog import Catalog
from shadowmesh.errors import LoopError
from shadowmesh.mirror import process_hooks
from shadowmesh.mirror.capture_settings import CaptureSettings
from shadowmesh.mirror.carrier import Carrier, MakeCarrier, MirrorSettings
from shadowmesh.mirror.engines import Engines
from shadowmesh.mirror.judged_experiment import JudgedExperimentSettings
from shadowmesh.mirror.live import LiveSide
from shadowmesh.mirror.publication import Publication
from shadowmesh.mirror.upkeep import Upkeep
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.settings import TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace.export import SpanExporter

DEFAULT_GRACE = 5.0
"""Seconds that shadows in flight get where nobody says how many."""


class Mirroring:
    """
    One per mesh. What runs is started by the first call; interceptors keep it alive, whoever else forgets it.

    Args:
        experiments: those of the configuration, switched off or not.
        catalog: how calls are read.
        capture: where calls are captured to; ``None`` where none are.
        disabled: whether nothing is ever mirrored or captured.
        span_exporter, metric_reader, make_carrier: are used instead of what the settings and ``OTEL_*`` say.

    Attributes:
        closed: whether it has ended.

    Raises:
        StartError: nothing can be captured there.
    """

    def __init__(
        self,
        experiments: tuple[JudgedExperimentSettings, ...],
        settings: MirrorSettings,
        telemetry: TelemetrySettings,
        *,
        catalog: Catalog,
        capture: CaptureSettings | None,
        disabled: bool,
        span_exporter: SpanExporter | None,
        metric_reader: MetricReader | None,
        make_carrier: MakeCarrier | None,
    ) -> None:
        self.closed = False
        self.faults = Faults()
        self._experiments = experiments
        self._settings = settings
        self.live = LiveSide(
            experiments, settings, faults=self.faults, maps=catalog.method_map, mapped=catalog.mapped_methods
        )
        self._may_accept = not disabled
        self.live.accepting = self._may_accept and bool(experiments)
        self.upkeep = Upkeep(self.live)
        self.upkeep.watch(experiments)
        self._publication = Publication(
            self.live,
            telemetry,
            span_exporter=span_exporter,
            metric_reader=metric_reader,
            reloads=self.upkeep.reload_results,
            captured=self.captured_calls,
            status=self.status,
        )
        self.engines = Engines(
            self.live,
            self._publication,
            self.upkeep,
            settings,
            experiments=experiments,
            catalog=catalog,
            make_carrier=make_carrier,
            capture=None if disabled else capture,
        )
        if telemetry.status is not None:
            # Loaded now, so that the first question does not stop the server for imports.
            import_module("shadowmesh.mirror.status")
        process_hooks.opened(self)

    def choose(self, natural: Literal["loop", "thread"]) -> Carrier:
        """Settle on a carrier at the first interceptor that is asked for."""
        carrier = self.engines.choose(natural)
        if self.upkeep.file is not None:
            # Now and not at the first covered call: what the file covers now may be none.
            self.upkeep.start()
        return carrier

    def start(self) -> None:
        """Start the carrier now instead of at the first mirrored call; with ``loop``, from inside the loop."""
        for live in self.engines.sides:
            live.start()

    def reload(self, experiments: tuple[JudgedExperimentSettings, ...], capture: CaptureSettings | None) -> None:
        """Mirror by other experiments from now on; pairs in flight finish as they began."""
        if self.engines.capture is not None:
            self.engines.capture.reload(capture)
        # First the engines, which still know the experiments that calls have begun under.
        self.engines.reload(experiments)
        self.live.reload(experiments)
        self.live.accepting = self._may_accept and bool(experiments)
        # Only now: what the status shows, calls are decided by.
        self._experiments = experiments
        self.upkeep.watch(experiments)

    def captured_calls(self) -> dict[tuple[str, str], int]:
        """Return what became of the calls that were to be captured to files, by result and reason to shed."""
        capture = self.engines.capture
        return {} if capture is None else capture.totals()

    def status(self) -> dict[str, Any]:
        """Return what ``shadowmesh status`` shows of this process; see :mod:`shadowmesh.telemetry.status_shape`."""
        from shadowmesh.mirror.status import status_of
        from shadowmesh.telemetry.status_shape import as_json

        return as_json(
            status_of(
                self.live,
                self.engines.carrier,
                self._publication,
                self.upkeep,
                experiments=self._experiments,
                settings=self._settings,
                capture=self.engines.capture,
            )
        )

    def drain_blocking(self, grace: float) -> None:
        """
        Mirror nothing new, give shadows in flight ``grace`` seconds, then cut them; export everything.

        Raises:
            LoopError: called in the event loop that the carrier shares.
        """
        self._stop_accepting()
        self.engines.drain_blocking(grace)
        self._publication.flush()

    async def drain(self, grace: float) -> None:
        """Do the same, from any event loop."""
        self._stop_accepting()
        await self.engines.drain(grace)
        await asyncio.to_thread(self._publication.flush)

    def close(self, grace: float = DEFAULT_GRACE) -> None:
        """Drain, export what waits within a few seconds, and release everything; more than once is safe."""
        if not self.closed:
            self._stop_accepting()
            try:
                self.engines.drain_blocking(grace)
            except LoopError:
                raise
            except Exception as error:
                self.faults.report("drain", error)
            self._release()

    async def aclose(self, grace: float) -> None:
        """Do the same, from any event loop."""
        if not self.closed:
            self._stop_accepting()
            try:
                await self.engines.drain(grace)
            except Exception as error:
                self.faults.report("drain", error)
            await asyncio.to_thread(self._release)

    def forked(self) -> None:
        """Forget what runs, in a child process: no thread, channel or exporter came along."""
        self.faults.forked()
        self.live.forked()
        self._publication.forked()
        self.upkeep.forked()
        self.engines.forked()

    def _stop_accepting(self) -> None:
        self._may_accept = self.live.accepting = False
        if self.engines.capture is not None:
            self.engines.capture.stop()
        self.upkeep.stop()

    def _release(self) -> None:
        self.closed = True
        process_hooks.closed(self)
        self._publication.close()
