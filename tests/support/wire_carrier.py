"""A carrier that turns every frame into bytes and back: what works over it works over a process boundary."""

from __future__ import annotations

from collections.abc import Iterable

from shadowmesh.mirror.carrier import MakeConsumer, Receive
from shadowmesh.mirror.codec import Decoder, encode
from shadowmesh.mirror.frames import Frame
from shadowmesh.mirror.tap import Room
from shadowmesh.mirror.thread import ThreadCarrier


class WireCarrier:
    """The carrier ``thread``, with nothing but bytes between the two sides."""

    def __init__(
        self, make_consumer: MakeConsumer, receive: Receive, *, first: tuple[Frame, ...], queue_items: int
    ) -> None:
        def back(frame: Frame) -> None:
            for decoded in over_the_wire([frame]):
                receive(decoded)

        self._inner = ThreadCarrier(make_consumer, back, first=over_the_wire(first), queue_items=queue_items)
        self.start = self._inner.start
        self.queued = self._inner.queued
        self.drain = self._inner.drain
        self.forget = self._inner.forget
        self.reload = self._inner.reload
        self.drain_blocking = self._inner.drain_blocking

    def offer(self, frame: Frame, room: Room) -> bool:
        (frame,) = over_the_wire([frame])
        return self._inner.offer(frame, room)


def over_the_wire(frames: Iterable[Frame]) -> tuple[Frame, ...]:
    return tuple(Decoder().feed(b"".join(map(encode, frames))))
