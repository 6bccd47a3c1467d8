"""A bounded queue in front of something slow: what does not fit is dropped, counted, and logged once per cause."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from shadowmesh.telemetry.faults import Faults

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Sender(Protocol[T_contra]):
    """The slow thing."""

    async def send(self, batch: Sequence[T_contra]) -> bool:
        """Send the items; ``False`` when they are lost."""
        ...

    async def close(self) -> None:
        """End what is under way and release everything."""
        ...


class Outbox(Generic[T]):
    """
    Hands batches to a sender, one after the other, from a task of its own.

    Args:
        name: says in logs and counts whose queue this is.
        items: how many items may wait.
        size: how many bytes may wait, as ``offer`` is told.
        batch: how many items one send may carry.
    """

    def __init__(self, name: str, sender: Sender[T], *, items: int, size: int, batch: int, faults: Faults) -> None:
        self.sent = 0
        self.lost = 0
        self.dropped = 0
        self._name = name
        self._sender = sender
        self._most_items = items
        self._most_bytes = size
        self._batch = batch
        self._faults = faults
        self._waiting: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._sending = 0
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Items that wait or are being sent."""
        return len(self._waiting) + self._sending

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the items that wait."""
        return self._bytes

    @property
    def most_items(self) -> int:
        """How many items may wait."""
        return self._most_items

    @property
    def most_bytes(self) -> int:
        """How many bytes may wait."""
        return self._most_bytes

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being sent."""
        return self._idle.is_set()

    def start(self) -> None:
        """Start sending."""
        self._task = asyncio.create_task(self._run(), name=f"shadowmesh-{self._name}")

    def offer(self, item: T, size: int = 0) -> bool:
        """Queue an item; ``False`` when it does not fit and is dropped."""
        if len(self._waiting) >= self._most_items or self._bytes + size > self._most_bytes:
            self.dropped += 1
            self._faults.report(self._name, "queue full, dropping")
            return False
        self._waiting.append((item, size))
        self._bytes += size
        self._idle.clear()
        self._arrived.set()
        return True

    async def drain(self, seconds: float) -> bool:
        """Wait until nothing waits; return whether that was so within ``seconds``."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)
        return self.idle

    async def close(self) -> None:
        """Drop what waits and close the sender; safe before start and more than once."""
        await self._sender.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        left = len(self._waiting) + self._sending
        if left:
            self.dropped += left
            self._faults.report(self._name, "closed before everything was sent")
        self._waiting.clear()
        self._bytes = self._sending = 0
        self._idle.set()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await self._send_batch()
            self._idle.set()

    async def _send_batch(self) -> None:
        batch: list[T] = []
        while self._waiting and len(batch) < self._batch:
            item, size = self._waiting.popleft()
            self._bytes -= size
            batch.append(item)
        self._sending = len(batch)
        await self._send(batch)

    async def _send(self, batch: Sequence[T]) -> None:
        sent = False
        try:
            sent = await self._sender.send(batch)
        except Exception as error:  # noqa: BLE001 - the one boundary: no failure may end the task that feeds it
            self._faults.report(self._name, error)
            if len(batch) > 1:
                # One of them may be what it cannot send.
                half = len(batch) // 2
                await self._send(batch[:half])
                await self._send(batch[half:])
                return
        self._sending -= len(batch)
        if sent:
            self.sent += len(batch)
        else:
            self.lost += len(batch)
            self._faults.report(self._name, "not accepted, lost")
