"""A carrier that turns every frame into bytes and back: what works over it works over a process boundary."""

from __future__ import annotations

from collections.abc import Iterable

from shadowmesh.mirror.admission import Admit
from shadowmesh.mirror.carrier import Consumer, MakeConsumer, Receive
from shadowmesh.mirror.codec import Decoder, encode
from shadowmesh.mirror.frames import Frame
from shadowmesh.mirror.thread import ThreadCarrier


class WireCarrier(ThreadCarrier):
    """The carrier ``thread``, with nothing but bytes between the two sides."""

    def __init__(
        self,
        make_consumer: MakeConsumer,
        receive: Receive,
        *,
        first: tuple[Frame, ...],
        queue_items: int,
        admit: Admit,
    ) -> None:
        def back(frame: Frame) -> None:
            for decoded in over_the_wire([frame]):
                receive(decoded)

        def make(reply: Receive) -> Consumer:
            return WireConsumer(make_consumer(reply))

        super().__init__(make, back, first=first, queue_items=queue_items, admit=admit)


class WireConsumer:
    """An engine that gets nothing but bytes."""

    def __init__(self, inner: Consumer) -> None:
        self._inner = inner
        self.drain = inner.drain
        self.end_now = inner.end_now
        self.close = inner.close

    def feed(self, frame: Frame) -> None:
        for decoded in over_the_wire([frame]):
            self._inner.feed(decoded)


def over_the_wire(frames: Iterable[Frame]) -> tuple[Frame, ...]:
    return tuple(Decoder().feed(b"".join(map(encode, frames))))
