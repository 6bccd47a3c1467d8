"""A running processor makes ledgers of what is settled, and promises no more than it can keep."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from support.folded import KEY
from support.legs import SECOND, live, shadow
from support.otlp import legs_request

from shadowmesh.model import Leg
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.pairing import Pairing
from shadowmesh.processor.service import Processor
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.store.evidence import EvidenceBook
from shadowmesh.store.folding import extents
from shadowmesh.store.reader import Reader
from shadowmesh.store.tables import LEDGERS, PROCESSORS
from shadowmesh.store.unfolded import Extent

WINDOW, SETTLE = 60, 60


class WallClock:
    """A wall clock that moves when it is told to; it begins now, because files have times too."""

    def __init__(self) -> None:
        self.now_ns = time.time_ns()

    def __call__(self) -> int:
        return self.now_ns


@asynccontextmanager
async def running(wall: WallClock, **changes: Any) -> AsyncIterator[Processor]:
    settings = ProcessorSettings.model_validate(
        {"listen": "127.0.0.1:0", "http_listen": None, "metric_interval": "1h", "checkpoint_interval": "1h"}
        | {"window": f"{WINDOW}s", "settle": f"{SETTLE}s"}
        | changes
    )
    processor = Processor(settings, wall_ns=wall)
    await processor.start()
    try:
        yield processor
    finally:
        await processor.close()


async def take(processor: Processor, *legs: Leg) -> None:
    await processor.take(Signal.TRACES, legs_request(list(legs)))
    assert await processor.stored(20)


def legs(pair_id: str, at_ns: int) -> list[Leg]:
    times: dict[str, Any] = {"started_ns": at_ns, "ended_ns": at_ns + SECOND // 5, "config_digest": KEY.config_digest}
    return [live(pair_id, **times), shadow(pair_id, target_digest=KEY.target_digest, **times)]


def opened() -> Reader:
    return Reader.open(f"sqlite:///{Path('shadowmesh-data').absolute()}/pairs.db")


def watermark() -> int | None:
    reader = opened()
    with reader.reading() as connection:
        watermark_ns: int | None = connection.execute(PROCESSORS.select()).one().watermark_ns
    reader.close()
    return watermark_ns


def folded() -> tuple[int, int]:
    """Return up to which number was folded, and how many ledgers there are."""
    reader = opened()
    with reader.reading() as connection:
        extent = extents(connection).get(1, Extent(0, 0))
        count = len(connection.execute(LEDGERS.select()).all())
    reader.close()
    return extent.number, count


def evidence(now_ns: int) -> int:
    reader = opened()
    book = EvidenceBook.read(reader, now_ns=now_ns)
    reader.close()
    return sum(ledger.pairs for ledger in book.ledgers(KEY).values())


async def test_what_is_settled_goes_into_ledgers_and_the_rest_at_its_time() -> None:
    wall = WallClock()
    begun = wall.now_ns
    async with running(wall) as processor:
        await take(processor, *legs("a", begun), *legs("b", begun + 50 * SECOND))
        await processor.fold()
        assert folded() == (2, 0)
        wall.now_ns = begun + (WINDOW + SETTLE + 1) * SECOND
        await processor.checkpoint()
        await processor.fold()
        assert folded() == (2, 1)
        assert evidence(wall.now_ns) == 1
        await processor.drain(10)
    # Nothing is held back any more.
    assert watermark() is None
    assert evidence(wall.now_ns) == 2


async def test_the_watermark_waits_for_what_waits() -> None:
    wall = WallClock()
    begun = wall.now_ns
    async with running(wall) as processor:
        first, second = legs("a", begun)
        await take(processor, first)
        wall.now_ns = begun + 1000 * SECOND
        await processor.checkpoint()
        assert watermark() == begun // SECOND * SECOND
        await take(processor, second)
        await processor.checkpoint()
        assert watermark() == begun + (1000 - WINDOW - SETTLE) * SECOND


async def test_after_a_restart_the_watermark_does_not_pass_what_is_read_again() -> None:
    wall = WallClock()
    begun = wall.now_ns
    async with running(wall) as processor:
        await take(processor, legs("a", begun)[1])
        await processor.checkpoint()
        before = watermark()
        assert before == begun - (WINDOW + SETTLE) * SECOND
        await processor.drain(10)
    assert watermark() == before
    wall.now_ns = begun + 1000 * SECOND
    async with running(wall):
        assert watermark() == begun // SECOND * SECOND


async def test_ledgers_of_another_version_are_made_anew() -> None:
    wall = WallClock()
    async with running(wall) as processor:
        await take(processor, *legs("a", wall.now_ns))
        wall.now_ns += 1000 * SECOND
        await processor.fold()
        with closing(sqlite3.connect("shadowmesh-data/pairs.db")) as connection, connection:
            connection.execute("UPDATE ledgers SET data = x'3f'")
        await take(processor, *legs("b", wall.now_ns))
        wall.now_ns += 1000 * SECOND
        await processor.fold()
        assert evidence(wall.now_ns) == 2
        assert list(processor.faults.totals().values()) == [1]


def test_the_earliest_dispatch_is_of_what_waits_whatever_came_first() -> None:
    pairing = Pairing(100, 60.0)
    earliest = [pairing.earliest()]
    for leg in (
        shadow("a", started_ns=8 * SECOND + 1),
        live("b", started_ns=7 * SECOND + 1),
        live("c", started_ns=9 * SECOND, targets=("candidate", "other")),
        shadow("c", "other", started_ns=5 * SECOND),
        shadow("b", started_ns=7 * SECOND + 2),
        shadow("c", started_ns=9 * SECOND),
    ):
        pairing.add(leg, 0.0)
        earliest.append(pairing.earliest())
    pairing.add(live("a", started_ns=8 * SECOND), 0.0)
    assert [None if one is None else one // SECOND for one in earliest] == [None, 8, 7, 7, 5, 5, 8]
    assert pairing.earliest() is None
