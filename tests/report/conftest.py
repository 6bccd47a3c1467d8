"""Stores to report on, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stack.required import missing
from support import postgresql


@pytest.fixture(scope="session")
def server() -> Iterator[postgresql.Server]:
    """A PostgreSQL server for the whole run."""
    binaries = postgresql.find()
    if binaries is None:
        missing("no PostgreSQL here: apt-get install postgresql")
    with postgresql.running(binaries) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new store may be, on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/pairs.db"
    running: postgresql.Server = request.getfixturevalue("server")
    return running.new_database()
