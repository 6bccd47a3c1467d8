"""Collector and processor reach each other, both ways, as each deployment has them: plain, balanced, secured."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest
import yaml
from deploy.queries import DEPLOY
from deploy.variants import merged
from stack.collector import Collector
from stack.loopback import HOST, free_ports, get
from stack.parts import Binaries
from stack.prometheus import Prometheus
from stack.required import missing
from stack.running import Running
from support.legs import SECOND, live, shadow
from support.otlp import counter_request, legs_request
from support.resources import until

from shadowmesh.names import EXPERIMENT_NAME, METRIC_MIRROR_REQUESTS, MIRROR_DECISION, TARGET_NAME, Decision

pytestmark = pytest.mark.e2e

WITHIN = 60.0
MIRRORED = {EXPERIMENT_NAME: "summaries", TARGET_NAME: "candidate", MIRROR_DECISION: Decision.MIRRORED.value}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A folder as the two secrets fill it: a certificate for this machine, its key, its issuer, and a token."""
    openssl = shutil.which("openssl")
    if openssl is None:
        missing("there is no openssl in PATH to make a certificate with")
    folder = tmp_path / "secrets"
    folder.mkdir()
    names = f"subjectAltName=DNS:localhost,DNS:processor,IP:{HOST}"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", names, "-keyout", "tls.key", "-out", "tls.crt"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=30)
    shutil.copy(folder / "tls.crt", folder / "ca.crt")
    (folder / "token").write_text("a-token-of-the-test\n", encoding="utf-8")
    return folder


def processor(directory: Path, secrets: Path, *, ports: tuple[int, int], secured: bool, sends_to: int) -> Running:
    """Return a processor; only places and pace differ from the file. Its ports are OTLP/gRPC's and its status's."""
    listen, status = ports
    file = "secured/processor.yaml" if secured else "processor.yaml"
    config = yaml.safe_load((DEPLOY / "shadowmesh" / file).read_text(encoding="utf-8"))
    settings = config["processor"]
    settings |= {"listen": f"{HOST}:{listen}", "http_listen": f"{HOST}:{free_ports(1)[0]}"}
    settings |= {"data": str(directory / "data"), "metric_interval": 1, "settle": 1, "status": f"{HOST}:{status}"}
    settings["export"][0]["endpoint"] = f"http{'s' * secured}://localhost:{sends_to}"
    if secured:
        settings["tls"] = {"certificate": str(secrets / "tls.crt"), "key": str(secrets / "tls.key")}
        settings["bearer_token"] = {"file": str(secrets / "token")}
    directory.mkdir()
    path = directory / "processor.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [sys.executable, "-m", "shadowmesh", "processor", "--config", str(path)]
    roots = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(secrets / "ca.crt")} if secured else {}
    return Running(command, directory, health=(status, "/status"), environment=roots)


@pytest.mark.parametrize(
    "variants",
    [
        ("tail-sampling",),
        ("load-balancing",),
        ("secured",),
        ("secured", "load-balancing", "load-balancing-secured"),
    ],
    ids="+".join,
)
def test_a_pair_comes_through(binaries: Binaries, secrets: Path, tmp_path: Path, variants: tuple[str, ...]) -> None:
    comparison, port, status, nobody = free_ports(4)
    metrics = tmp_path / "prometheus.yaml"
    metrics.write_text("global: {scrape_interval: 1s}", encoding="utf-8")
    config = tmp_path / "collector.yaml"
    config.write_text(yaml.safe_dump(merged(*variants)), encoding="utf-8")
    prometheus = Prometheus(binaries.prometheus, metrics, tmp_path / "prometheus")
    peers = {
        "COMPARISON_PORT": str(comparison),
        "JAEGER": f"{HOST}:{nobody}",
        "SHADOWMESH": f"localhost:{port}",
        "SHADOWMESH_HOST": "localhost",
        "SHADOWMESH_PORT": str(port),
        "PROMETHEUS": prometheus.otlp_metrics,
        "QUEUE": str(tmp_path / "queue"),
        "TOKEN_FILE": str(secrets / "token"),
        "TLS_CERTIFICATE": str(secrets / "tls.crt"),
        "TLS_KEY": str(secrets / "tls.key"),
        "TLS_ROOTS": str(secrets / "ca.crt"),
    }
    secured = "secured" in variants
    with (
        prometheus,
        Collector(binaries.collector, config, tmp_path / "collector", environment=peers) as collector,
        processor(tmp_path / "one", secrets, ports=(port, status), secured=secured, sends_to=comparison),
    ):
        now = time.time_ns()
        lasted: dict[str, Any] = {"started_ns": now - SECOND, "ended_ns": now}
        send(collector, "traces", legs_request([live(**lasted), shadow(**lasted)]))
        send(collector, "metrics", counter_request(METRIC_MIRROR_REQUESTS, [(MIRRORED, 3)]))
        matched = 'shadowmesh_pairs_total{shadowmesh_pair_outcome="matched"}'
        assert until(lambda: prometheus.query(matched) != [], WITHIN), collector.last_lines()
        assert prometheus.query(matched)[0]["value"][1] == "1"
        assert until(lambda: sent(status) == [3], WITHIN), collector.last_lines()


def sent(status: int) -> list[int]:
    """Return how many exchanges of each target the processor was told of."""
    experiments = json.loads(get(status, "/status").body)["experiments"]
    return [target["sent"] for experiment in experiments for target in experiment["targets"]]


def send(collector: Collector, signal: str, body: bytes) -> None:
    url = f"http://{HOST}:{collector.otlp_http}/v1/{signal}"
    post = Request(url, body, {"Content-Type": "application/x-protobuf"})
    with build_opener(ProxyHandler({})).open(post, timeout=10) as answer:
        answer.read()
