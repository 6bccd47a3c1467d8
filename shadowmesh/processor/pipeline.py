"""
From bytes to pairs, and from stored pairs to metrics, in one thread and without I/O.

What comes in is decoded, priced, paired and compared, and what has ended is put out to be stored; what was newly stored
comes back and is counted. So a pair is counted exactly once, however often its spans arrive: the store knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from shadowmesh import names
from shadowmesh.compare.comparison import compare
from shadowmesh.model import Comparison, Leg
from shadowmesh.names import CostSource, Outcome, SpanOutcome
from shadowmesh.pricing import Pricing
from shadowmesh.processor.compare_span import compare_span, remarkable
from shadowmesh.processor.decode import SpanDecoder, Spans, decode_funnel
from shadowmesh.processor.decode_attributes import LEG
from shadowmesh.processor.decode_content import decode_contents
from shadowmesh.processor.decode_view import otlp_view
from shadowmesh.processor.funnel import Account, FunnelBook, FunnelPoint
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.metrics import PairMetrics
from shadowmesh.processor.pairing import Ended, Pairing
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.store.records import Added, Content, PairRecord

_SCOPE = InstrumentationScope(names.SCOPE_PROCESSOR, version("shadowmesh"), names.SCHEMA_URL)

Clock = Callable[[], int]
"""Nanoseconds: of a monotonic clock, or of the wall."""
Put = Callable[[PairRecord | Content, int], None]
"""Takes what is to be stored, and the smallest position of the journal it was made from."""


class Decoded(NamedTuple):
    """What one request holds: legs, points of the funnel, captured text."""

    spans: Spans
    points: list[FunnelPoint]
    contents: list[Content]

    @property
    def ours(self) -> bool:
        """Whether anything of it is worth keeping."""
        return bool(self.spans.legs or self.points or self.contents)


NOTHING = Decoded(Spans([], 0, 0, "", []), [], [])


class Pipeline:
    """
    The processor without its sockets, disks and threads.

    Args:
        resource: of our metrics and spans; until the processor knows what it is called, a provisional one.
        put: takes the pairs that have ended.
        emit_span: takes each compare span that a pair is worth; ``None`` makes none.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        *,
        pricing: Pricing,
        resource: Resource,
        put: Put,
        emit_span: Callable[[ReadableSpan], object] | None,
        monotonic_ns: Clock,
        wall_ns: Clock,
    ) -> None:
        self._pricing = pricing
        self.resource = resource
        self._put = put
        self._emit_span = emit_span
        self._every_span = settings.compare_spans == "always"
        self._threshold = settings.compare_threshold
        self._monotonic_ns = monotonic_ns
        self._wall_ns = wall_ns
        self._decoder = SpanDecoder(otlp_view())
        self._pairing = Pairing(settings.capacity, settings.window)
        self._funnel = FunnelBook()
        self._metrics = PairMetrics(
            wall_ns(),
            limit=settings.series,
            methods=settings.methods,
            models=settings.models,
            exponential=settings.histograms == "exponential",
        )

    @property
    def waiting(self) -> int:
        """Legs in the pairing buffer."""
        return self._pairing.size

    @property
    def capacity(self) -> int:
        """Legs that the pairing buffer may hold."""
        return self._pairing.capacity

    def oldest(self) -> int | None:
        """Return the smallest position of the journal of a leg that waits; ``None`` where none does."""
        return self._pairing.oldest()

    def received(self) -> dict[str, int]:
        """Return all received spans by what became of them."""
        return self._metrics.received()

    def decode(self, signal: Signal, request: bytes) -> Decoded:
        """
        Return what is in a request; nothing of it is taken in yet.

        Raises:
            DecodeError: the bytes are no request of this signal.
        """
        if signal is Signal.TRACES:
            return Decoded(self._decoder.decode(request), [], [])
        if signal is Signal.METRICS:
            return NOTHING._replace(points=decode_funnel(request))
        return NOTHING._replace(contents=decode_contents(request))

    def apply(self, decoded: Decoded, position: int, *, counted: bool = True) -> None:
        """
        Take in what was decoded: after this its legs are paired or in the buffer.

        Args:
            position: of its record in the journal.
            counted: ``False`` where a replay comes to a record that was counted before the crash.
        """
        now = self._monotonic_ns() / 1e9
        spans = decoded.spans
        outcomes = Counter({SpanOutcome.IGNORED: spans.ignored, SpanOutcome.REJECTED: spans.rejected})
        for leg, size in zip(spans.legs, spans.sizes, strict=True):
            outcome, ended = self._pairing.add(self._priced(leg), now, position=position, size=size)
            outcomes[outcome] += 1
            self._end(ended)
        for content in decoded.contents:
            self._put(content, position)
        if not counted:
            return
        for outcome, count in outcomes.items():
            if count:
                self._metrics.spans(outcome, count)
        for point in decoded.points:
            self._funnel.add(point)

    def expire(self) -> None:
        """End the pairs whose window is over."""
        self._end(self._pairing.expire(self._monotonic_ns() / 1e9))

    def flush(self) -> None:
        """End everything that waits."""
        self._end(self._pairing.flush())

    def stored(self, records: Iterable[PairRecord], added: Added) -> None:
        """Count the pairs that were newly stored."""
        for record, new in zip(records, added.new, strict=True):
            if new:
                self.count(record)
        if added.split:
            self._metrics.split(len(added.split))

    def count(self, record: PairRecord, stored_ns: int | None = None) -> None:
        """Count one pair, which was stored now or at the wall-clock time ``stored_ns``."""
        pair, comparison = record
        self._metrics.pair(pair, comparison, self._wall_ns() if stored_ns is None else stored_ns)
        leg = pair.live or pair.shadow
        if leg is not None:
            self._funnel.ended(leg.experiment, pair.target, Outcome(comparison.outcome))
        if (
            self._emit_span is not None
            and pair.live is not None
            and pair.shadow is not None
            and (self._every_span or remarkable(comparison, self._threshold))
        ):
            self._emit_span(compare_span(pair.live, pair.shadow, comparison, self.resource))

    def state(self) -> dict[str, Any]:
        """Return everything that was counted, as JSON has it."""
        return {"metrics": self._metrics.state(), "funnel": self._funnel.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """
        Count on from what :meth:`state` returned.

        Raises:
            TypeError, ValueError, KeyError: it is no such state.
        """
        self._funnel.restore(state["funnel"])
        self._metrics.restore(state["metrics"])

    def collect(self, gauges: Mapping[str, float] | None = None, *, again: bool = False) -> MetricsData:
        """Return every metric as of now; see :meth:`PairMetrics.collect`."""
        metrics = self._metrics.collect(
            self._wall_ns(), buffered=self._pairing.size, capacity=self._pairing.capacity, gauges=gauges, again=again
        )
        scope = ScopeMetrics(_SCOPE, metrics, names.SCHEMA_URL)
        return MetricsData([ResourceMetrics(self.resource, [scope], self.resource.schema_url)])

    def accounts(self, unstored: Iterable[PairRecord] = ()) -> list[Account]:
        """Return the funnel of every target beside what became of its pairs; what is not stored yet still waits."""
        waiting = self._pairing.waiting()
        for pair, _ in unstored:
            leg = pair.live or pair.shadow
            if leg is not None:
                key = (leg.experiment, pair.target)
                waiting[key] = waiting.get(key, 0) + 1
        return self._funnel.accounts(waiting)

    def _priced(self, leg: Leg) -> Leg:
        cost = self._pricing.cost(leg, source=CostSource.COLLECTOR)
        if cost is not leg.cost:
            LEG.put(leg, "cost", cost)
        return leg

    def _end(self, ended: list[Ended]) -> None:
        for pair, evicted, position in ended:
            comparison = Comparison(outcome=Outcome.EVICTED) if evicted else compare(pair)
            self._put(PairRecord(pair, comparison), position)
