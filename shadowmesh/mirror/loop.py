"""
The carrier ``loop``: the engine shares the loop of a grpc.aio server.

The cheapest hand-over there is, and the mirror's own work competes with the live server for one core.
"""

from __future__ import annotations

import asyncio
import threading

from shadowmesh.errors import LoopError
from shadowmesh.mirror.admission import Admit, HandOver
from shadowmesh.mirror.carrier import Consumer, Mailbox, MakeConsumer, Receive
from shadowmesh.mirror.frames import Frame
from shadowmesh.mirror.pump import Pump
from shadowmesh.mirror.tap import Room


class LoopCarrier:
    """Runs the engine in the loop of the first call."""

    def __init__(
        self, make_consumer: MakeConsumer, receive: Receive, *, first: tuple[Frame, ...], queue_items: int, admit: Admit
    ) -> None:
        self._make_consumer = make_consumer
        self._receive = receive
        self._admit = admit
        self._first = first
        self._queue_items = queue_items
        self._mailbox = Mailbox(queue_items)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._pump: Pump | None = None
        self._consumer: Consumer | None = None

    def start(self) -> None:
        """Bind to the running loop; again only after the loop it was bound to has been closed."""
        if self._loop is not None:
            if not self._loop.is_closed():
                return
            self._end_now()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._mailbox = Mailbox(self._queue_items)
        for frame in self._first:
            self._mailbox.put(frame, Room.END)
        self._consumer = self._make_consumer(self._receive)
        self._pump = Pump(self._mailbox, self._consumer, self._loop, self._admit)

    def offer(self, frame: HandOver, room: Room) -> bool:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`."""
        if self._pump is None:
            return False
        # Handlers of a synchronous servicer call from a pool thread of the same server.
        return self._pump.offer(frame, room, inside=threading.get_ident() == self._thread)

    def reload(self, frame: Frame) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`."""
        self._first = (frame,)
        self.offer(frame, Room.END)

    @property
    def bound(self) -> bool:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`: not before the start, nor after the loop was closed."""
        return self._loop is not None and not self._loop.is_closed()

    def queued(self) -> int:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`."""
        return len(self._mailbox)

    async def drain(self, grace: float) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`; may be awaited in any loop."""
        if self._loop is None or self._loop.is_closed():
            self._end_now()
            return
        if asyncio.get_running_loop() is self._loop:
            await self._finish(grace)
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._finish(grace), self._loop))

    def drain_blocking(self, grace: float) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`."""
        if self._loop is None or self._loop.is_closed():
            self._end_now()
            return
        if not self._loop.is_running():
            self._loop.run_until_complete(self._finish(grace))
        elif threading.get_ident() == self._thread:
            raise LoopError("the mirror shares this thread's event loop: use `await mesh.adrain()`")
        else:
            asyncio.run_coroutine_threadsafe(self._finish(grace), self._loop).result()

    def forget(self) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`; there is nothing that came along."""

    async def _finish(self, grace: float) -> None:
        if self._pump is None or self._consumer is None:
            return
        try:
            self._pump.finish()
            await self._consumer.drain(grace)
        finally:
            self._pump.stop()
            self._pump.flush()
            await self._consumer.close()

    def _end_now(self) -> None:
        """The loop was closed before anybody drained: what is open is recorded as cut."""
        if self._pump is None or self._consumer is None:
            return
        self._pump.stop()
        self._consumer.end_now()
        self._pump.finish()
        self._consumer.end_now()
