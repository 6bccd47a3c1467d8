"""
Every metric of the product, as OTLP: twenty minutes of one experiment, made at once.

Prometheus takes the past, so a query over minutes has its data without anybody waiting. The processor's metrics and the
interceptor's come from their own classes; what is here is only what they are told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from support.legs import SECOND, live, shadow, usage
from support.verdicts import FINDINGS, finding, judgement, key, verdict

from shadowmesh import names
from shadowmesh.compare.comparison import compare
from shadowmesh.compare.texts import TextComparison
from shadowmesh.model import Cost, Leg, Pair
from shadowmesh.names import (
    AbortResult,
    BudgetLimit,
    CaptureResult,
    Decision,
    DropReason,
    HarmFigure,
    ReloadResult,
    SpanOutcome,
    TimeBoxLimit,
)
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.draws import Drawn, DrawnKey
from shadowmesh.policy.funnel import FunnelKey, LossKey
from shadowmesh.policy.skew import KeyFigures
from shadowmesh.processor.instruments import OBSERVED
from shadowmesh.processor.metrics import PairMetrics
from shadowmesh.processor.verdict_metrics import VerdictMetrics
from shadowmesh.store.watches import Watched
from shadowmesh.telemetry.metrics import MirrorMetrics
from shadowmesh.verdict.watch import Alarm

EXPERIMENT, TARGET = "summaries", "candidate"
EVERY = 15
STEPS = 80
_KEPT = OBSERVED.keys() - {names.METRIC_PAIRING_BUFFER_SIZE, names.METRIC_PAIRING_BUFFER_CAPACITY}
_SCHEMA = names.SCHEMA_URL


def exports(now: float) -> Iterator[ExportMetricsServiceRequest]:
    """Yield what a processor and a server exported every 15 s of the twenty minutes before ``now``, a Unix time."""
    ended = int(now * SECOND)
    begun = ended - STEPS * EVERY * SECOND
    processor, judged, server = PairMetrics(begun), VerdictMetrics(limit=100), _Server()
    for step in range(STEPS + 1):
        at = begun + step * EVERY * SECOND
        _pairs(processor, at)
        _judged(processor, judged)
        server.exchanges(step)
        collected = processor.collect(at, buffered=200 + step, capacity=1000, gauges=dict.fromkeys(_KEPT, step))
        collected += judged.collect(at)
        scope = ScopeMetrics(InstrumentationScope(names.SCOPE_PROCESSOR, schema_url=_SCHEMA), collected, _SCHEMA)
        resource = Resource({names.SERVICE_NAME: "shadowmesh-processor", names.SERVICE_INSTANCE_ID: "p-1"})
        yield encode_metrics(MetricsData([ResourceMetrics(resource, [scope], _SCHEMA)]))
        yield _at(server.export(), begun, at)
    server.close()


def send(url: str, *, now: float | None = None) -> None:
    """
    Post the twenty minutes to an OTLP/HTTP endpoint for metrics.

    Raises:
        urllib.error.HTTPError: it refused one.
    """
    opener = build_opener(ProxyHandler({}))
    for request in exports(time.time() if now is None else now):
        body = request.SerializeToString()
        post = Request(url, body, {"Content-Type": "application/x-protobuf"})
        with opener.open(post, timeout=10) as answer:
            answer.read()


def _pairs(metrics: PairMetrics, at: int) -> None:
    """Count pairs of every outcome that ended just before ``at``, and the spans they came in."""
    for outcome in SpanOutcome:
        metrics.spans(outcome, 2)
    metrics.split()
    for number in range(10):
        begun = at - 2 * SECOND
        common: dict[str, Any] = {
            "fields": usage(10, 5 + number % 3, finish_reasons=("stop",)),
            "output_digest": f"{number % 2}",
        }
        first = live(f"p{number}", time_to_first_chunk=0.1, cost=_dollars(0.002), **_lasting(begun, 0.4), **common)
        second = shadow(f"p{number}", time_to_first_chunk=0.2, cost=_dollars(0.001), **_lasting(begun, 0.5), **common)
        failed = shadow(f"f{number}", status="UNAVAILABLE", **_lasting(begun, 0.1))
        _count(metrics, first, second, at)
        if not number:
            _count(metrics, first, failed, at)
            _count(metrics, first, None, at)
            _count(metrics, None, second, at)


def _judged(metrics: PairMetrics, judged: VerdictMetrics) -> None:
    """Say all that a verdict can say, and raise an alarm."""
    findings = [finding("errors"), finding("errors", stratum="acme.v1.Models/Generate"), *FINDINGS]
    judged.judged(judgement(verdict(target=TARGET, findings=tuple(findings))))
    metrics.watched(key(TARGET), ["errors"], [Alarm("errors", 0, news=True)])
    judged.watched([Watched(key(TARGET), {"errors": 0.5}, [], 0)])


def _count(metrics: PairMetrics, first: Leg | None, second: Leg | None, at: int) -> None:
    pair = Pair(pair_id="p", target=TARGET, live=first, shadow=second)
    metrics.pair(pair, compare(pair), at)
    metrics.texts(pair, TextComparison(0.8, 40, 0.4, equal=False))


def _lasting(begun: int, seconds: float) -> dict[str, Any]:
    return {"started_ns": begun, "ended_ns": begun + round(seconds * SECOND)}


def _dollars(amount: float) -> Cost:
    return Cost(amount=amount, currency="USD", source="collector")


class _Server:
    """A live server's funnel; everything that can be said of a target is said."""

    def __init__(self) -> None:
        self._step = 0
        self._reader = InMemoryMetricReader()
        self._metrics = MirrorMetrics(
            self._reader,
            Resource({names.SERVICE_NAME: "model-server", names.SERVICE_INSTANCE_ID: "i-1"}),
            funnel=self._funnel,
            active=lambda: {(EXPERIMENT, TARGET): 3},
            queued=lambda: 5,
            lost=lambda: {LossKey(EXPERIMENT, TARGET, "export"): self._step},
            closed=lambda: {(EXPERIMENT, TARGET): ""},
            remaining=self._remaining,
            reloads=lambda: {ReloadResult.APPLIED: self._step},
            harm=lambda: HarmFigure.LATENCY if self._step > STEPS // 2 else "",
            sampling=lambda: {EXPERIMENT: KeyFigures(0.25, self._step)},
            draws=lambda: {
                DrawnKey(EXPERIMENT, TARGET, "c" * 12): Drawn(100 * self._step, 10 * self._step, 10.0 * self._step)
            },
            captured=lambda: {
                (CaptureResult.WRITTEN, ""): 10 * self._step,
                (CaptureResult.SHED, DropReason.CAPTURE_FULL): self._step,
            },
            aborts=lambda: {(EXPERIMENT, TARGET, AbortResult.ASKED): self._step},
        )

    def exchanges(self, step: int) -> None:
        """Go on to this step."""
        self._step = step

    def export(self) -> ExportMetricsServiceRequest:
        """Collect."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return encode_metrics(data)

    def close(self) -> None:
        """End the SDK's provider."""
        self._metrics.close(1)

    def _funnel(self) -> dict[FunnelKey, int]:
        counts = {
            (Decision.MIRRORED, ""): 14,
            (Decision.NOT_SAMPLED, ""): 90,
            (Decision.DROPPED, DropReason.QUEUE_FULL): 1,
            (Decision.DROPPED, DropReason.NOT_STARTED): 1,
            (Decision.DISABLED, DropReason.OFF_SLOT): 5,
        }
        return {FunnelKey(EXPERIMENT, TARGET, *key): count * self._step for key, count in counts.items()}

    def _remaining(self) -> list[Remaining]:
        left = 1 - self._step / STEPS / 2
        return [
            Remaining(EXPERIMENT, TARGET, BudgetLimit.PER_DAY, "USD", 100.0, 100 * left),
            Remaining(EXPERIMENT, TARGET, BudgetLimit.TOKENS, "", 1e6, 1e6 * left),
            Remaining(EXPERIMENT, TARGET, TimeBoxLimit.PAIRS, "", 1e4, 1e4 * left),
        ]


def _at(request: ExportMetricsServiceRequest, begun: int, at: int) -> ExportMetricsServiceRequest:
    """Put every point of a request of the SDK's, which knows the present only, at a time."""
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in getattr(metric, metric.WhichOneof("data") or "").data_points:
                    point.time_unix_nano = at
                    if point.start_time_unix_nano:
                        point.start_time_unix_nano = begun
    return request
