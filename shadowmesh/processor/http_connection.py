"""
What uvicorn lets a client do without end: open connections, and take its time over the head of a request.

Each connection of uvicorn's is wrapped in one of ours, which knows only asyncio's interface of it, and which the
application tells when a request begins and ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

_KEY = "connection"


class Connections:
    """
    The open connections of one port, the one that was silent longest first.

    Args:
        most: beyond it the one that was silent longest makes room; where all are busy the new one is closed.
        head_time: seconds for the head of a request, from the beginning of the connection or its first byte on.
        idle_time: seconds from one request to the next.
    """

    def __init__(self, *, most: int, head_time: float, idle_time: float) -> None:
        self.head_time = head_time
        self.idle_time = idle_time
        self._most = most
        # A set that remembers the order.
        self._open: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, connection: Connection) -> bool:
        """Take a new connection in; return whether there was room."""
        if len(self._open) >= self._most:
            silent = next((one for one in self._open if not one.busy), None)
            if silent is None:
                return False
            silent.abort()
        self._open[connection] = None
        return True

    def spoke(self, connection: Connection) -> bool:
        """Note that a connection was not silent just now; return whether it is still open."""
        still = connection in self._open
        if still:
            del self._open[connection]
            self._open[connection] = None
        return still

    def leave(self, connection: Connection) -> None:
        """Let a connection go; one that is gone already is fine."""
        self._open.pop(connection, None)

    def close_silent(self) -> None:
        """Close the ones that no request is under way on."""
        for one in tuple(self._open):
            if not one.busy:
                one.abort()

    def abort(self) -> None:
        """Close every one, whatever it is doing."""
        for one in tuple(self._open):
            one.abort()


class Connection(asyncio.Protocol):
    """
    One connection.

    Args:
        make: makes uvicorn's side of it, given the state that its requests shall carry.
    """

    def __init__(self, connections: Connections, make: Callable[[dict[str, object]], asyncio.Protocol]) -> None:
        self._connections = connections
        self._inner = make({_KEY: self})
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._requests = 0
        self._idle = False
        self._stalled = False

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._requests > 0

    def abort(self) -> None:
        """Close at once."""
        self._forget()
        if self._transport is not None:
            self._transport.abort()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Be busy for the time of the block."""
        self._requests += 1
        self._idle = False
        self._end_in(None)
        try:
            yield
        finally:
            self._requests -= 1
            self._idle = not self.busy
            if self._idle and self._connections.spoke(self):
                self._end_in(self._connections.idle_time)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a stream's always is
        """Begin."""
        self._transport = transport
        self._inner.connection_made(transport)
        if self._connections.enter(self):
            self._end_in(self._connections.head_time)
        else:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass on; the first byte after a request begins the head of the next one."""
        if self._idle:
            self._idle = False
            self._end_in(self._connections.head_time)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass on; a client that does not read its answers has as long as for a head."""
        self._end_in(self._connections.head_time)
        self._stalled = True
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._stalled = False
        self._end_in(None if self.busy else self._connections.idle_time)
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._forget()
        self._inner.connection_lost(exc)

    def _end_in(self, seconds: float | None) -> None:
        """End in so many seconds, or not; where answers are not being read, that they are goes before all else."""
        if self._stalled:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self.abort)

    def _forget(self) -> None:
        self._connections.leave(self)
        if self._timer is not None:
            self._timer.cancel()


def connection_of(scope: MutableMapping[str, Any]) -> Connection:
    """Return the connection that a request came by."""
    connection: Connection = scope["state"][_KEY]
    return connection
