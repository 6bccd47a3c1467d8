"""What a running processor does with its evidence, unasked: it watches candidates, judges them, and says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opentelemetry.sdk.metrics.export import Metric

from shadowmesh.processor.alerts import Alerts
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.processor.verdict_metrics import VerdictMetrics
from shadowmesh.processor.verdicts import Verdicts
from shadowmesh.processor.webhook import Webhook
from shadowmesh.processor.writer import Writer
from shadowmesh.store.alerts import AlertBook
from shadowmesh.store.watches import Watched, Watching
from shadowmesh.telemetry.faults import Faults
from shadowmesh.verdict.plan import Plan


class Judging:
    """
    Of one processor, on one event loop.

    Attributes:
        verdicts: what the store says now.
        watching: how candidates are watched.

    Args:
        plans: the experiments of the processor's own file.
        wall_ns, monotonic_ns: the clocks of verdicts and alerts, and of what is remembered.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        plans: Sequence[Plan],
        *,
        faults: Faults,
        wall_ns: Callable[[], int],
        monotonic_ns: Callable[[], int],
    ) -> None:
        alerts = settings.alerts
        url = settings.store_settings.location
        self.verdicts = Verdicts(url, plans, wall_ns=wall_ns, monotonic_ns=monotonic_ns)
        self.watching = Watching(
            {plan.experiment: plan.criteria for plan in plans},
            run_length=alerts.run_length,
            repeat_ns=round(alerts.repeat_after * 1e9),
            told=alerts.webhook is not None,
        )
        self._settings = alerts
        self._faults = faults
        self._wall_ns = wall_ns
        self._metrics = VerdictMetrics(limit=settings.series, methods=settings.methods)
        self._alerts: Alerts | None = None

    def start(self, book: AlertBook, writer: Writer) -> None:
        """
        Begin to tell.

        Raises:
            StartError: a file of the webhook cannot be read, or there is no secret.
        """
        webhook, max_age = None, 0.0
        if (settings := self._settings.webhook) is not None:
            webhook = Webhook(settings, faults=self._faults, wall_ns=self._wall_ns)
            max_age = settings.max_age
        self._alerts = Alerts(book, writer, webhook, max_age=max_age, faults=self._faults, wall_ns=self._wall_ns)
        self._alerts.start()

    async def judge(self) -> None:
        """
        Make every verdict, and tell of it.

        Raises:
            StoreError: the store failed; what was said before stands.
        """
        judgement = await self.verdicts.ask(None, None)
        self._metrics.judged(judgement)
        if self._alerts is not None:
            await self._alerts.judged(judgement)

    def watched(self, watched: Sequence[Watched]) -> None:
        """Take note of what was found by watching."""
        self._metrics.watched(watched)
        if self._alerts is not None:
            self._alerts.watched(watched)

    def metrics(self, at_ns: int) -> list[Metric]:
        """Return what there is to be said of verdicts, as of the wall clock ``at_ns``."""
        return self._metrics.collect(at_ns)

    def gauges(self) -> dict[str, float]:
        """Return what metrics say of alerts; nothing before the start."""
        return {} if self._alerts is None else self._alerts.gauges()

    async def drain(self, seconds: float) -> None:
        """Deliver what waits within so many seconds; the rest waits for the next start."""
        if self._alerts is not None and self._settings.webhook is not None:
            await self._alerts.idle(seconds)

    async def close(self) -> None:
        """Tell nothing any more; safe more than once, and before the start."""
        alerts, self._alerts = self._alerts, None
        if alerts is not None:
            await alerts.close()
