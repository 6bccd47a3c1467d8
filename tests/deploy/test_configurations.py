"""Every configuration file is accepted by the program that reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from deploy.queries import DEPLOY
from stack.parts import Binaries

from shadowmesh.config import load

COLLECTOR = DEPLOY / "collector"
# In the order in which they have to be given.
COLLECTOR_FILES = (
    (),
    ("tail-sampling",),
    ("load-balancing",),
    ("scrape",),
    ("secured",),
    ("tail-sampling", "scrape", "secured", "load-balancing", "load-balancing-secured"),
)
_WITHIN = 60.0


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False, timeout=_WITHIN
    )


OURS = sorted(path for path in (DEPLOY / "shadowmesh").rglob("*.yaml") if path.name != "kustomization.yaml")


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(DEPLOY / "shadowmesh")))
def test_our_own_files_are_accepted(path: Path) -> None:
    load(path)


def test_a_processor_never_sends_to_where_it_would_get_it_back() -> None:
    for path in (DEPLOY / "shadowmesh").rglob("processor.yaml"):
        (export,) = load(path).processor.export
        assert export.endpoint.endswith("://collector:4319")
        assert not export.forward_spans


def test_every_file_beside_the_collectors_is_tried() -> None:
    tried = {"collector", *(name for names in COLLECTOR_FILES for name in names)}
    assert tried == {path.stem for path in COLLECTOR.glob("*.yaml")} - {"kustomization"}


@pytest.mark.e2e
@pytest.mark.parametrize("names", COLLECTOR_FILES, ids="+".join)
def test_the_collector_accepts_its_configuration(binaries: Binaries, tmp_path: Path, names: tuple[str, ...]) -> None:
    files = [COLLECTOR / f"{name}.yaml" for name in ("collector", *names)]
    options = [word for file in files for word in ("--config", file)]
    done = run(binaries.collector, "validate", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.e2e
def test_the_collector_refuses_a_component_it_does_not_have(binaries: Binaries, tmp_path: Path) -> None:
    text = (COLLECTOR / "collector.yaml").read_text(encoding="utf-8").replace("otlp_grpc/jaeger", "otlp_old/jaeger")
    (tmp_path / "collector.yaml").write_text(text, encoding="utf-8")
    done = run(binaries.collector, "validate", "--config", "collector.yaml", cwd=tmp_path)
    assert done.returncode != 0
    assert "otlp_old" in done.stderr


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["jaeger", "jaeger-badger"])
def test_jaeger_accepts_its_configuration(binaries: Binaries, tmp_path: Path, name: str) -> None:
    done = run(binaries.jaeger, "validate", "--config", DEPLOY / "jaeger" / f"{name}.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["prometheus", "scrape"])
def test_prometheus_accepts_its_configuration_and_its_rules(binaries: Binaries, name: str) -> None:
    done = run(binaries.promtool, "check", "config", f"{name}.yaml", cwd=DEPLOY / "prometheus")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "2 rule files found" in done.stdout
