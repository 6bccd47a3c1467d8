"""
From bytes to pairs, and from stored pairs to metrics, in one thread and without I/O.

What comes in is decoded, priced, paired and compared, and what has ended is put out to be stored; what was newly stored
comes back and is counted. So a pair is counted exactly once, however often its spans arrive: the store knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from opentelemetry.sdk.metrics.export import Metric, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from shadowmesh import names
from shadowmesh.compare.comparison import compare
from shadowmesh.model import Comparison, Leg, Pair
from shadowmesh.names import CostSource, Outcome, SpanOutcome
from shadowmesh.pricing import Pricing
from shadowmesh.processor.compare_span import compare_span, remarkable
from shadowmesh.processor.decode import SpanDecoder
from shadowmesh.processor.decode_attributes import LEG
from shadowmesh.processor.decode_view import otlp_view
from shadowmesh.processor.decoded import Decoded, decode_request
from shadowmesh.processor.funnel import Account, FunnelBook
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.metrics import PairMetrics
from shadowmesh.processor.pairing import Ended, Pairing
from shadowmesh.processor.sampling import SamplingBook
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.store.records import Added, ComparedPair, Content, PairRecord, Sampling
from shadowmesh.store.watches import Watched
from shadowmesh.telemetry.faults import Faults

_SCOPE = InstrumentationScope(names.SCOPE_PROCESSOR, version("shadowmesh"), names.SCHEMA_URL)

Clock = Callable[[], int]
"""Nanoseconds: of a monotonic clock, or of the wall."""
Put = Callable[[PairRecord | Content, int], None]
"""Takes what is to be stored, and the smallest position of the journal it was made from."""


class Pipeline:
    """
    The processor without its sockets, disks and threads.

    Args:
        resource: of our metrics and spans; until the processor knows what it is called, a provisional one.
        put: takes the pairs that have ended.
        emit_span: takes each compare span that a pair is worth; ``None`` makes none.
        faults: where it is counted that a leg or a pair fails here, which must not take others with it.
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
        faults: Faults | None = None,
    ) -> None:
        self._faults = faults or Faults()
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
        self._sampling = SamplingBook()
        self.texts_ns = 0
        """When the last comparison of texts that was counted had been stored."""
        self._metrics = PairMetrics(
            wall_ns(),
            limit=settings.series,
            methods=settings.methods,
            models=settings.models,
            exponential=settings.histograms == "exponential",
            similarity_match=settings.similarity_match,
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

    def earliest(self) -> int | None:
        """Return the wall-clock time of the earliest dispatch among the legs that wait; ``None`` where none does."""
        return self._pairing.earliest()

    def received(self) -> dict[str, int]:
        """Return all received spans by what became of them."""
        return self._metrics.received()

    def decode(self, signal: Signal, request: bytes) -> Decoded:
        """
        Return what is in a request; nothing of it is taken in yet.

        Raises:
            DecodeError: the bytes are no request of this signal.
        """
        return decode_request(signal, request, self._decoder)

    def apply(self, decoded: Decoded, position: int, *, counted: bool = True) -> int:
        """
        Take in what was decoded: after this its legs are paired or in the buffer. Return how many failed, and are not.

        Args:
            position: of its record in the journal.
            counted: ``False`` where a replay comes to a record that was counted before the crash.
        """
        now = self._monotonic_ns() / 1e9
        spans = decoded.spans
        outcomes = Counter({SpanOutcome.IGNORED: spans.ignored, SpanOutcome.REJECTED: spans.rejected})
        failed = 0
        for leg, size in zip(spans.legs, spans.sizes, strict=True):
            try:
                outcome, ended = self._pairing.add(self._priced(leg), now, position=position, size=size)
            except Exception as error:  # noqa: BLE001 - the one boundary: the legs beside it are not to blame
                self._faults.report("pairing", error)
                outcomes[SpanOutcome.REJECTED] += 1
                failed += 1
                continue
            outcomes[outcome] += 1
            self._end(ended)
        for content in decoded.contents:
            self._put(content, position)
        if counted:
            for outcome, count in outcomes.items():
                if count:
                    self._metrics.spans(outcome, count)
            for point in decoded.counters.funnel:
                self._funnel.add(point)
            for draws in decoded.counters.sampling:
                self._sampling.add(draws)
        return failed

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
        try:
            self._count(record, self._wall_ns() if stored_ns is None else stored_ns)
        except Exception as error:  # noqa: BLE001 - the one boundary: the pairs behind it are to be counted
            self._faults.report("count", error)

    def _count(self, record: PairRecord, now_ns: int) -> None:
        pair, comparison = record
        leg = pair.live or pair.shadow
        if leg is not None:
            self._funnel.ended(leg.experiment, pair.target, Outcome(comparison.outcome))
        self._metrics.pair(pair, comparison, now_ns)
        if (
            self._emit_span is not None
            and pair.live is not None
            and pair.shadow is not None
            and (self._every_span or remarkable(comparison, self._threshold))
        ):
            self._emit_span(compare_span(pair.live, pair.shadow, comparison, self.resource))

    def texts(self, compared: Iterable[ComparedPair]) -> None:
        """Count what was newly stored of what captured texts show."""
        for stored, shown, stored_ns in compared:
            self.texts_ns = max(self.texts_ns, stored_ns)
            try:
                self._metrics.texts(stored.record.pair, shown)
            except Exception as error:  # noqa: BLE001 - the one boundary: the pairs behind it are to be counted
                self._faults.report("count", error)

    def watched(self, watched: Iterable[Watched]) -> None:
        """Count the alarms."""
        for key, levels, alarms, _ in watched:
            self._metrics.watched(key, levels, alarms)

    def state(self) -> dict[str, Any]:
        """Return everything that was counted, as JSON has it."""
        return {
            "metrics": self._metrics.state(),
            "funnel": self._funnel.state(),
            "sampling": self._sampling.state(),
            "texts_ns": self.texts_ns,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """
        Count on from what :meth:`state` returned.

        Raises:
            TypeError, ValueError, KeyError: it is no such state.
        """
        self._funnel.restore(state["funnel"])
        self._metrics.restore(state["metrics"])
        # Checkpoints were without these before there was anything to count.
        self.texts_ns = int(state.get("texts_ns", 0))
        if "sampling" in state:
            self._sampling.restore(state["sampling"])

    def caught_up(self) -> None:
        """Take note that what was counted before the last end has been counted again."""
        self._metrics.caught_up()

    def collect(
        self, gauges: Mapping[str, float] | None = None, judged: Sequence[Metric] = (), *, again: bool = False
    ) -> MetricsData:
        """
        Return every metric as of now.

        Args:
            gauges: see :meth:`PairMetrics.collect`.
            judged: what there is to be said of verdicts.
            again: for a scrape, which gets every example and only one point a series; a new series else has two.
        """
        now_ns = self._wall_ns()
        metrics = self._metrics.collect(
            now_ns, buffered=self._pairing.size, capacity=self._pairing.capacity, gauges=gauges, again=again
        )
        if not again:
            metrics = self._metrics.with_first_points(metrics, now_ns)
        scope = ScopeMetrics(_SCOPE, [*metrics, *judged], names.SCHEMA_URL)
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

    def sampling(self) -> list[Sampling]:
        """Return how the interceptors drew calls, by target and configuration."""
        return self._sampling.sums()

    def _priced(self, leg: Leg) -> Leg:
        cost = self._pricing.cost(leg, source=CostSource.COLLECTOR)
        if cost is not leg.cost:
            LEG.put(leg, "cost", cost)
        return leg

    def _end(self, ended: list[Ended]) -> None:
        for pair, evicted, position in ended:
            comparison = Comparison(outcome=Outcome.EVICTED) if evicted else self._compared(pair)
            self._put(PairRecord(pair, comparison), position)

    def _compared(self, pair: Pair) -> Comparison:
        try:
            return compare(pair)
        except Exception as error:  # noqa: BLE001 - the one boundary: a pair is never a missing row
            self._faults.report("compare", error)
            return Comparison(outcome=Outcome.NOT_COMPARABLE)
