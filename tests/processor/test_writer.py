"""What is stored, whatever the store makes of it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr
from support.legs import T0
from support.stored_pairs import matched

from shadowmesh.processor.writer import Stored, Writer
from shadowmesh.store.records import Added, PairRecord
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import FakeClock


class BrokenStore(Store):
    """A store with a fault, at one pair."""

    def add(self, records: Sequence[PairRecord], *, now_ns: int) -> Added:
        if any(record.pair.pair_id == "poison" for record in records):
            raise ZeroDivisionError
        return super().add(records, now_ns=now_ns)


class SilentStore(Store):
    """A store that gives no answer until it is let go."""

    asked = threading.Event()
    let_go = threading.Event()

    def add(self, records: Sequence[PairRecord], *, now_ns: int) -> Added:
        self.asked.set()
        self.let_go.wait(20)
        return super().add(records, now_ns=now_ns)


def opened(kind: type[Store], tmp_path: Path) -> Store:
    settings = StoreSettings(url=SecretStr(f"sqlite:///{tmp_path}/pairs.db"))
    return kind.open(settings, name="one", instance="i", now_ns=T0)


async def test_a_pair_that_breaks_the_store_is_lost_alone_and_counted(tmp_path: Path) -> None:
    stored: list[Stored] = []
    writer = Writer(opened(BrokenStore, tmp_path), stored.append, faults=Faults(), wall_ns=FakeClock(T0))
    for pair_id in ("p1", "poison", "p2"):
        writer.put(matched(pair_id), 0)
    writer.start()
    assert await writer.drain(20)
    assert writer.refused == 1
    assert [record.pair.pair_id for one in stored for record in one.records] == ["p1", "p2"]
    await writer.close()


async def test_a_store_that_gives_no_answer_is_left_alone_at_the_end_and_closed_when_it_does(tmp_path: Path) -> None:
    faults, store = Faults(), opened(SilentStore, tmp_path)
    writer = Writer(store, lambda _: None, faults=faults, wall_ns=FakeClock(T0), patience=0.01)
    writer.put(matched("p1"), 0)
    writer.start()
    assert await asyncio.to_thread(SilentStore.asked.wait, 20)
    assert not await writer.drain(0.01)
    await asyncio.wait_for(writer.close(), 10)
    assert faults.totals() == {"store: gives no answer, and was left alone": 1}
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("shadowmesh-store")]
    SilentStore.let_go.set()
    for thread in threads:
        await asyncio.to_thread(thread.join, 20)
        assert not thread.is_alive()


HANGING = """
import threading
from concurrent.futures import ThreadPoolExecutor
from shadowmesh.cli.processor import leave_what_hangs
from shadowmesh.processor.writer import THREAD
ThreadPoolExecutor(1, thread_name_prefix=THREAD).submit(threading.Event().wait)
leave_what_hangs(0.01)
print("not reached")
"""


async def test_a_process_ends_though_a_thread_waits_for_its_store() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGING, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert await asyncio.wait_for(process.communicate(), 20) == (b"", b"")
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
