"""
From drawn calls to an answer: half of the calls are mirrored, and the verdict knows that it was half; then an instance
says that it mirrored something else.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import yaml
from support.draws import exported
from support.experiments import GENERATE
from support.meshes import target
from support.otlp import METRICS, call
from verdict_end_to_end.models import Pace, asking, serving

from shadowmesh import config
from shadowmesh.build import Mesh
from shadowmesh.cli.gate import look
from shadowmesh.policy.draws import Drawn, DrawnKey
from shadowmesh.processor.service import Processor
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.store.reader import PairFilter, Reader
from shadowmesh.telemetry.settings import OtlpSettings, TelemetrySettings
from shadowmesh.verdict.judgement import Judgement
from shadowmesh.verdict.records import Answer, Finding, Reason, Result

CALLS = 900
AT_ONCE = 50
STICKY = "/sticky.Models/Generate"
CRITERIA: dict[str, Any] = {
    "latency": [],
    "errors": {"margin": 0.03},
    "coverage": {"pairs": 200, "min_blocks": 1, "min_blocks_against": 1},
}


def configured(directory: Path, address: str) -> Path:
    """Write the configuration of two experiments: one draws call by call, one takes or leaves all calls of a user."""
    target_half = target(address, "candidate", rate=0.5, max_in_flight=4 * AT_ONCE)
    experiments: list[dict[str, Any]] = [
        {"name": "drawn", "methods": [GENERATE]},
        {"name": "sticky", "methods": [STICKY], "sampling": {"by": {"metadata": "x-user"}}},
    ]
    file = directory / "shadowmesh.yaml"
    both = [one | {"criteria": CRITERIA, "targets": [target_half]} for one in experiments]
    file.write_text(yaml.safe_dump({"experiments": both, "mirror": {"harm_guard": {"enabled": False}}}))
    return file


def called(file: Path, port: int, live: ExitStack) -> None:
    """Make all calls to the live model, whose mesh exports to the port."""
    otlp = TelemetrySettings(otlp=OtlpSettings(endpoint=f"http://127.0.0.1:{port}"))
    mesh = Mesh(config.load(file).model_copy(update={"telemetry": otlp}))
    live.callback(mesh.close, 5)
    server = live.enter_context(serving(Pace(name="live"), lambda: [mesh.aio_interceptor()]))
    methods: list[Any] = [server.channel.unary_unary(method) for method in (GENERATE, STICKY)]

    def one(number: int) -> None:
        methods[number % 2](asking(number), metadata=(("x-user", f"u-{number % 80}"),), timeout=20)

    with ThreadPoolExecutor(AT_ONCE) as callers:
        for _ in callers.map(one, range(2 * CALLS)):
            continue
    mesh.drain(20)


def found(judged: Judgement, experiment: str) -> dict[str, Finding]:
    (verdict,) = (one for one in judged.verdicts if one.key.experiment == experiment)
    return {one.name: one for one in verdict.findings if not one.stratum}


def over_http(port: int) -> list[str]:
    """Return why the verdict of a running processor stays open."""
    with urlopen(f"http://127.0.0.1:{port}/v1/verdict?experiment=drawn", timeout=20) as answer:
        (verdict,) = json.load(answer)["verdicts"]
    return [one["reason"] for one in verdict["findings"] if one["result"] == "NOT_YET"]


def held_up(port: int) -> set[tuple[str, str]]:
    """Return experiment and reason of whatever is NOT_YET, as Prometheus is told."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    states = [line for line in lines if line.startswith("shadowmesh_verdict_finding_state{") and line.endswith("} 1")]
    labels = [dict(re.findall(r'(\w+)="([^"]*)"', line)) for line in states]
    return {
        (one["shadowmesh_experiment_name"], one["shadowmesh_finding_reason"])
        for one in labels
        if one["shadowmesh_finding_result"] == "NOT_YET"
    }


def test_the_share_of_calls_that_is_mirrored_is_what_was_asked_for_or_the_verdict_stays_open(tmp_path: Path) -> None:
    url, sampled = f"sqlite:///{tmp_path}/pairs.db", list[int]()
    random.seed(6)

    async def run() -> None:
        with ExitStack() as servers:
            file = configured(tmp_path, f"127.0.0.1:{servers.enter_context(serving(Pace(name='equal'))).port}")
            loaded = config.load(file)
            plans = config.plans(loaded)
            # A pair is settled when it is two seconds old, which most are by the time that all calls have been made.
            settings = {
                "data": str(tmp_path / "data"),
                "listen": "127.0.0.1:0",
                "http_listen": "127.0.0.1:0",
                "window": "1s",
                "settle": "1s",
                "scrape": True,
                "store": {"url": url},
            }
            processor = Processor(ProcessorSettings.model_validate(settings), plans=plans)
            try:
                port = await processor.start()
                with ExitStack() as live:
                    await asyncio.to_thread(called, file, port, live)
                    await asyncio.to_thread(live.close)
                assert await processor.stored(20)
                await processor.checkpoint()

                judged = await asyncio.to_thread(look, url, plans)
                drawn = found(judged, "drawn")["sample_ratio"]
                assert (drawn.result, drawn.pairs, drawn.limit) == (Result.PASS, CALLS, 0.5)
                assert drawn.estimate is not None
                sampled.append(round(drawn.estimate * CALLS))
                assert "sample_ratio" not in found(judged, "sticky"), "users are taken or left, and nothing is drawn"
                assert judged.verdicts[0].answer is Answer.GO, judged.reason

                about = DrawnKey("drawn", "candidate", plans[0].config_digest)
                (broken,) = exported(about, Drawn(2000, 400, 1000.0), instance="somebody else")
                await call(f"127.0.0.1:{port}")(METRICS, broken)
                await processor.checkpoint()
                judged = await asyncio.to_thread(look, url, plans)
                assert judged.verdicts[0].answer is Answer.NOT_YET
                assert found(judged, "drawn")["sample_ratio"].reason is Reason.SAMPLE_RATIO
                assert await asyncio.to_thread(over_http, processor.receiver.http_port) == ["sample_ratio"]
                # What the alert ShadowmeshVerdictHeldUp looks at.
                await processor.judge()
                assert ("drawn", "sample_ratio") in await asyncio.to_thread(held_up, processor.receiver.http_port)
                await processor.drain(20)
            finally:
                await processor.close()

    asyncio.run(run())
    # The users of sticky calls are told apart by no more than their buckets, and those of drawn ones not at all.
    reader = Reader.open(url)
    sessions: dict[str, list[int | None]] = {}
    for stored in reader.pairs(PairFilter()):
        leg = stored.record.pair.live
        assert leg is not None
        sessions.setdefault(leg.experiment, []).append(leg.session)
    reader.close()
    assert sessions["drawn"] == [None] * sampled[0]
    assert None not in sessions["sticky"]
    assert 10 < len(set(sessions["sticky"])) <= 40
