"""Whoever finds no room is told when to come again: both the Collector and Python's SDK do, and nothing is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from e2e.results import counted, outcomes
from e2e.stage import Stage
from e2e.troubles import post
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult
from stack.loopback import HOST
from stack.parts import Binaries
from support.legs import SECOND, live, shadow
from support.otlp import INTERCEPTOR, legs_of
from support.receiving import ScriptedIntake, receiving
from support.resources import until

from shadowmesh.errors import OverloadedError
from shadowmesh.model import Leg
from shadowmesh.processor.intake import Accepted, Signal
from shadowmesh.telemetry.spans import leg_span

pytestmark = pytest.mark.e2e

WITHIN = 60.0
# The Collector left to itself waits one second, give or take a half, before it comes again for the first time.
ASKED = 2.0
REFUSALS = 2
SENDERS, REQUESTS = 4, 25


def pair(pair_id: str, **facts: Any) -> list[Leg]:
    now = time.time_ns()
    return [leg(pair_id, started_ns=now - SECOND, ended_ns=now, **facts) for leg in (live, shadow)]


class Overloaded(ScriptedIntake):
    """Sends the first requests away, and notes when each came."""

    def __init__(self) -> None:
        super().__init__(*[OverloadedError("full", retry_after=ASKED)] * REFUSALS)
        self.came: list[float] = []

    async def take(self, signal: Signal, request: bytes) -> Accepted:
        self.came.append(time.monotonic())
        return await super().take(signal, request)


@pytest.fixture
def before_nobody(binaries: Binaries, tmp_path: Path) -> Iterator[Stage]:
    """A stage of which nothing runs but the Collector."""
    stage = Stage(binaries, tmp_path / "stage")
    with stage.collector:
        yield stage


async def test_the_collector_waits_as_long_as_it_is_asked_to_and_loses_nothing(before_nobody: Stage) -> None:
    intake, legs = Overloaded(), pair("p")
    async with receiving(intake, listen=f"{HOST}:{before_nobody.processor.otlp_grpc}"):
        await asyncio.to_thread(post, before_nobody, legs)
        await intake.until_begun(1 + REFUSALS)
    gaps = [later - earlier for earlier, later in zip(intake.came, intake.came[1:], strict=False)]
    assert len(gaps) == REFUSALS
    assert min(gaps) >= ASKED
    ((signal, request),) = intake.taken
    assert signal is Signal.TRACES
    assert {leg.span_id for leg in legs_of(request)} == {leg.span_id for leg in legs}


@pytest.fixture(scope="module")
def stage(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One whose processor takes in one request at a time."""
    settings = {"limits": {"requests": 1}}
    with Stage(binaries, tmp_path_factory.mktemp("stage"), settings=settings) as running:
        yield running


def test_a_processor_that_is_overrun_by_both_gets_every_leg_once(stage: Stage) -> None:
    name = "overrun"

    def by_the_sdk(sender: int) -> list[SpanExportResult]:
        exporter = OTLPSpanExporter(f"http://{HOST}:{stage.processor.otlp_grpc}", insecure=True)
        legs = [pair(f"sdk{sender}-{number}", experiment=name) for number in range(REQUESTS)]
        done = [exporter.export([leg_span(leg, resource=INTERCEPTOR) for leg in two]) for two in legs]
        exporter.shutdown()
        return done

    def by_the_collector(sender: int) -> None:
        for number in range(REQUESTS):
            post(stage, pair(f"collector{sender}-{number}", experiment=name))

    with ThreadPoolExecutor(2 * SENDERS) as pool:
        exports = pool.map(by_the_sdk, range(SENDERS))
        list(pool.map(by_the_collector, range(SENDERS)))
        assert {result for results in exports for result in results} == {SpanExportResult.SUCCESS}
    assert stage.processor.status()["requests"]["overloaded"] > 0
    every = 2 * SENDERS * REQUESTS
    assert until(lambda: outcomes(stage.store, name) == {"matched": every}, WITHIN), outcomes(stage.store, name)
    assert until(lambda: counted(stage, name) == every, WITHIN), counted(stage, name)
