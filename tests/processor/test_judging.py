"""A running processor says unasked what became of its candidates: as metrics, and to a webhook."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.evidence import configured, of, pairs, plan_of
from support.hooks import Receiver
from support.legs import T0
from support.otlp import OtlpSink, legs_request, sums

from shadowmesh import names
from shadowmesh.errors import StartError
from shadowmesh.model import Leg
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.service import Processor
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.verdict.plan import Plan

HOUR_NS = 3600 * 10**9


class WallClock:
    """Begins two hours after the pairs, when they are settled; moved by hand."""

    def __init__(self) -> None:
        self.now_ns = T0 + 2 * HOUR_NS

    def __call__(self) -> int:
        return self.now_ns


@asynccontextmanager
async def running(sink: OtlpSink | None, wall: WallClock, *plans: Plan, **changes: Any) -> AsyncIterator[Processor]:
    settings = ProcessorSettings.model_validate(
        {"listen": "127.0.0.1:0", "http_listen": None, "metric_interval": "1h", "checkpoint_interval": "1h"}
        | {"export": [{"endpoint": sink.endpoint, "traces": False}] if sink else []}
        | changes
    )
    # What is remembered of verdicts is as old as the wall says.
    processor = Processor(settings, wall_ns=wall, monotonic_ns=wall, plans=plans)
    await processor.start()
    try:
        yield processor
    finally:
        await processor.close()


def legs(plan: Plan, count: int, **changes: Any) -> list[Leg]:
    records = pairs(count, **of(plan), **changes)
    return [leg for record in records for leg in (record.pair.live, record.pair.shadow) if leg is not None]


async def take(processor: Processor, some: list[Leg]) -> None:
    for at in range(0, len(some), 500):
        await processor.take(Signal.TRACES, legs_request(some[at : at + 500]))
    assert await processor.stored(20)


def gauge(sink: OtlpSink, name: str, *attributes: str) -> dict[Any, float]:
    found = {}
    for point in sink.metric_history(name)[-1].gauge.data_points:
        said = {pair.key: pair.value.string_value for pair in point.attributes}
        found[tuple(said[one] for one in attributes)] = point.as_double or float(point.as_int)
    return found


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return plan_of(configured(tmp_path))


async def test_a_candidate_that_fails_is_no_go_and_an_alarm_in_metrics_and_at_the_webhook(plan: Plan) -> None:
    wall = WallClock()
    Path("secret").write_text("a secret of some length", encoding="utf-8")
    async with OtlpSink() as sink, Receiver().listening() as receiver:
        webhook = {"url": receiver.url, "secret": {"file": "secret"}}
        alerts = {"run_length": 1e5, "webhook": webhook}
        async with running(sink, wall, plan, alerts=alerts) as processor:
            await take(processor, legs(plan, 1200, failing=2))
            await processor.fold()
            await processor.judge()
            assert [post.document["type"] for post in await receiver.until(2)] == ["alarm.raised", "verdict.changed"]
            # Nothing has changed since.
            wall.now_ns += HOUR_NS
            await processor.fold()
            await processor.judge()
            await processor.drain(10)
        await sink.until(sink.metrics)
        assert gauge(sink, names.METRIC_VERDICT_STATE, names.TARGET_NAME, names.VERDICT_ANSWER) == {
            ("candidate", "GO"): 0,
            ("candidate", "NO_GO"): 1,
            ("candidate", "NOT_YET"): 0,
        }
        assert gauge(sink, names.METRIC_FINDING_STATE, names.FINDING_NAME, names.FINDING_RESULT)["errors", "FAIL"] == 1
        assert gauge(sink, names.METRIC_FINDING_ESTIMATE, names.FINDING_NAME)["errors",] == pytest.approx(0.5)
        assert gauge(sink, names.METRIC_ALARM_LEVEL, names.FINDING_NAME)["errors",] < 1
        assert sums(sink, names.METRIC_ALARMS, names.FINDING_NAME) == {"errors": 1, "latency.duration.p95": 0}
        (delivered,) = sink.metrics()[names.METRIC_ALERTS_DELIVERED].sum.data_points
        assert delivered.as_int == 2
        first = sink.metric_history(names.METRIC_ALARMS)[0].sum.data_points
        # So that the first one is an increase.
        assert {point.as_int for point in first} == {0, 1}
    alarm, change = (post.document for post in receiver.posts)
    assert (alarm["finding"], alarm["target_digest"]) == ("errors", plan.candidates["candidate"])
    assert (change["before"], change["answer"], change["pairs"]) == ("NOT_YET", "NO_GO", 1200)
    assert change["reason"].startswith("errors: ")


async def test_after_a_restart_nothing_is_told_again(plan: Plan) -> None:
    wall = WallClock()
    Path("secret").write_text("a secret of some length", encoding="utf-8")
    async with Receiver().listening() as receiver:
        alerts = {"run_length": 1e5, "webhook": {"url": receiver.url, "secret": {"file": "secret"}}}
        for round_ in range(2):
            async with running(None, wall, plan, alerts=alerts) as processor:
                if not round_:
                    await take(processor, legs(plan, 1200, failing=2))
                await processor.fold()
                await processor.judge()
                await receiver.until(2)
                wall.now_ns += HOUR_NS
                await processor.drain(10)
    assert [post.document["type"] for post in receiver.posts] == ["alarm.raised", "verdict.changed"]


async def test_without_candidates_there_is_nothing_to_say(plan: Plan) -> None:
    async with OtlpSink() as sink, running(sink, WallClock()) as processor:
        await processor.fold()
        await processor.judge()
        processor.export_metrics()
        await sink.until(sink.metrics)
        assert names.METRIC_VERDICT_STATE not in sink.metrics()
        assert names.METRIC_ALARMS not in sink.metrics()


async def test_a_webhook_without_its_secret_stops_the_start() -> None:
    webhook = {"url": "http://127.0.0.1:1/", "secret": {"env": "NOT_THERE"}}
    with pytest.raises(StartError, match=r"^processor\.alerts\.webhook\.secret\.env: NOT_THERE: "):
        async with running(None, WallClock(), alerts={"webhook": webhook}):
            pass
