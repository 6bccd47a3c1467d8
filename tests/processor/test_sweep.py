"""What a processor's store does not keep any longer goes, however much it is."""

from __future__ import annotations

from pathlib import Path

from opentelemetry.sdk.resources import Resource
from support.judging import judging
from support.legs import T0
from support.stored_pairs import matched

from shadowmesh.pricing import Pricing
from shadowmesh.processor.keeper import Keeper
from shadowmesh.processor.pipeline import Pipeline
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.store.reader import PairFilter, Reader
from shadowmesh.store.store import Store
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import FakeClock


async def test_one_sweep_deletes_everything_that_is_too_old(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pairs.db"
    settings = ProcessorSettings.model_validate(
        {"data": str(tmp_path), "store": {"url": url, "retention": {"pairs": {"age": "1h"}}}}
    )
    with Store.open(settings.store_settings, name="another", instance="i", now_ns=T0) as store:
        store.add([matched(f"{n}") for n in range(3500)], now_ns=T0)
        store.add([matched("new")], now_ns=T0 + 3600 * 10**9)
    wall_ns = FakeClock(T0 + 3601 * 10**9)
    pipeline = Pipeline(
        settings,
        pricing=Pricing(()),
        resource=Resource({}),
        put=lambda item, position: None,
        emit_span=None,
        monotonic_ns=FakeClock(),
        wall_ns=wall_ns,
    )
    keeper = Keeper(
        settings,
        pipeline,
        name="one",
        instance="i",
        judging=judging(settings, wall_ns),
        faults=Faults(),
        wall_ns=wall_ns,
    )
    await keeper.open()
    try:
        await keeper.sweep()
        reader = Reader.open(url)
        assert [stored.record.pair.pair_id for stored in reader.pairs(PairFilter())] == ["new"]
        reader.close()
    finally:
        await keeper.close()
