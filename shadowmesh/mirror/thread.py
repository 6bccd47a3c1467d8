"""
The carrier ``thread``: the engine has a thread and a loop of its own, in the server's process.

Serves every kind of server; the interpreter lock is still shared with the live calls.
"""

from __future__ import annotations

import asyncio
import threading

from shadowmesh.mirror.admission import Admit, HandOver, Opened
from shadowmesh.mirror.carrier import Consumer, Mailbox, MakeConsumer, Receive
from shadowmesh.mirror.frames import Credit, Frame, LiveDone, Request, Response
from shadowmesh.mirror.pump import Pump
from shadowmesh.mirror.tap import Room
from shadowmesh.names import DropReason

_JOIN_SECONDS = 5.0


class ThreadCarrier:
    """Runs the engine in a daemon thread, started by the first call."""

    def __init__(
        self,
        make_consumer: MakeConsumer,
        receive: Receive,
        *,
        first: tuple[Frame, ...],
        queue_items: int,
        admit: Admit,
        patience: float | None = None,
    ) -> None:
        """
        Make one; see :class:`~shadowmesh.mirror.carrier.MakeCarrier`.

        Args:
            patience: how much longer than its grace a drain waits for an engine that may wait for others; then it
                raises ``TimeoutError``. By default without an end.
        """
        self._patience = patience
        self._make_consumer = make_consumer
        self._receive = receive
        self._admit = admit
        self._mailbox = Mailbox(queue_items)
        for frame in first:
            self._mailbox.put(frame, Room.END)
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: threading.Thread | None = None
        self._failed = False
        self._pump: Pump | None = None
        self._consumer: Consumer | None = None

    def start(self) -> None:
        """Start the thread, once; of several live threads one starts it and the others go on at once."""
        if self._pump is not None or not self._starting.acquire(blocking=False):
            return
        try:
            self._consumer = self._make_consumer(self._receive)
        except Exception:
            self._failed = True
            self._refuse_what_waits()
            raise
        loop = asyncio.new_event_loop()
        self._loop = loop
        self._worker = threading.Thread(target=self._run, args=(loop,), name="shadowmesh-mirror", daemon=True)
        self._pump = Pump(self._mailbox, self._consumer, loop, self._admit)
        self._worker.start()
        loop.call_soon_threadsafe(self._pump.wake)

    def _refuse_what_waits(self) -> None:
        """There will be no engine: count what other threads have handed over meanwhile."""
        for handed in self._mailbox.take(len(self._mailbox)):
            if isinstance(handed, Opened):
                self._admit(handed._replace(request=None, reason=DropReason.NOT_RECORDED))
            elif isinstance(handed, (Request, Response, LiveDone)) and handed.pages:
                self._receive(Credit(handed.call, handed.pages))

    def offer(self, frame: HandOver, room: Room) -> bool:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`."""
        if self._pump is None:
            # Another live thread is starting it right now; its pump begins with a look into the mailbox.
            return self._starting.locked() and not self._failed and self._mailbox.put(frame, room)
        return self._pump.offer(frame, room, inside=False)

    def reload(self, frame: Frame) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`."""
        if self._pump is None or not self._pump.offer(frame, Room.END, inside=False):
            # Behind what it was made with: the first look of the pump finds both.
            self._mailbox.put(frame, Room.END)

    @property
    def bound(self) -> bool:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`."""
        return self._pump is not None

    def queued(self) -> int:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`."""
        return len(self._mailbox)

    async def drain(self, grace: float) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`; may be awaited in any loop."""
        if self._loop is not None and not self._loop.is_closed():
            try:
                finished = asyncio.run_coroutine_threadsafe(self._finish(grace), self._loop)
                await asyncio.wait_for(asyncio.wrap_future(finished), self._most(grace))
            finally:
                await asyncio.to_thread(self._join)

    def drain_blocking(self, grace: float) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`."""
        if self._loop is not None and not self._loop.is_closed():
            try:
                asyncio.run_coroutine_threadsafe(self._finish(grace), self._loop).result(self._most(grace))
            finally:
                self._join()

    def forget(self) -> None:
        """See :class:`~shadowmesh.mirror.carrier.Carrier`; there is nothing that came along."""

    def _most(self, grace: float) -> float | None:
        return None if self._patience is None else grace + self._patience

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

    def _join(self) -> None:
        if self._loop is None or self._worker is None or self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._worker.join(_JOIN_SECONDS if self._patience is None else self._patience)

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
