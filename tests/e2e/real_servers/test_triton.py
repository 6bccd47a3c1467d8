"""A server and a client of tritonclient's own stubs, ShadowMesh in the server or in front of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from e2e.real_servers.servers import HERE, ProxyServer, installed
from stack.loopback import HOST, free_ports
from stack.running import Running
from support.collector import collector

from shadowmesh.model import Leg
from shadowmesh.names import Role
from shadowmesh.testing import SpanSink

pytestmark = pytest.mark.e2e

WITHIN = 30.0


class TritonServer(Running):
    """A server that speaks as Triton does; with ``config`` the interceptor is in it."""

    def __init__(self, python: Path, directory: Path, *, way: str, config: Path | None = None) -> None:
        (port,) = free_ports(1)
        self.address = f"{HOST}:{port}"
        environment = {"WAY": way}
        command = [str(python), str(HERE / "triton_server.py"), str(port)]
        if config is not None:
            environment["PYTHONPATH"] = str(installed(directory / "site"))
            command = [str(python), "-m", "shadowmesh", "instrument", "--config", str(config), "--", *command]
        super().__init__(command, directory, health=(port, ""), environment=environment)

    def is_ready(self) -> bool:
        return "listening at" in self.last_lines()


def ask(python: Path, address: str) -> list[dict[str, object]]:
    command = [str(python), str(HERE / "ask_triton.py"), address]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def written(directory: Path, shadow: str, otlp: str) -> Path:
    experiment = {
        "name": "triton",
        "methods": ["/inference.GRPCInferenceService/*"],
        "protocol": "oip_triton",
        "targets": [{"name": "candidate", "address": shadow}],
    }
    mirror = {"harm_guard": {"enabled": False}}
    file = directory / "shadowmesh.yaml"
    file.write_text(
        json.dumps(
            {"experiments": [experiment], "telemetry": {"otlp": {"endpoint": f"http://{otlp}"}}, "mirror": mirror}
        )
    )
    return file


def said(legs: list[Leg], role: str) -> list[tuple[str, str | None, int, int | None, tuple[str, ...]]]:
    """Return of each leg of a role its method, its status, its messages, the tokens it counted and why it ended."""
    return [
        (
            leg.method.rpartition("/")[2],
            leg.status,
            leg.message_count,
            leg.fields.output_tokens,
            leg.fields.finish_reasons,
        )
        for leg in legs
        if leg.role == role
    ]


@pytest.mark.parametrize("way_in", ["instrument", "proxy"])
def test_interleaved_answers_missing_counts_and_errors_inside_messages_are_told_apart_by_both_legs(
    programs: Mapping[str, Path], way_in: str, tmp_path: Path
) -> None:
    python = programs["mlserver"] / "python"
    sink = SpanSink()
    live, shadow = (TritonServer(python, tmp_path / way, way=way) for way in ("upper", "title"))
    with live, shadow, collector(sink) as otlp:
        alone = ask(python, live.address)
        config = written(tmp_path, shadow.address, otlp)
        front: Running
        if way_in == "proxy":
            front = ProxyServer(tmp_path / "proxy", live=live.address, config=config)
        else:
            front = TritonServer(python, tmp_path / "server", way="upper", config=config)
        with front:
            assert ask(python, front.address) == alone
            legs = sink.wait_for_legs(10, WITHIN)
    assert [one.get("id") for one in alone[:6]] == ["call-0", "call-1"] * 3
    expected = [
        ("ModelInfer", "NOT_FOUND", 0, None, ()),
        ("ModelInfer", "OK", 1, 2, ("stop",)),
        ("ModelStreamInfer", "UNKNOWN", 1, None, ()),
        ("ModelStreamInfer", "OK", 3, 3, ("stop",)),
        ("ModelStreamInfer", "OK", 3, None, ("stop",)),
    ]
    for role in (Role.LIVE, Role.SHADOW):
        assert sorted(said(legs, role), key=repr) == sorted(expected, key=repr)
