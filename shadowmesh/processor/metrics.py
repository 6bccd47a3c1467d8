"""
What one pair adds to which metric.

Everything is per target, the live side too: a live leg with n shadows is counted once in each of its n
targets' series, so that live and shadow of one target are over the same exchanges. Summing the live series
over targets counts it n times. Shed legs never ran and have no figures; an evicted pair is only counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any

from opentelemetry.sdk.metrics.export import Metric

from shadowmesh import names
from shadowmesh.compare.comparison import succeeded
from shadowmesh.model import Change, Comparison, Leg, Pair
from shadowmesh.names import CallEnd, CheckResult, Direction, Outcome, Role, SpanOutcome, TokenType
from shadowmesh.processor.accumulators import Counter, Instrument, Values, up_down
from shadowmesh.processor.exponential import ExponentialBucketHistogram
from shadowmesh.processor.histograms import BoundedHistogram, Example, HistogramInstrument
from shadowmesh.processor.instruments import INSTRUMENTS
from shadowmesh.telemetry.attributes import error_type

_LONGEST_VALUE = 256
_REMEMBERED_LABELS = 2000
_RESULTS = {True: CheckResult.MATCH, False: CheckResult.MISMATCH, None: CheckResult.NOT_COMPARABLE}


class PairMetrics:
    """
    All metrics of one processor, cumulative since ``started_ns`` (wall-clock nanoseconds).

    Args:
        limit: attribute sets per metric; the rest shares one overflow point.
        methods: shell patterns of the methods that are told apart, the rest is ``_OTHER``; all when empty.
        models: the same for the requested models, which no metric tells apart when this is empty.
        exponential: whether histograms are exponential instead of having explicit bounds.
    """

    def __init__(
        self,
        started_ns: int,
        *,
        limit: int = 2000,
        methods: Sequence[str] = (),
        models: Sequence[str] = (),
        exponential: bool = False,
    ) -> None:
        self._started_ns = started_ns
        self._methods = tuple(methods)
        self._models = tuple(models)
        self._labels: dict[tuple[str, str, str, str | None], Values] = {}
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, HistogramInstrument] = {}
        for name, unit, attributes, bounds in INSTRUMENTS:
            if bounds is None:
                self._counters[name] = Counter(name, unit, attributes, limit=limit)
            elif exponential:
                self._histograms[name] = ExponentialBucketHistogram(name, unit, attributes, limit=limit)
            else:
                self._histograms[name] = BoundedHistogram(name, unit, attributes, bounds, limit=limit)

    def spans(self, outcome: SpanOutcome, count: int = 1) -> None:
        """Count received spans by what became of them."""
        self._counters[names.METRIC_PAIRING_SPANS].add((outcome,), count)

    def received(self) -> dict[str, int]:
        """Return all received spans by what became of them."""
        sums = self._counters[names.METRIC_PAIRING_SPANS].sums()
        return {outcome.value: int(sums.get((outcome,), 0)) for outcome in SpanOutcome}

    def pair(self, pair: Pair, comparison: Comparison, now_ns: int) -> None:
        """Record the end of a pair; ``now_ns`` is the wall clock."""
        live, shadow = pair.live, pair.shadow
        leg = live or shadow
        if leg is None:
            return
        common = self._common(pair.target, leg)
        self._counters[names.METRIC_PAIRS].add((*common, comparison.outcome), 1)
        if comparison.outcome == Outcome.EVICTED:
            return
        if live is not None:
            self._leg(common, Role.LIVE, live)
        if shadow is not None:
            self._leg(common, Role.SHADOW, shadow)
        if live is not None and shadow is not None:
            # The shadow's span is the way into the trace that has both legs.
            self._both(common, comparison, max(live.ended_ns, shadow.ended_ns), now_ns, _example(shadow))

    def collect(self, at_ns: int, *, buffered: int, capacity: int) -> list[Metric]:
        """Return every metric as of the wall clock ``at_ns``, with the state of the pairing buffer."""
        started = self._started_ns
        collected = [instrument.collect(started, at_ns) for instrument in self._instruments.values()]
        return [
            *(metric for metric in collected if metric.data.data_points),
            up_down(names.METRIC_PAIRING_BUFFER_SIZE, "{span}", buffered, started, at_ns),
            up_down(names.METRIC_PAIRING_BUFFER_CAPACITY, "{span}", capacity, started, at_ns),
        ]

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
        for name, instrument in self._instruments.items():
            if name in held:
                with suppress(TypeError, ValueError, KeyError, IndexError):
                    instrument.restore(held[name])

    @property
    def _instruments(self) -> dict[str, Instrument]:
        return {**self._counters, **self._histograms}

    def _common(self, target: str, leg: Leg) -> Values:
        key = (leg.experiment, target, leg.method, leg.fields.operation)
        values = self._labels.get(key)
        if values is None:
            if len(self._labels) >= _REMEMBERED_LABELS:
                self._labels.clear()
            values = self._labels[key] = (
                _label(leg.experiment),
                _label(target),
                _allowed(leg.method, self._methods),
                None if leg.fields.operation is None else _label(leg.fields.operation),
            )
        return values

    def _leg(self, common: Values, role: Role, leg: Leg) -> None:
        if leg.end == CallEnd.SHED:
            return
        model = leg.fields.request_model if self._models else None
        side = (*common, None if model is None else _allowed(model, self._models), role.value)
        example = _example(leg)
        self._histograms[names.METRIC_CALL_DURATION].record((*side, error_type(leg), leg.status), leg.duration, example)
        if succeeded(leg):
            self._speed(side, leg, example)
        tokens = self._counters[names.METRIC_CALL_TOKENS]
        if leg.fields.input_tokens is not None:
            tokens.add((*side, TokenType.INPUT.value), leg.fields.input_tokens)
        if leg.fields.output_tokens is not None:
            tokens.add((*side, TokenType.OUTPUT.value), leg.fields.output_tokens)
        cost = leg.cost
        if cost is not None:
            self._counters[names.METRIC_CALL_COST].add((*side, cost.currency, cost.source), float(cost.amount))

    def _speed(self, side: Values, leg: Leg, example: Example) -> None:
        first, tokens = leg.time_to_first_chunk, leg.fields.output_tokens
        if first is None:
            return
        self._histograms[names.METRIC_CALL_TIME_TO_FIRST_CHUNK].record(side, first, example)
        generating = leg.duration - first
        if tokens is not None and tokens > 1 and generating > 0:
            self._histograms[names.METRIC_CALL_TIME_PER_OUTPUT_TOKEN].record(side, generating / (tokens - 1), example)
            self._histograms[names.METRIC_CALL_OUTPUT_RATE].record(side, tokens / generating, example)

    def _both(self, common: Values, comparison: Comparison, ended_ns: int, now_ns: int, example: Example) -> None:
        # The clocks of two hosts may disagree; a pair is never complete before its legs.
        lag = max(now_ns - ended_ns, 0) / 1e9
        self._histograms[names.METRIC_PAIR_LAG].record(common, lag, example)
        checks = self._counters[names.METRIC_PAIR_CHECKS]
        for check, equal in comparison.matches.items():
            checks.add((*common, check, _RESULTS[equal]), 1)
        for change, delta, ratio in (
            (comparison.duration, names.PAIR_DURATION_DELTA, names.PAIR_DURATION_RATIO),
            (
                comparison.time_to_first_chunk,
                names.PAIR_TIME_TO_FIRST_CHUNK_DELTA,
                names.PAIR_TIME_TO_FIRST_CHUNK_RATIO,
            ),
            (comparison.input_tokens, names.PAIR_INPUT_TOKENS_DELTA, None),
            (comparison.output_tokens, names.PAIR_OUTPUT_TOKENS_DELTA, names.PAIR_OUTPUT_TOKENS_RATIO),
        ):
            if change is not None:
                self._delta(delta, (*common, _direction(change)), change, example)
                self._ratio(ratio, common, change, example)
        cost = comparison.cost
        if cost is not None:
            self._delta(names.PAIR_COST_DELTA, (*common, _direction(cost), comparison.currency), cost, example)
            self._ratio(names.PAIR_COST_RATIO, common, cost, example)

    def _delta(self, name: str, values: Values, change: Change, example: Example) -> None:
        self._histograms[name].record(values, abs(change.delta), example)

    def _ratio(self, name: str | None, common: Values, change: Change, example: Example) -> None:
        if name is not None and change.ratio is not None:
            self._histograms[name].record(common, change.ratio, example)


def _example(leg: Leg) -> Example:
    return Example(leg.ended_ns, leg.trace_id, leg.span_id)


def _direction(change: Change) -> str:
    if change.delta > 0:
        return Direction.INCREASE.value
    return Direction.DECREASE.value if change.delta < 0 else Direction.NONE.value


def _label(value: str) -> str:
    """Return a value fit for a metric: a sender may leave it out or make it as long as it likes."""
    return value if 0 < len(value) <= _LONGEST_VALUE else names.OTHER


def _allowed(value: str, patterns: tuple[str, ...]) -> str:
    if patterns and not any(fnmatchcase(value, pattern) for pattern in patterns):
        return names.OTHER
    return _label(value)
