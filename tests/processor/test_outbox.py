"""A bounded queue in front of something slow: what fits is sent in order, what does not is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from shadowmesh.processor.outbox import Outbox
from shadowmesh.telemetry.faults import Faults


class Gate:
    """A sender that holds every batch until it is let go, and answers as told."""

    def __init__(self, *, answer: bool | Exception = True, shut: bool = False) -> None:
        self.batches: list[list[str]] = []
        self.answer = answer
        self.open = asyncio.Event()
        self.sending = asyncio.Event()
        self.closed = 0
        if not shut:
            self.open.set()

    async def send(self, batch: Sequence[str]) -> bool:
        self.batches.append(list(batch))
        self.sending.set()
        await self.open.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        self.closed += 1


@asynccontextmanager
async def outbox(
    sender: Gate, *, items: int = 100, size: int = 1000, batch: int = 10
) -> AsyncIterator[tuple[Outbox[str], Faults]]:
    faults = Faults()
    box: Outbox[str] = Outbox("box", sender, items=items, size=size, batch=batch, faults=faults)
    box.start()
    yield box, faults
    await box.close()


async def test_what_waits_is_sent_in_order_and_in_batches() -> None:
    sender = Gate()
    async with outbox(sender, batch=2) as (box, _):
        for item in "abc":
            assert box.offer(item)
        assert await box.drain(10)
        assert (sender.batches, box.sent) == ([["a", "b"], ["c"]], 3)


async def test_more_items_or_bytes_than_fit_are_dropped_and_counted() -> None:
    async with outbox(Gate(shut=True), items=2) as (box, faults):
        assert [box.offer(item) for item in "abcd"] == [True, True, False, False]
        assert box.dropped == 2
        assert faults.totals() == {"box: queue full, dropping": 2}
    async with outbox(Gate(shut=True), size=10) as (box, _):
        assert [box.offer("x", size) for size in (6, 5, 4)] == [True, False, True]


async def test_room_comes_back_when_something_was_sent() -> None:
    async with outbox(Gate(), items=1, size=5) as (box, _):
        for _attempt in range(3):
            assert box.offer("x", 5)
            assert await box.drain(10)


async def test_a_failing_sender_loses_its_batch_and_the_next_one_is_tried() -> None:
    for answer in (False, OSError("gone")):
        sender = Gate(answer=answer)
        async with outbox(sender) as (box, faults):
            box.offer("a")
            assert await box.drain(10)
            sender.answer = True
            box.offer("b")
            assert await box.drain(10)
            assert (box.lost, box.sent) == (1, 1)
            assert faults.totals()["box: not accepted, lost"] == 1


async def test_draining_ends_in_time_when_the_sender_hangs_and_closing_counts_what_is_left() -> None:
    sender = Gate(shut=True)
    async with outbox(sender, batch=1) as (box, faults):
        box.offer("a")
        box.offer("b")
        await sender.sending.wait()
        assert not await box.drain(0.01)
        await box.close()
        assert (box.dropped, sender.closed, box.idle) == (2, 1, True)
        assert faults.totals() == {"box: closed before everything was sent": 1}


class Choosy(Gate):
    """A sender that fails on one item."""

    async def send(self, batch: Sequence[str]) -> bool:
        await super().send(batch)
        if "poison" in batch:
            raise ValueError
        return True


async def test_an_item_on_which_the_sender_fails_is_lost_alone() -> None:
    sender = Choosy()
    async with outbox(sender, batch=5) as (box, faults):
        for item in ("a", "b", "poison", "d", "e"):
            box.offer(item)
        assert await box.drain(10)
        assert (box.sent, box.lost, box.dropped, box.waiting) == (4, 1, 0, 0)
        assert sorted(item for batch in sender.batches if "poison" not in batch for item in batch) == list("abde")
        assert faults.totals() == {"box: ValueError": 3, "box: not accepted, lost": 1}
