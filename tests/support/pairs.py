"""A pair of which everything is known, and the metrics it is recorded in."""

from __future__ import annotations

from dataclasses import replace

from support.legs import T0, lasting, live, shadow, usage
from support.verdicts import key

from shadowmesh.compare.comparison import compare
from shadowmesh.compare.texts import TextComparison
from shadowmesh.model import Cost, Leg, Pair
from shadowmesh.names import SpanOutcome
from shadowmesh.processor.metrics import PairMetrics
from shadowmesh.verdict.watch import Alarm

START, NOW = T0 - 1, T0 + 10_000_000_000
GAUGES = {
    "shadowmesh.journal.size": 4096,
    "shadowmesh.store.waiting": 5,
    "shadowmesh.store.refused": 1,
    "shadowmesh.store.late_texts": 9,
    "shadowmesh.receiver.set_aside": 2,
    "shadowmesh.alerts.waiting": 6,
    "shadowmesh.alerts.delivered": 7,
    "shadowmesh.alerts.lost": 8,
}


def dollars(amount: float) -> Cost:
    return Cost(amount=amount, currency="USD", source="collector")


def measured() -> tuple[Leg, Leg]:
    """Return a pair of which everything is known except the output."""
    return (
        live(
            **lasting(0.5),
            time_to_first_chunk=0.25,
            cost=dollars(0.5),
            fields=usage(10, 5, finish_reasons=("stop",), request_model="m"),
        ),
        shadow(
            **lasting(1.0),
            time_to_first_chunk=0.125,
            cost=dollars(0.25),
            fields=usage(10, 8, finish_reasons=("length",), request_model="m2"),
        ),
    )


def record(metrics: PairMetrics, *pairs: tuple[Leg | None, Leg | None], target: str = "candidate") -> None:
    for live_leg, shadow_leg in pairs:
        pair = Pair(pair_id="p", target=target, live=live_leg, shadow=shadow_leg)
        metrics.pair(pair, compare(pair), NOW)


def shown(metrics: PairMetrics, texts: TextComparison, **digests: str) -> None:
    """Record what the texts of a pair showed, whose legs may have ``digests`` of their outputs by role."""
    one, other = (replace(leg, output_digest=digests.get(leg.role)) for leg in measured())
    metrics.texts(Pair(pair_id="p", target="candidate", live=one, shadow=other), texts)


def everything(*, exponential: bool = False) -> PairMetrics:
    """Return metrics in which every one has a point, but for :data:`GAUGES`."""
    metrics = PairMetrics(START, exponential=exponential)
    metrics.spans(SpanOutcome.ACCEPTED, 2)
    metrics.split(3)
    record(metrics, measured())
    shown(metrics, TextComparison(0.5, 3, 0.75, equal=False))
    metrics.watched(key(), ["errors", "latency.duration.p95"], [Alarm("errors", NOW, news=True)])
    return metrics
