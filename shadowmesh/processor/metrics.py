"""
The metrics of a processor, and which series a pair belongs to.

Everything is per target, the live side too: a live leg with n shadows is counted once in each of its n
targets' series, so that live and shadow of one target are over the same exchanges. Summing the live series
over targets counts it n times. Shed legs never ran and have no figures; an evicted pair is only counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from opentelemetry.sdk.metrics.export import Metric

from shadowmesh import names
from shadowmesh.compare.texts import TextComparison
from shadowmesh.model import Comparison, Leg, Pair
from shadowmesh.names import CallEnd, Outcome, Role, SpanOutcome
from shadowmesh.processor.accumulators import Counter, Instrument, Values, observed
from shadowmesh.processor.exponential import ExponentialBucketHistogram
from shadowmesh.processor.figures import add_comparison, add_leg, add_texts
from shadowmesh.processor.first_points import with_first_points
from shadowmesh.processor.histograms import BoundedHistogram, Example
from shadowmesh.processor.instruments import INSTRUMENTS, OBSERVED
from shadowmesh.processor.labels import allowed, label
from shadowmesh.processor.points import KnownPoints, Points
from shadowmesh.verdict.records import EvidenceKey
from shadowmesh.verdict.watch import Alarm

_LIVE, _SHADOW = Role.LIVE.value, Role.SHADOW.value
# The key of a point that has no further values, made once.
_LAG = (names.METRIC_PAIR_LAG,)


class PairMetrics:
    """
    All metrics of one processor, cumulative since ``started_ns`` (wall-clock nanoseconds).

    Args:
        limit: attribute sets per metric; the rest shares one overflow point.
        methods: shell patterns of the methods that are told apart, the rest is ``_OTHER``; all when empty.
        models: the same for the requested models, which no metric tells apart when this is empty.
        exponential: whether histograms are exponential instead of having explicit bounds.
        similarity_match: from which similarity on two captured outputs match.
    """

    def __init__(
        self,
        started_ns: int,
        *,
        limit: int = 2000,
        methods: Sequence[str] = (),
        models: Sequence[str] = (),
        exponential: bool = False,
        similarity_match: float = 0.95,
    ) -> None:
        self._started_ns = self._observed_since_ns = self._collected_ns = started_ns
        self._methods = tuple(methods)
        self._models = tuple(models)
        self._similarity_match = similarity_match
        self._counters: dict[str, Counter] = {}
        self._instruments: dict[str, Instrument[Any]] = {}
        for name, unit, description, attributes, bounds in INSTRUMENTS:
            about: dict[str, Any] = {"limit": limit, "description": description}
            if bounds is None:
                self._instruments[name] = self._counters[name] = Counter(name, unit, attributes, **about)
            elif exponential:
                self._instruments[name] = ExponentialBucketHistogram(name, unit, attributes, **about)
            else:
                self._instruments[name] = BoundedHistogram(name, unit, attributes, bounds, **about)
        self._known = KnownPoints(self._instruments)

    def spans(self, outcome: SpanOutcome, count: int = 1) -> None:
        """Count received spans by what became of them."""
        self._counters[names.METRIC_PAIRING_SPANS].add((outcome.value,), count)

    def split(self, count: int = 1) -> None:
        """Count pairs of which two processors stored a half each."""
        self._counters[names.METRIC_PAIRING_SPLITS].add((), count)

    def received(self) -> dict[str, int]:
        """Return all received spans by what became of them."""
        sums = self._counters[names.METRIC_PAIRING_SPANS].sums()
        return {outcome.value: int(sums.get((outcome.value,), 0)) for outcome in SpanOutcome}

    def pair(self, pair: Pair, comparison: Comparison, now_ns: int) -> None:
        """Record the end of a pair; ``now_ns`` is the wall clock."""
        live, shadow = pair.live, pair.shadow
        leg = live or shadow
        if leg is None:
            return
        points = self._of_pair(pair.target, leg)
        points[names.METRIC_PAIRS, comparison.outcome].add(1)
        if comparison.outcome == Outcome.EVICTED:
            return
        example = Example(leg.ended_ns, leg.trace_id, leg.span_id)
        if live is not None:
            self._leg(_LIVE, pair.target, live, example)
        if shadow is not None:
            # The shadow's span is the way into the trace that has both legs.
            example = Example(shadow.ended_ns, shadow.trace_id, shadow.span_id)
            self._leg(_SHADOW, pair.target, shadow, example)
        if live is not None and shadow is not None:
            # The clocks of two hosts may disagree; a pair is never complete before its legs.
            lag = max(now_ns - max(live.ended_ns, shadow.ended_ns), 0) / 1e9
            points[_LAG].record(lag, example)
            add_comparison(points, comparison, example)

    def texts(self, pair: Pair, shown: TextComparison) -> None:
        """Record what the captured outputs of a pair showed, which is known some time after its end."""
        live, shadow = pair.live, pair.shadow
        if live is None or shadow is None:
            return
        add_texts(self._of_pair(pair.target, live), live, shadow, shown, similarity_match=self._similarity_match)

    def watched(self, key: EvidenceKey, findings: Iterable[str], alarms: Iterable[Alarm]) -> None:
        """Record what the change detectors of a candidate found; those that raised no alarm count as well."""
        counter, target = self._counters[names.METRIC_ALARMS], (label(key.experiment), label(key.target))
        for finding in findings:
            counter.add((*target, finding), 0)
        for alarm in alarms:
            counter.add((*target, alarm.finding), 1)

    def collect(
        self,
        at_ns: int,
        *,
        buffered: int,
        capacity: int,
        gauges: Mapping[str, float] | None = None,
        again: bool = False,
    ) -> list[Metric]:
        """
        Return every metric as of the wall clock ``at_ns``, with the state of the pairing buffer.

        Args:
            gauges: what others keep, by its name in :data:`~shadowmesh.processor.instruments.OBSERVED`.
            again: for a scrape: with the last example of each bucket, whether it was given out before or not.
        """
        values = {
            names.METRIC_PAIRING_BUFFER_SIZE: buffered,
            names.METRIC_PAIRING_BUFFER_CAPACITY: capacity,
            **(gauges or {}),
        }
        collected = [one.collect(self._started_ns, at_ns, again=again) for one in self._instruments.values()]
        return [
            *(metric for metric in collected if metric.data.data_points),
            # These begin anew with each process, whatever was restored.
            *(
                observed(
                    name,
                    one.unit,
                    values[name],
                    self._observed_since_ns,
                    at_ns,
                    monotonic=one.monotonic,
                    description=one.description,
                )
                for name, one in OBSERVED.items()
                if name in values
            ),
        ]

    def with_first_points(self, collected: Iterable[Metric], at_ns: int) -> list[Metric]:
        """Return what was collected at this wall-clock time, and of each new series that it was 0 the time before."""
        before_ns, self._collected_ns = self._collected_ns, at_ns
        return [
            with_first_points(metric, self._instruments[metric.name].begun(), before_ns)
            if metric.name in self._instruments
            else metric
            for metric in collected
        ]

    def caught_up(self) -> None:
        """What has been counted so far may have been given out before a crash: none of it is new."""
        for instrument in self._instruments.values():
            instrument.begun()

    def state(self) -> dict[str, Any]:
        """Return everything that was counted, as JSON has it."""
        return {
            "started_ns": self._started_ns,
            "instruments": {name: instrument.state() for name, instrument in self._instruments.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """
        Count on from what :meth:`state` returned; an instrument that is new, or has changed its form, begins at 0.

        Raises:
            TypeError, ValueError, KeyError: it is no such state.
        """
        self._started_ns = int(state["started_ns"])
        held = state["instruments"]
        self._known.forget()
        for name, instrument in self._instruments.items():
            if name in held:
                with suppress(TypeError, ValueError, KeyError, IndexError):
                    instrument.restore(held[name])

    def _of_pair(self, target: str, leg: Leg) -> Points:
        key = (leg.experiment, target, leg.method, leg.fields.operation)
        return self._known.get(key, lambda: self._common(target, leg))

    def _of_leg(self, role: str, target: str, leg: Leg) -> Points:
        model = leg.fields.request_model if self._models else None
        key = (leg.experiment, target, leg.method, leg.fields.operation, role, model)

        def values() -> Values:
            return (*self._common(target, leg), None if model is None else allowed(model, self._models), role)

        return self._known.get(key, values)

    def _common(self, target: str, leg: Leg) -> Values:
        operation = leg.fields.operation
        return (
            label(leg.experiment),
            label(target),
            allowed(leg.method, self._methods),
            None if operation is None else label(operation),
        )

    def _leg(self, role: str, target: str, leg: Leg, example: Example) -> None:
        if leg.end != CallEnd.SHED:
            add_leg(self._of_leg(role, target, leg), leg, example)
