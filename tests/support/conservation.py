"""Both ends of a lossy way: what an interceptor says it sent, and what a processor counts of what came."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from support.metrics import attributes_of, data_of, points_of, received, value_of
from support.otlp import legs_of, spans_request

from shadowmesh.compare.comparison import compare
from shadowmesh.model import Comparison, Leg
from shadowmesh.names import WITHOUT_LEGS, Decision, Outcome
from shadowmesh.processor.metrics import PairMetrics
from shadowmesh.processor.pairing import Ended, Pairing

Target = tuple[str, str]


class LossyExporter(SpanExporter):
    """Loses every so-many-th export; what it takes is :attr:`legs`, as they come out of OTLP's bytes."""

    def __init__(self, every: int) -> None:
        self.legs: list[Leg] = []
        self.exports = 0
        self._every = every

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.exports += 1
        if self.exports % self._every == 0:
            return SpanExportResult.FAILURE
        self.legs += legs_of(spans_request(spans))
        return SpanExportResult.SUCCESS


def counted(legs: Iterable[Leg]) -> MetricsData:
    """Return the metrics of a processor that received these legs, and then nothing for longer than its window."""
    pairing, metrics = Pairing(100_000, 60.0), PairMetrics(time.time_ns())

    def end(ended: Iterable[Ended]) -> None:
        for one in ended:
            comparison = Comparison(outcome=Outcome.EVICTED) if one.evicted else compare(one.pair)
            metrics.pair(one.pair, comparison, time.time_ns())

    for leg in legs:
        outcome, ended = pairing.add(leg, 0.0)
        metrics.spans(outcome)
        end(ended)
    end(pairing.flush())
    collected = metrics.collect(time.time_ns(), buffered=0, capacity=100_000)
    return data_of(collected, service__name="shadowmesh-processor", service__instance__id="p")


def sums(data: MetricsData, name: str) -> dict[Target, dict[tuple[str, ...], int]]:
    """Return the points of a counter per target, by their other attributes' values."""
    found: dict[Target, dict[tuple[str, ...], int]] = {}
    for point in points_of(received(data)[name]) if name in received(data) else ():
        about: dict[str, Any] = attributes_of(point)
        place = about.pop("shadowmesh.experiment.name"), about.pop("shadowmesh.target.name")
        others = tuple(value for key, value in sorted(about.items()) if key.startswith("shadowmesh."))
        line = found.setdefault(place, {})
        line[others] = line.get(others, 0) + int(value_of(point))
    return found


def sent(data: MetricsData) -> dict[Target, int]:
    """Return how many exchanges had legs to be sent."""
    return {
        target: sum(
            count
            for (decision, *reason), count in line.items()
            if decision in (Decision.MIRRORED, Decision.DROPPED) and not WITHOUT_LEGS & set(reason)
        )
        for target, line in sums(data, "shadowmesh.mirror.requests").items()
    }


def paired(data: MetricsData) -> dict[Target, dict[str, int]]:
    """Return how many pairs ended, by outcome."""
    return {
        target: {outcome: count for (outcome,), count in line.items()}
        for target, line in sums(data, "shadowmesh.pairs").items()
    }


def lost(data: MetricsData) -> dict[Target, int]:
    """Return how many exchanges are known to have lost their legs."""
    return {target: sum(line.values()) for target, line in sums(data, "shadowmesh.mirror.lost").items()}
