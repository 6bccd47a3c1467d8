"""MLServer and KServe by ``shadowmesh instrument`` and behind ``shadowmesh proxy``, called by clients of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from e2e.real_servers.conftest import Scene
from e2e.real_servers.servers import HERE, ModelServer, ProxyServer
from support.collector import collector

from shadowmesh.model import Leg
from shadowmesh.names import PAIR_ID, ROLE, Role
from shadowmesh.testing import SpanSink

pytestmark = pytest.mark.e2e

# Live says them in capitals, the shadow with capital letters: the second alike.
PROMPTS = ("one two three", "A")
WITHIN = 30.0


@pytest.mark.parametrize("way_in", ["instrument", "proxy"])
def test_a_real_server_answers_as_it_does_without_us_and_both_legs_of_every_call_arrive_with_what_they_said(
    scene: Scene, way_in: str, tmp_path: Path
) -> None:
    sink = SpanSink()
    clients = scene.kind.clients
    alone = [ask(scene, client, scene.live.address) for client in clients]
    for answers in alone:
        assert [answer["status"] for answer in answers] == [f"StatusCode.{code}" for code in ("OK", "OK", "NOT_FOUND")]
    with collector(sink) as otlp, mirrored(scene, way_in, otlp, tmp_path) as front:
        assert [ask(scene, client, front.address) for client in clients] == alone
        legs = sink.wait_for_legs(2 * sum(map(len, alone)), WITHIN)
        assert front.stop() == 0
    log = front.log.read_text(encoding="utf-8")
    assert "nothing is mirrored" not in log
    assert "are counted, not logged" not in log

    pairs = [pair_of(legs, leg) for leg in legs if leg.role == Role.LIVE]
    assert len(pairs) == sum(map(len, alone))
    for live, shadow in pairs:
        assert shadow_links(sink, live.pair_id) == {(live.trace_id, live.span_id)}
        assert summary(shadow) == summary(live)
    assert sorted(summary(live) for live, _ in pairs) == sorted(
        expected for client in clients for expected in expected_of(scene, client)
    )
    # Word for word the shadow says the second prompt alike.
    told = {(live.fields.output_tokens, alike(live, shadow)) for live, shadow in pairs if live.status == "OK"}
    assert told == {(3, False), (1, True)}


@contextmanager
def mirrored(scene: Scene, way_in: str, otlp: str, directory: Path) -> Iterator[ModelServer | ProxyServer]:
    """Run the server with ShadowMesh in it, or a proxy before the one that runs by itself."""
    config = written(scene, otlp, directory)
    front: ModelServer | ProxyServer
    if way_in == "proxy":
        front = ProxyServer(directory / "proxy", live=scene.live.address, config=config)
    else:
        programs = scene.programs[scene.kind.environment]
        front = ModelServer(scene.kind, programs, directory / "server", way="upper", config=config)
    with front:
        yield front


def written(scene: Scene, otlp: str, directory: Path) -> Path:
    experiment = {
        "name": "real",
        "methods": ["/inference.GRPCInferenceService/*"],
        "protocol": scene.kind.protocol,
        "output_digest": True,
        "targets": [{"name": "candidate", "address": scene.shadow.address}],
    }
    telemetry = {"otlp": {"endpoint": f"http://{otlp}"}}
    # Chance must not leave one of a few calls without its shadow.
    mirror = {"harm_guard": {"enabled": False}}
    file = directory / "shadowmesh.yaml"
    file.write_text(json.dumps({"experiments": [experiment], "telemetry": telemetry, "mirror": mirror}))
    return file


def ask(scene: Scene, client: str, address: str) -> list[Any]:
    """Return what a client got; both have what they need in MLServer's environment."""
    command = [str(scene.programs["mlserver"] / "python"), str(HERE / f"{client}.py"), address, *PROMPTS]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def pair_of(legs: list[Leg], live: Leg) -> tuple[Leg, Leg]:
    (shadow,) = [leg for leg in legs if leg.pair_id == live.pair_id and leg.role == Role.SHADOW]
    return live, shadow


def alike(live: Leg, shadow: Leg) -> bool:
    assert live.output_digest is not None
    return live.output_digest == shadow.output_digest


def shadow_links(sink: SpanSink, pair_id: str) -> set[tuple[int, int]]:
    """Return the spans that the shadow leg of a pair is linked to."""
    spans = [(span, span.attributes or {}) for span in sink.spans]
    (shadow,) = [span for span, of in spans if of.get(PAIR_ID) == pair_id and of.get(ROLE) == Role.SHADOW]
    return {(link.context.trace_id, link.context.span_id) for link in shadow.links}


def summary(leg: Leg) -> tuple[Any, ...]:
    """Return what both legs of a pair have alike."""
    fields = leg.fields
    method = leg.method.rpartition("/")[2]
    models = fields.request_model or "", fields.response_model or ""
    counts = fields.max_tokens or 0, fields.input_tokens or 0, fields.output_tokens or 0
    return method, leg.status, leg.message_count, models, counts, fields.finish_reasons


def expected_of(scene: Scene, client: str) -> Iterator[tuple[Any, ...]]:
    """Yield the summaries of a client's calls."""
    stream = client == "ask_stream"
    method, most = ("ModelStreamInfer", 0) if stream else ("ModelInfer", 64)
    for prompt in PROMPTS:
        words = len(prompt.split())
        messages = words if stream and not scene.kind.workers else 1
        yield method, "OK", messages, ("words", "words"), (most, words, words), ("stop",)
    yield method, "NOT_FOUND", 0, ("unknown", ""), (0, 0, 0), ()
