"""The README's query for what is missing, asked of Prometheus: 0 for each target, however lossy the way between."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from stack.prometheus import Prometheus
from support.conservation import LossyExporter, counted
from support.legs import live, shadow
from support.metrics import bytes_of
from support.resources import until

from shadowmesh.names import Decision, DropReason, LossReason
from shadowmesh.policy.funnel import FunnelKey, LossKey
from shadowmesh.telemetry.metrics import MirrorMetrics
from shadowmesh.telemetry.spans import leg_span

pytestmark = pytest.mark.e2e

README = Path(__file__).parents[2] / "README.md"
WITHIN = 20.0
EXCHANGES, EVERY = 50, 5


def query() -> str:
    """Return the query as the README has it."""
    (found,) = re.findall(r"```promql\n(.+?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


def interceptor(lost: int) -> MetricsData:
    """Return what an interceptor says that had mirrored, shed and turned away exchanges."""
    reader = InMemoryMetricReader()
    funnel = {
        FunnelKey("summaries", "candidate", Decision.MIRRORED, ""): EXCHANGES - 10,
        FunnelKey("summaries", "candidate", Decision.DROPPED, DropReason.QUEUE_FULL): 10,
        FunnelKey("summaries", "candidate", Decision.DROPPED, DropReason.NOT_STARTED): 7,
        FunnelKey("summaries", "candidate", Decision.NOT_SAMPLED, ""): 400,
        FunnelKey("summaries", "quiet", Decision.MIRRORED, ""): 3,
    }
    metrics = MirrorMetrics(
        reader,
        Resource({"service.name": "model-server", "service.instance.id": "i"}),
        funnel=lambda: funnel,
        active=dict,
        queued=lambda: 0,
        lost=lambda: {LossKey("summaries", "candidate", LossReason.EXPORT): lost},
        closed=dict,
        remaining=tuple,
        reloads=dict,
        harm=str,
        sampling=dict,
        draws=dict,
    )
    data = reader.get_metrics_data()
    assert data is not None
    metrics.close(5.0)
    return data


def send(prometheus: Prometheus, data: MetricsData) -> None:
    request = Request(prometheus.otlp_metrics, bytes_of(data), {"content-type": "application/x-protobuf"})
    with build_opener(ProxyHandler({})).open(request, timeout=WITHIN) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("unnoticed", [0, 4])
def test_what_the_query_finds_missing_is_what_nobody_knows_of(prometheus: Prometheus, unnoticed: int) -> None:
    exporter, lost = LossyExporter(EVERY), EXCHANGES // EVERY
    for n in range(EXCHANGES):
        shed: dict[str, Any] = {"end": "shed", "status": None, "drop_reason": "queue_full"} if n < 10 else {}
        legs = live(f"p{n}"), shadow(f"p{n}", **shed)
        exporter.export([leg_span(leg, resource=Resource({})) for leg in legs])
    send(prometheus, interceptor(lost - unnoticed))
    send(prometheus, counted(exporter.legs))

    def missing() -> dict[str, float]:
        found = prometheus.query(query())
        return {one["metric"]["shadowmesh_target_name"]: float(one["value"][1]) for one in found}

    began = time.monotonic()
    assert until(lambda: len(missing()) == 2, WITHIN), time.monotonic() - began
    # Nothing was ever counted of the second, which is no reason to say nothing of it.
    assert missing() == {"candidate": unnoticed, "quiet": 3}
