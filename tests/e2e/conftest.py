"""The parts of the stack, each with a configuration that stands beside this file; where there is none, why."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from stack.collector import Collector
from stack.jaeger import Jaeger
from stack.loopback import HOST
from stack.parts import Binaries, find, folder
from stack.prometheus import Prometheus
from stack.running import Running

CONFIGS = Path(__file__).parent
REQUIRED = "SHADOWMESH_REQUIRE_STACK"


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """The programs of the stack; where they are required and missing, each test fails that needs them."""
    found = find()
    if found is None:
        pytest.fail(_where_it_is_not(), pytrace=False)
    return found


@pytest.fixture
def jaeger(binaries: Binaries, tmp_path: Path) -> Iterator[Jaeger]:
    """A Jaeger that keeps its traces in memory."""
    with Jaeger(binaries.jaeger, CONFIGS / "jaeger.yaml", tmp_path / "jaeger") as running:
        yield running


@pytest.fixture
def prometheus(binaries: Binaries, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that takes OTLP."""
    with Prometheus(binaries.prometheus, CONFIGS / "prometheus.yaml", tmp_path / "prometheus") as running:
        yield running


@pytest.fixture
def collector(binaries: Binaries, jaeger: Jaeger, prometheus: Prometheus, tmp_path: Path) -> Iterator[Collector]:
    """A Collector that sends traces to Jaeger, by a queue on disk, and metrics to Prometheus."""
    directory = tmp_path / "collector"
    peers = {
        "JAEGER": f"{HOST}:{jaeger.otlp_grpc}",
        "PROMETHEUS": prometheus.otlp_metrics,
        "QUEUE": str(directory / "queue"),
    }
    with Collector(binaries.collector, CONFIGS / "collector.yaml", directory, environment=peers) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the end of every part's log beside the failure."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Running):
                report.sections.append((f"log of {value.name}", value.last_lines()))
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the stack, skip the tests that need it; one stands for all, so that the reason is told once."""
    waiting = [item for item in items if "binaries" in getattr(item, "fixturenames", ())]
    if not waiting or os.environ.get(REQUIRED) == "1" or find() is not None:
        return
    waiting[0].add_marker(pytest.mark.skip(reason=_where_it_is_not()))
    config.hook.pytest_deselected(items=waiting[1:])
    items[:] = [item for item in items if item not in waiting[1:]]


def _where_it_is_not() -> str:
    return f"the stack is not in {folder()}: run make stack"
