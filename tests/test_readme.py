"""What the README shows is what runs."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from support.otlp import legs_of
from support.servers import loop_thread

from shadowmesh import config
from shadowmesh.cli.main import app, main
from shadowmesh.mirror.budget_file import BudgetShareSettings
from shadowmesh.mirror.carrier import MirrorSettings
from shadowmesh.mirror.file_watch import ReloadSettings
from shadowmesh.policy.breaker import BreakerSettings
from shadowmesh.policy.budget import BudgetSettings, FallbackSettings
from shadowmesh.policy.conditions import MetadataCondition, WhenSettings
from shadowmesh.policy.credentials import CredentialSettings, TlsSettings
from shadowmesh.policy.experiment import ExperimentSettings, TargetSettings
from shadowmesh.policy.harm_settings import HarmGuardSettings
from shadowmesh.policy.retries import RetrySettings
from shadowmesh.policy.sampling import SamplingKey, SamplingSettings
from shadowmesh.policy.timebox import TimeBoxSettings
from shadowmesh.policy.transform import SystemPromptSettings, TransformSettings
from shadowmesh.pricing import PriceSettings
from shadowmesh.processor.intake import Accepted, Signal
from shadowmesh.processor.limits import LimitSettings
from shadowmesh.processor.receiver import Receiver
from shadowmesh.processor.settings import CompareThresholdSettings, ExportSettings, ProcessorSettings, QueueSettings
from shadowmesh.processor.tokens import BearerTokenSettings
from shadowmesh.telemetry.server_tls import ServerTlsSettings
from shadowmesh.telemetry.settings import TelemetrySettings
from shadowmesh.testing import Backend, echo

README = Path(__file__).parents[1] / "README.md"


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def otlp_sink(roles: list[str], enough: threading.Event) -> Iterator[int]:
    """Receive OTLP and note the role of every leg."""

    class Roles:
        async def take(self, signal: Signal, request: bytes) -> Accepted:
            if signal is Signal.TRACES:
                roles.extend(leg.role for leg in legs_of(request))
            if len(roles) >= 2:
                enough.set()
            return Accepted()

    with loop_thread() as loop:
        receiver = Receiver(ProcessorSettings(listen="127.0.0.1:0", http_listen=None), Roles())
        asyncio.run_coroutine_threadsafe(receiver.start(), loop).result(20)
        try:
            yield receiver.port
        finally:
            asyncio.run_coroutine_threadsafe(receiver.close(), loop).result(20)


def test_the_example_mirrors_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_TRACES_EXPORTER")
    roles: list[str] = []
    enough = threading.Event()
    with Backend(echo) as shadow, otlp_sink(roles, enough) as sink_port:
        live_port = free_port()
        settings = block("yaml").replace("127.0.0.1:50052", shadow.address)
        settings = settings.replace("http://127.0.0.1:24317", f"http://127.0.0.1:{sink_port}").replace(
            "rate: 0.1", "rate: 1"
        )
        (tmp_path / "shadowmesh.yaml").write_text(settings)
        (tmp_path / "serve.py").write_text(block("python").replace("50051", str(live_port)))
        server = subprocess.Popen([sys.executable, "serve.py"], cwd=tmp_path)
        try:
            with grpc.insecure_channel(f"127.0.0.1:{live_port}") as channel:
                call: Any = channel.unary_unary("/acme.Model/Generate")
                assert call(b"you", timeout=30, wait_for_ready=True) == b"an answer to you"
            assert shadow.wait_for_calls(1)[0].method == "/acme.Model/Generate"
            assert enough.wait(20)
            assert sorted(roles) == ["live", "shadow"]
        finally:
            server.terminate()
            server.wait(20)


def test_the_example_is_short() -> None:
    lines = [line for line in block("python").splitlines() if line.strip()]
    assert len(lines) <= 15


def test_the_example_configuration_is_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert config.parse(block("yaml")).experiments[0].name == "new-model"
    file = tmp_path / "shadowmesh.yaml"
    file.write_text(block("yaml"))
    assert main(["check-config", str(file)]) == 0
    assert main(["check-config", "--explain", "--rate", "200", str(file)]) == 0
    assert "10 % of the calls" in capsys.readouterr().out


def test_the_reference_names_every_key_there_is() -> None:
    text = README.read_text()
    models = (config.Config, MirrorSettings, TelemetrySettings, ProcessorSettings, ExperimentSettings, TargetSettings)
    policies = (BreakerSettings, WhenSettings, MetadataCondition, SamplingSettings, SamplingKey, RetrySettings)
    travelling = (TlsSettings, CredentialSettings, TransformSettings, SystemPromptSettings)
    limits = (BudgetSettings, FallbackSettings, BudgetShareSettings, TimeBoxSettings, ReloadSettings)
    keys = [
        key
        for model in (
            *models,
            *policies,
            *limits,
            *travelling,
            HarmGuardSettings,
            CompareThresholdSettings,
            ExportSettings,
            PriceSettings,
            QueueSettings,
            LimitSettings,
            ServerTlsSettings,
            BearerTokenSettings,
        )
        for key in model.model_fields
    ]
    missing = [key for key in keys if f"`{key}`" not in text and f"`{key}." not in text and f"`{key}:" not in text]
    assert missing == []


def test_every_command_is_in_the_readme() -> None:
    text = README.read_text()
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        assert f"shadowmesh {name}" in text


def test_the_yaml_is_yaml() -> None:
    assert set(yaml.safe_load(block("yaml"))) == {"experiments", "telemetry", "processor"}
