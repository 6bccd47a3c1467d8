"""
Verdicts as gauges: what was last judged, for alerts and dashboards.

Every processor of a store judges all of its evidence and says the same, within a minute, so that nobody has to lead and
any of them may be gone: over processors take the greatest value, not the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from typing import NamedTuple

from opentelemetry.sdk.metrics.export import Gauge, Metric, NumberDataPoint

from shadowmesh import names
from shadowmesh.names import Bound, Side
from shadowmesh.processor.accumulators import Values
from shadowmesh.processor.instruments import JUDGED
from shadowmesh.processor.labels import allowed, label
from shadowmesh.store.watches import Watched
from shadowmesh.verdict.judgement import Judgement
from shadowmesh.verdict.records import Answer, Finding, Verdict

_RATIO = "1"


class _Value(NamedTuple):
    """A value of a gauge; ``values`` are its attributes'."""

    name: str
    values: Values
    value: float


class VerdictMetrics:
    """
    What is to be said of the candidates of one store.

    Args:
        limit: points of each gauge; more are left out.
        methods: shell patterns of the methods that are told apart, all when empty.
    """

    def __init__(self, *, limit: int, methods: Sequence[str] = ()) -> None:
        self._limit = limit
        self._methods = methods
        self._judged: list[_Value] = []
        self._levels: dict[Values, float] = {}
        # Prometheus shows a series that is gone for minutes still, so what a finding was is said to be over.
        self._over: dict[Values, None] = {}

    def judged(self, judgement: Judgement) -> None:
        """Take verdicts in place of those before."""
        self._over |= {one.values: None for one in self._judged if one.name == names.METRIC_FINDING_STATE}
        self._judged = [value for verdict in judgement.verdicts for value in self._of(verdict)]
        for one in self._judged:
            self._over.pop(one.values, None)
        for values in list(self._over)[: -self._limit]:
            del self._over[values]

    def watched(self, watched: Iterable[Watched]) -> None:
        """Take how far detectors are; of several versions of a target it is the one that was watched last."""
        for key, levels, _, _ in watched:
            for finding, level in levels.items():
                values = label(key.experiment), label(key.target), finding
                if values in self._levels or len(self._levels) < self._limit:
                    self._levels[values] = level

    def collect(self, at_ns: int) -> list[Metric]:
        """Return the gauges that have a value, as of the wall clock ``at_ns``."""
        values = [
            *self._judged,
            *(_Value(names.METRIC_FINDING_STATE, values, 0) for values in self._over),
            *(_Value(names.METRIC_ALARM_LEVEL, values, level) for values, level in self._levels.items()),
        ]
        points: dict[str, list[NumberDataPoint]] = {}
        for name, of_point, value in values:
            some = points.setdefault(name, [])
            if len(some) < self._limit:
                some.append(NumberDataPoint(_named(name, of_point), at_ns, at_ns, value))
        return [Metric(name, JUDGED[name].description, JUDGED[name].unit, Gauge(some)) for name, some in points.items()]

    def _of(self, verdict: Verdict) -> Iterator[_Value]:
        target = label(verdict.key.experiment), label(verdict.key.target)
        for answer in Answer:
            yield _Value(names.METRIC_VERDICT_STATE, (*target, str(answer)), int(answer is verdict.answer))
        for finding in verdict.findings:
            method = allowed(finding.stratum, self._methods) if finding.stratum else None
            yield from _of_finding(finding, (*target, finding.name, method))


def _of_finding(finding: Finding, values: Values) -> Iterator[_Value]:
    yield _Value(names.METRIC_FINDING_STATE, (*values, str(finding.result), str(finding.reason)), 1)
    yield _Value(names.METRIC_FINDING_MISSING, values, finding.missing)
    yield _Value(names.METRIC_FINDING_PAIRS, values, finding.pairs)
    for side, evidence, threshold in (
        (Side.FOR, finding.evidence, finding.threshold),
        (Side.AGAINST, finding.evidence_against, finding.threshold_against),
    ):
        if evidence is not None and threshold:
            share = max(evidence / threshold, 0.0)
            yield from _known(names.METRIC_FINDING_EVIDENCE, (*values, side.value), share)
    if finding.unit != _RATIO:
        return
    yield from _known(names.METRIC_FINDING_ESTIMATE, values, finding.estimate)
    yield from _known(names.METRIC_FINDING_LIMIT, values, finding.limit)
    if finding.interval is not None:
        for bound, end in zip((Bound.LOWER, Bound.UPPER), finding.interval, strict=True):
            yield from _known(names.METRIC_FINDING_INTERVAL, (*values, bound.value), end)


def _known(name: str, values: Values, value: float | None) -> Iterator[_Value]:
    """Return a value that can be drawn."""
    if value is not None and isfinite(value):
        yield _Value(name, values, value)


def _named(name: str, values: Values) -> dict[str, str]:
    attributes = JUDGED[name].attributes
    return {key: value for key, value in zip(attributes, values, strict=True) if value is not None}
