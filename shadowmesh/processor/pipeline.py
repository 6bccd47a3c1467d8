"""From bytes to metrics, in one thread and without I/O: decode, price, pair, compare, account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version

from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from shadowmesh import names
from shadowmesh.compare.comparison import compare
from shadowmesh.model import Comparison, Leg
from shadowmesh.names import CostSource, Outcome, SpanOutcome
from shadowmesh.pricing import Pricing
from shadowmesh.processor.compare_span import compare_span
from shadowmesh.processor.decode import decode_funnel, decode_spans
from shadowmesh.processor.funnel import Account, FunnelBook
from shadowmesh.processor.metrics import PairMetrics
from shadowmesh.processor.pairing import Ended, Pairing
from shadowmesh.processor.receiver import Rejected
from shadowmesh.processor.settings import ProcessorSettings

_SCOPE = InstrumentationScope(names.SCOPE_PROCESSOR, version("shadowmesh"), names.SCHEMA_URL)

Clock = Callable[[], int]
"""Nanoseconds: of a monotonic clock, or of the wall."""


class Pipeline:
    """
    The processor without its sockets.

    Args:
        emit_span: takes each compare span; ``None`` makes none.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        *,
        pricing: Pricing,
        resource: Resource,
        emit_span: Callable[[ReadableSpan], object] | None,
        monotonic_ns: Clock,
        wall_ns: Clock,
    ) -> None:
        self._pricing = pricing
        self._resource = resource
        self._emit_span = emit_span
        self._monotonic_ns = monotonic_ns
        self._wall_ns = wall_ns
        self._pairing = Pairing(settings.capacity, settings.window)
        self._funnel = FunnelBook()
        self._metrics = PairMetrics(wall_ns(), limit=settings.series, methods=settings.methods, models=settings.models)

    @property
    def waiting(self) -> int:
        """Legs in the pairing buffer."""
        return self._pairing.size

    @property
    def capacity(self) -> int:
        """Legs that the pairing buffer may hold."""
        return self._pairing.capacity

    def received(self) -> dict[str, int]:
        """Return all received spans by what became of them."""
        return self._metrics.received()

    def on_traces(self, request: bytes) -> Rejected | None:
        """
        Take in a trace request: after this its legs are paired or in the buffer.

        Raises:
            DecodeError: the bytes are no trace request; nothing of them was taken in.
        """
        spans = decode_spans(request)
        now = self._seconds()
        for leg in spans.legs:
            outcome, ended = self._pairing.add(self._priced(leg), now)
            self._metrics.spans(outcome)
            self._end(ended)
        if spans.ignored:
            self._metrics.spans(SpanOutcome.IGNORED, spans.ignored)
        if not spans.rejected:
            return None
        self._metrics.spans(SpanOutcome.REJECTED, spans.rejected)
        return Rejected(spans.rejected, spans.reason)

    def on_metrics(self, request: bytes) -> None:
        """
        Book the funnel counters of a metrics request; other metrics are none of ours.

        Raises:
            DecodeError: the bytes are no metrics request.
        """
        for point in decode_funnel(request):
            self._funnel.add(point)

    def expire(self) -> None:
        """End the pairs whose window is over."""
        self._end(self._pairing.expire(self._seconds()))

    def flush(self) -> None:
        """End everything that waits."""
        self._end(self._pairing.flush())

    def collect(self) -> MetricsData:
        """Return every metric as of now."""
        metrics = self._metrics.collect(self._wall_ns(), buffered=self._pairing.size, capacity=self._pairing.capacity)
        scope = ScopeMetrics(_SCOPE, metrics, names.SCHEMA_URL)
        return MetricsData([ResourceMetrics(self._resource, [scope], self._resource.schema_url)])

    def accounts(self) -> list[Account]:
        """Return the funnel of every target beside what became of its pairs."""
        return self._funnel.accounts(self._pairing.waiting())

    def _seconds(self) -> float:
        return self._monotonic_ns() / 1e9

    def _priced(self, leg: Leg) -> Leg:
        cost = self._pricing.cost(leg, source=CostSource.COLLECTOR)
        return leg if cost is leg.cost else replace(leg, cost=cost)

    def _end(self, ended: list[Ended]) -> None:
        for pair, evicted in ended:
            comparison = Comparison(outcome=Outcome.EVICTED) if evicted else compare(pair)
            self._metrics.pair(pair, comparison, self._wall_ns())
            leg = pair.live or pair.shadow
            if leg is not None:
                self._funnel.ended(leg.experiment, pair.target, Outcome(comparison.outcome))
            if self._emit_span is not None and pair.live is not None and pair.shadow is not None:
                self._emit_span(compare_span(pair.live, pair.shadow, comparison, self._resource))
