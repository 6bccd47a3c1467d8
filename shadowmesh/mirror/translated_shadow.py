"""
A shadow that is asked in another protocol: a call of its own for every exchange, whatever the live call's shape is.

The live stream that carries several goes on as one call; here each of them is asked when its request has come, and is
half-closed at once, because one request is all there is of it. They run beside each other as they do there, up to a
number: a client that asks everything at once is not to open as many calls, and threads, as it has questions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shadowmesh.mirror.observation import Observation
from shadowmesh.mirror.shadow_gate import GatedShadow
from shadowmesh.names import CallEnd, DropReason

MOST_AT_ONCE = 32
_TOO_MANY = f"more than {MOST_AT_ONCE} exchanges of one stream at once"

Make = Callable[[int, Callable[[], None]], GatedShadow]
"""Makes the shadow of one exchange, by its place in the call; it is told when that is over."""


class TranslatedShadow:
    """See :class:`~shadowmesh.mirror.shadow.Shadow`; it is over when every exchange is, and no other one can come."""

    def __init__(self, make: Make, *, several: bool, refused: Callable[[], None], finished: Callable[[], None]) -> None:
        """
        Wait for the first request.

        Args:
            several: whether every request is an exchange; else the first is asked, and the others are a part of it that
                nobody can translate.
            refused: is told of every one of those.
            finished: is called once, when it is over.
        """
        self._make = make
        self._several = several
        self._refused = refused
        self._finished = finished
        self._asked = 0
        self._running = 1
        self._closed = False
        self._over = False
        self._shadows = [make(0, self._ended)]

    @property
    def observation(self) -> Observation:
        """What is seen of the first exchange."""
        return self._shadows[0].observation

    @property
    def further(self) -> Sequence[Observation]:
        """What is seen of the others, in their order."""
        return [shadow.observation for shadow in self._shadows[1:]]

    def send(self, message: bytes) -> None:
        """See :class:`~shadowmesh.mirror.shadow.Shadow`."""
        if self._asked and not self._several:
            self._refused()
        if self._closed:
            return
        if self._asked:
            self._running += 1
            self._shadows.append(self._make(self._asked, self._ended))
        self._asked += 1
        self._closed = not self._several
        shadow = self._shadows[-1]
        if self._running > MOST_AT_ONCE:
            shadow.refuse(DropReason.CONCURRENCY_LIMIT, _TOO_MANY)
            return
        shadow.send(message)
        shadow.half_close()

    def half_close(self) -> None:
        """See :class:`~shadowmesh.mirror.shadow.Shadow`; a stream that asked nothing has nothing to translate."""
        self._closed = True
        if not self._asked:
            self._asked = 1
            self._shadows[0].refuse(DropReason.UNTRANSLATABLE, "there is no request")
        self._end()

    def stop(self, end: CallEnd) -> None:
        """See :class:`~shadowmesh.mirror.shadow.Shadow`."""
        self._closed = True
        for shadow in self._shadows:
            shadow.stop(end)
        self._end()

    def _ended(self) -> None:
        self._running -= 1
        self._end()

    def _end(self) -> None:
        if self._closed and not self._running and not self._over:
            self._over = True
            self._finished()
