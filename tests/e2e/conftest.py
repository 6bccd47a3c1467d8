"""The stack of deploy/ for a module's tests; where a part of it is not there, why."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from e2e.stage import Stage
from stack.parts import Binaries
from stack.prometheus import Prometheus
from stack.required import binaries, missing, pytest_collection_modifyitems
from stack.running import Running
from support import postgresql

__all__ = ["binaries", "pytest_collection_modifyitems"]


@pytest.fixture(scope="module")
def stage(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Everything, with one processor and its SQLite."""
    with Stage(binaries, tmp_path_factory.mktemp("stage")) as running:
        yield running


@pytest.fixture
def prometheus(binaries: Binaries, tmp_path: Path) -> Iterator[Prometheus]:
    """Nothing but a Prometheus."""
    with Stage(binaries, tmp_path / "stage").prometheus as running:
        yield running


@pytest.fixture(scope="session")
def database() -> Iterator[postgresql.Server]:
    """A PostgreSQL server for the whole run."""
    programs = postgresql.find()
    if programs is None:
        missing("no PostgreSQL here: apt-get install postgresql")
    with postgresql.running(programs) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the end of every part's log beside the failure."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            for part in value.parts if isinstance(value, Stage) else [value]:
                if isinstance(part, Running):
                    report.sections.append((f"log of {part.name}", part.last_lines()))
    return report
