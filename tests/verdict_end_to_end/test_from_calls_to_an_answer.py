"""
From calls to an answer: models of known pace, an interceptor, a processor with its store, and then the commands.

There are two experiments of one live model. Of the candidates of ``near`` one is equal to it, one is slower, one fails.
What ``far`` mirrors to is slower by its path, the control as much as the candidate. On a busy machine what is near may
be far as well, which its control shows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
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

EXCHANGES = 800
"""Of each experiment: more than errors need to be told from their margin either way."""
AT_ONCE = 25
SLOWER = 1.4
FAR = "/far.Models/Generate"
CRITERIA: dict[str, Any] = {
    "latency": [{"quantile": 0.5, "ratio": 1.2}],
    "errors": {"margin": 0.01},
    "coverage": {"pairs": 500, "min_blocks": 1, "min_blocks_against": 1},
}
EXPERIMENTS = {
    "near": (
        GENERATE,
        (
            Pace(name="equal"),
            Pace(name="slow", slower=SLOWER),
            Pace(name="failing", failing=0.05),
            Pace(name="control"),
        ),
    ),
    "far": (FAR, (Pace(name="equal", slower=SLOWER), Pace(name="control", slower=SLOWER))),
}
LATENCY = "latency.duration.p50"


def configured(directory: Path, addresses: Mapping[tuple[str, str], str]) -> Path:
    """Write the configuration of the live server, by which candidates are judged, too."""
    experiments = [
        {
            "name": name,
            "methods": [method],
            "criteria": CRITERIA,
            "targets": [
                target(
                    addresses[name, pace.name],
                    pace.name,
                    kind="control" if pace.name == "control" else "candidate",
                    max_in_flight=4 * AT_ONCE,
                )
                for pace in paces
            ],
        }
        for name, (method, paces) in EXPERIMENTS.items()
    ]
    file = directory / "shadowmesh.yaml"
    mirror = {"harm_guard": {"enabled": False}}
    file.write_text(yaml.safe_dump({"experiments": experiments, "mirror": mirror}), encoding="utf-8")
    return file


def called(directory: Path, port: int) -> Path:
    """Make all calls to the live model, whose mesh exports to the port, and return its configuration."""
    with ExitStack() as stack:
        addresses = {
            (name, pace.name): f"127.0.0.1:{stack.enter_context(serving(pace)).port}"
            for name, (_, paces) in EXPERIMENTS.items()
            for pace in paces
        }
        file = configured(directory, addresses)
        otlp = TelemetrySettings(otlp=OtlpSettings(endpoint=f"http://127.0.0.1:{port}"))
        mesh = Mesh(load(file).model_copy(update={"telemetry": otlp}))
        stack.callback(mesh.close, 5)
        live = stack.enter_context(serving(Pace(name="live"), lambda: [mesh.aio_interceptor()]))
        calls: list[Any] = [live.channel.unary_unary(method) for method, _ in EXPERIMENTS.values()]

        def call(number: int) -> None:
            calls[number % len(calls)](asking(number), timeout=20)

        with ThreadPoolExecutor(AT_ONCE) as callers:
            for _ in callers.map(call, range(EXCHANGES * len(calls))):
                continue
        mesh.drain(20)
    return file


async def gathered(directory: Path, url: str) -> Path:
    """Run a processor over all calls; some of what it stores is folded, the rest is left to whoever reads it."""
    settings = ProcessorSettings.model_validate(
        {
            "data": str(directory / "data"),
            "listen": "127.0.0.1:0",
            "http_listen": None,
            "settle": "1s",
            "store": {"url": url},
        }
    )
    processor = Processor(settings)
    try:
        file = await asyncio.to_thread(called, directory, await processor.start())
        assert await processor.stored(20)
        await processor.fold()
        await processor.drain(20)
    finally:
        await processor.close()
    return file


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Return the exit code of a command and what it printed."""
    code = main(arguments)
    return code, capsys.readouterr().out


def test_equal_models_may_go_live_and_neither_slower_nor_failing_ones(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(asyncio.run(gathered(tmp_path, url)))
    sources = ("--store", url, "--config", file)

    def judged(experiment: str, name: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
        chosen = ("--experiment", experiment, "--target", name)
        code, text = printed(capsys, "gate", *sources, *chosen, "--json")
        (verdict,) = json.loads(text)["verdicts"]
        return code, verdict, {one["name"]: one for one in verdict["findings"] if not one["stratum"]}

    code, verdict, found = judged("near", "equal")
    assert (code, verdict["answer"], verdict["comparable"]) == (0, "GO", EXCHANGES), verdict["reason"]
    # Where the path adds more than a twentieth, it is held against the control.
    low, high = found[LATENCY]["interval"]
    assert low < 1.06
    assert 0.99 < high < 1.2

    code, verdict, found = judged("near", "slow")
    assert (code, verdict["answer"], found["errors"]["result"]) == (1, "NO_GO", "PASS"), verdict["reason"]
    assert found[LATENCY]["result"] == "FAIL"
    # The path adds up to a twentieth to what the shadow takes longer.
    assert 1.2 < found[LATENCY]["interval"][0] < 1.05 * SLOWER < 1.2 * found[LATENCY]["interval"][1]

    code, verdict, found = judged("near", "failing")
    assert (code, verdict["answer"], found["errors"]["result"]) == (1, "NO_GO", "FAIL"), verdict["reason"]
    assert found["errors"]["interval"][0] < 0.05 < found["errors"]["interval"][1]

    code, verdict, found = judged("far", "equal")
    assert (code, verdict["answer"], found[LATENCY]["mode"]) == (0, "GO", "control"), verdict["reason"]
    assert found[LATENCY]["interval"][0] < 1.0 < found[LATENCY]["interval"][1]
    assert "control_bias" in verdict["warnings"][0]

    page = tmp_path / "report.html"
    assert printed(capsys, "report", *sources, "--html", str(page))[0] == 0
    code, text = printed(capsys, "report", *sources)
    assert code == 0
    for said in ("equal of near: GO", "slow of near: NO GO", "failing of near: NO GO", "equal of far: GO"):
        assert said in text
    assert page.read_text(encoding="utf-8").count("NO_GO") >= 2
