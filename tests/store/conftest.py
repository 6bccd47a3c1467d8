"""Every test of the contract runs on both databases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import postgresql
from support.stores import OpenStore

from shadowmesh.store.settings import RetentionSettings, StoreSettings
from shadowmesh.store.store import Store


@pytest.fixture(scope="session")
def server() -> Iterator[postgresql.Server]:
    """A PostgreSQL server for the whole run."""
    binaries = postgresql.find()
    if binaries is None:
        missing = "no PostgreSQL here: apt-get install postgresql"
        if os.environ.get("SHADOWMESH_REQUIRE_STACK") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    with postgresql.running(binaries) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new store may be, on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/pairs.db"
    running: postgresql.Server = request.getfixturevalue("server")
    return running.new_database()


@pytest.fixture
def open_store(url: str) -> Iterator[OpenStore]:
    """Opens the store, as one processor or another."""
    opened: list[Store] = []

    def open_one(name: str = "one", *, retention: RetentionSettings | None = None, now_ns: int = 1) -> Store:
        settings = StoreSettings.model_validate({"url": url, "retention": retention or RetentionSettings()})
        opened.append(Store.open(settings, name=name, instance=f"instance of {name}", now_ns=now_ns))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """A store that is open."""
    return open_store()
