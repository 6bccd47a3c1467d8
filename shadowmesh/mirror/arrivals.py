"""
What is taken out of a mailbox, turned into the frames an engine gets.

Of a call with a stream of requests only the first message may tell whose it is. Until then it is held back here, and
begins with that message; what ends it before, ends the waiting. Whatever is taken out later of a call that nobody
wants goes on as it came: who does not know a call gives back what its frames hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shadowmesh.mirror.admission import Admit, HandOver, Opened
from shadowmesh.mirror.frames import Frame, Request, Response
from shadowmesh.names import DropReason


class Arrivals:
    """
    One per mailbox, used by whoever takes from it.

    What is held back are at most ``most`` calls, and of each what the server has said before it was asked anything.
    That is bounded as the capture of any call is: what was let go of it ends the waiting. Further calls are shed.
    """

    def __init__(self, admit: Admit, most: int) -> None:
        self._admit = admit
        self._most = most
        self._waiting: dict[int, tuple[Opened, list[Frame]]] = {}
        self._over = False

    def __len__(self) -> int:
        """Return how many calls are held back."""
        return len(self._waiting)

    def pass_on(self, handed: Iterator[HandOver], feed: Callable[[Frame], None]) -> bool:
        """
        Feed the frames that follow from what was taken, in its order.

        Returns:
            Whether something may be left: it stops after each request that it had to read, so that whoever has other
            work can do that in between.
        """
        waiting = self._waiting
        for one in handed:
            if isinstance(one, Opened):
                if one.ticket.undecided is not None:
                    if self._undecided(one, feed):
                        return True
                    continue
                begin = self._admit(one)
                if begin is not None:
                    feed(begin)
            elif waiting and one.call in waiting:
                for frame in self._later(one):
                    feed(frame)
                if one.call not in waiting:
                    return True
            else:
                feed(one)
        return False

    def end(self, feed: Callable[[Frame], None]) -> None:
        """Hold nothing back from now on, and feed what was: calls whose shadows are all shed."""
        self._over = True
        while self._waiting:
            _, (opened, said) = self._waiting.popitem()
            for frame in self._begun(_shut_out(opened, DropReason.SHUTDOWN), said):
                feed(frame)

    def _undecided(self, opened: Opened, feed: Callable[[Frame], None]) -> bool:
        """Hold the call back or decide it; return whether its request was read."""
        if opened.arity.request_streaming and not opened.reason:
            if not self._over and len(self._waiting) < self._most:
                self._waiting[opened.call] = (opened, [])
                return False
            opened = _shut_out(opened, DropReason.SHUTDOWN if self._over else DropReason.QUEUE_FULL)
        begin = self._admit(opened)
        if begin is not None:
            feed(begin)
        return opened.request is not None

    def _later(self, frame: Frame) -> Iterator[Frame]:
        opened, said = self._waiting[frame.call]
        said.append(frame)
        if isinstance(frame, Response) and frame.messages:
            return
        del self._waiting[frame.call]
        request = frame.messages[0] if isinstance(frame, Request) else None
        yield from self._begun(opened._replace(request=request), said)

    def _begun(self, opened: Opened, said: list[Frame]) -> Iterator[Frame]:
        begin = self._admit(opened)
        if begin is not None:
            yield begin
        yield from said


def _shut_out(opened: Opened, reason: DropReason) -> Opened:
    return opened._replace(reason=reason)
