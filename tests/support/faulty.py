"""Parts of the mirror that fail, put in through the seams that users have too."""

from __future__ import annotations

from shadowmesh.mirror.admission import Admit, HandOver
from shadowmesh.mirror.carrier import Consumer, MakeCarrier, MakeConsumer, Receive
from shadowmesh.mirror.frames import Frame
from shadowmesh.mirror.loop import LoopCarrier
from shadowmesh.mirror.tap import Room
from shadowmesh.mirror.thread import ThreadCarrier

PARTS = (
    "start",
    "offer",
    "offer in a call",
    "offer at an end",
    "queued",
    "drain",
    "engine made",
    "engine fed",
    "engine drained",
    "engine closed",
)
"""Where a carrier or its engine can fail."""
_ROOMS = {"offer": tuple(Room), "offer in a call": (Room.MORE,), "offer at an end": (Room.END,)}


def faulty(carrier: str, part: str) -> MakeCarrier:
    """Return how to make a carrier that works, but for ``part``, which raises."""

    def make(
        make_consumer: MakeConsumer, receive: Receive, *, first: tuple[Frame, ...], queue_items: int, admit: Admit
    ) -> FaultyCarrier:
        return FaultyCarrier(carrier, part, make_consumer, receive, first=first, queue_items=queue_items, admit=admit)

    return make


class FaultyCarrier:
    """One of our carriers with one part broken."""

    def __init__(
        self,
        carrier: str,
        part: str,
        make_consumer: MakeConsumer,
        receive: Receive,
        *,
        first: tuple[Frame, ...],
        queue_items: int,
        admit: Admit,
    ) -> None:
        def make(reply: Receive) -> Consumer:
            if part == "engine made":
                raise RuntimeError("no engine")
            return FaultyConsumer(make_consumer(reply), part)

        kind: MakeCarrier = LoopCarrier if carrier == "loop" else ThreadCarrier
        self._inner = kind(make, receive, first=first, queue_items=queue_items, admit=admit)
        self._part = part

    def start(self) -> None:
        self._fail("start")
        self._inner.start()

    def offer(self, frame: HandOver, room: Room) -> bool:
        if room in _ROOMS.get(self._part, ()):
            raise RuntimeError(self._part)
        return self._inner.offer(frame, room)

    @property
    def bound(self) -> bool:
        return self._inner.bound

    def queued(self) -> int:
        self._fail("queued")
        return self._inner.queued()

    def reload(self, frame: Frame) -> None:
        self._inner.reload(frame)

    def forget(self) -> None:
        self._inner.forget()

    async def drain(self, grace: float) -> None:
        # Drained all the same: no test may leave a thread to the next.
        await self._inner.drain(grace)
        self._fail("drain")

    def drain_blocking(self, grace: float) -> None:
        self._inner.drain_blocking(grace)
        self._fail("drain")

    def _fail(self, part: str) -> None:
        if self._part == part:
            raise RuntimeError(part)


class FaultyConsumer:
    """The engine with one part broken; what it does not do itself the engine does."""

    def __init__(self, engine: Consumer, part: str) -> None:
        self._engine = engine
        self._part = part

    def feed(self, frame: Frame) -> None:
        if self._part == "engine fed":
            raise RuntimeError(self._part)
        self._engine.feed(frame)

    async def drain(self, grace: float) -> None:
        if self._part == "engine drained":
            raise RuntimeError(self._part)
        await self._engine.drain(grace)

    def end_now(self) -> None:
        self._engine.end_now()

    async def close(self) -> None:
        await self._engine.close()
        if self._part == "engine closed":
            raise RuntimeError(self._part)
