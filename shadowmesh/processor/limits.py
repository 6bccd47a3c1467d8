"""
What senders may take of the processor at once.

Whoever finds no place is told when to come again, at once: nothing waits in a queue that nobody sees.
"""

from __future__ import annotations

from types import TracebackType
from typing import Annotated, Self

from pydantic import Field

from shadowmesh.processor.refusal import Refusal, RefusedError
from shadowmesh.settings import ByteSize, Seconds, Settings

_RETRY_AFTER = 1.0


class LimitSettings(Settings):
    """
    What senders may take, of both ports together unless it says of each.

    Args:
        requests: taken in at once.
        memory: bytes of their bodies, decompressed, held at once.
        connections: open at once, of each port; over HTTP the one that has been idle longest makes room.
        head_time: for a TLS handshake, and for the head of an HTTP request.
        body_time: for the body of a request.
        idle_time: for a connection without requests.
    """

    requests: Annotated[int, Field(strict=True, gt=0, le=100_000)] = 64
    memory: ByteSize = 256 * 1024 * 1024
    connections: Annotated[int, Field(strict=True, gt=0, le=100_000)] = 256
    head_time: Seconds = 10.0
    body_time: Seconds = 30.0
    idle_time: Seconds = 300.0


class Room:
    """Counts the requests that are being taken in, and the bytes of their bodies."""

    def __init__(self, *, requests: int, memory: int) -> None:
        self.requests = 0
        self.memory = 0
        self._most_requests = requests
        self._most_memory = memory

    def place(self) -> Place:
        """
        Return a place for one request.

        Raises:
            RefusedError: all are taken.
        """
        if self.requests >= self._most_requests:
            raise _full(f"{self.requests} requests are being taken in")
        self.requests += 1
        return Place(self)

    def hold(self, size: int) -> None:
        """
        Count bytes that are held.

        Raises:
            RefusedError: there is no room for them.
        """
        if self.memory + size > self._most_memory:
            raise _full(f"the requests that are being taken in hold {self.memory} bytes")
        self.memory += size

    def leave(self, size: int) -> None:
        """Take back one place, and what its request held."""
        self.requests -= 1
        self.memory -= size


class Place:
    """One request's place, given back at the end of the block, or later by whoever has called :meth:`keep`."""

    __slots__ = ("_held", "_kept", "_room")

    def __init__(self, room: Room) -> None:
        self._room: Room | None = room
        self._held = 0
        self._kept = False

    def hold(self, size: int) -> None:
        """
        Count bytes of the request's body.

        Raises:
            RefusedError: there is no room for them.
        """
        if self._room is not None:
            self._room.hold(size)
            self._held += size

    def let_go(self, size: int) -> None:
        """Count bytes as no longer held."""
        if self._room is not None:
            self._room.memory -= size
            self._held -= size

    def keep(self) -> None:
        """Let the block end without giving the place back."""
        self._kept = True

    def give_back(self) -> None:
        """Leave the place; more than once is fine."""
        room, self._room = self._room, None
        if room is not None:
            room.leave(self._held)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._kept:
            self.give_back()


def _full(what: str) -> RefusedError:
    return RefusedError(Refusal.OVERLOADED, what, retry_after=_RETRY_AFTER)
