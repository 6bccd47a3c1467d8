"""What belongs to a processor's name is open as a whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from support.legs import T0

from shadowmesh.errors import StoreError
from shadowmesh.processor.belongings import open_belongings
from shadowmesh.processor.journal import Journal
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.store.store import Store
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import FakeClock


async def test_a_store_that_cannot_be_read_lets_go_of_the_journal(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pairs.db"
    settings = ProcessorSettings.model_validate({"data": str(tmp_path), "store": {"url": url}})
    Store.open(settings.store_settings, name="one", instance="i", now_ns=T0).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE checkpoints"))
    engine.dispose()
    faults, wall_ns = Faults(), FakeClock(T0)
    with pytest.raises(StoreError, match="checkpoints"):
        await open_belongings(settings, name="one", instance="i", faults=faults, wall_ns=wall_ns)
    journal = Journal(settings.journal_settings, faults=faults, wall_ns=wall_ns)
    await journal.close()
