"""From calls to what a verdict says beside its numbers: which pairs it left out, and how the others were compared."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.experiments import GENERATE
from support.meshes import target
from verdict_end_to_end.models import Pace, asking, serving

from shadowmesh.build import Mesh
from shadowmesh.cli.main import main
from shadowmesh.config import load
from shadowmesh.processor.service import Processor
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.telemetry.settings import OtlpSettings, TelemetrySettings

CALLS, PROMPTS, AT_ONCE, WARM_UP = 240, 40, 8, 30


def called(directory: Path, port: int) -> Path:
    """Make all calls to a live model that is mirrored, and return the configuration."""
    with ExitStack() as stack:
        address = f"127.0.0.1:{stack.enter_context(serving(Pace(name='equal'))).port}"
        experiment = {
            "name": "near",
            "methods": [GENERATE],
            "criteria": {"coverage": {"pairs": 100, "min_blocks": 1}},
            "targets": [target(address, "candidate", warm_up={"calls": WARM_UP})],
        }
        file = directory / "shadowmesh.yaml"
        mirror = {"harm_guard": {"enabled": False}}
        file.write_text(yaml.safe_dump({"experiments": [experiment], "mirror": mirror}), encoding="utf-8")
        otlp = TelemetrySettings(otlp=OtlpSettings(endpoint=f"http://127.0.0.1:{port}"))
        mesh = Mesh(load(file).model_copy(update={"telemetry": otlp}))
        stack.callback(mesh.close, 5)
        live = stack.enter_context(serving(Pace(name="live"), lambda: [mesh.aio_interceptor()]))
        call: Any = live.channel.unary_unary(GENERATE)
        with ThreadPoolExecutor(AT_ONCE) as callers:
            for _ in callers.map(lambda number: call(asking(number % PROMPTS), timeout=20), range(CALLS)):
                continue
        mesh.drain(20)
    return file


async def gathered(directory: Path, url: str) -> Path:
    """Run a processor over all calls."""
    settings = {"data": str(directory / "data"), "listen": "127.0.0.1:0", "http_listen": None, "store": {"url": url}}
    processor = Processor(ProcessorSettings.model_validate(settings))
    try:
        file = await asyncio.to_thread(called, directory, await processor.start())
        assert await processor.stored(20)
        await processor.drain(20)
    finally:
        await processor.close()
    return file


def test_a_verdict_says_which_pairs_it_left_out_and_how_the_others_were_compared(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = ("--store", url, "--config", str(asyncio.run(gathered(tmp_path, url))))

    def printed(*arguments: str) -> str:
        main(arguments)
        return capsys.readouterr().out

    (verdict,) = json.loads(printed("gate", *sources, "--json"))["verdicts"]
    around = verdict["circumstances"]
    assert (verdict["pairs"], verdict["comparable"], around["warm_up"]) == (CALLS, CALLS - WARM_UP, WARM_UP)
    assert around["prompts"] == {"distinct": pytest.approx(PROMPTS, abs=3), "pairs": CALLS - WARM_UP}
    assert any("different prompts" in one for one in verdict["warnings"])
    # Of calls that come and go one after another, as many as callers at most.
    load = around["load"]
    assert load["pairs"] == CALLS - WARM_UP
    assert 1 < load["live_mean"] <= AT_ONCE + 1
    assert 1 < load["shadow_mean"] <= 2 * AT_ONCE
    assert 0 <= around["lag"]["p95"] < around["lag"]["first_answer"]
    assert around["cached"] is None, "the model does not say"
    shown = " ".join(printed("report", *sources).split())
    assert f"left out as warm-up: {WARM_UP} pairs" in shown
    exported = [json.loads(line) for line in printed("export", "--store", url, "--format", "jsonl").splitlines()]
    assert sum(pair["warm_up"] for pair in exported) == WARM_UP
    assert len({pair["prompt_bucket"] for pair in exported}) == pytest.approx(PROMPTS, abs=3)
