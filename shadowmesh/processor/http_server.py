"""
An HTTP port in our own loop: any ASGI application, spoken to by uvicorn's HTTP/1.1.

Of uvicorn only the protocol is used. Its server would take the signals of the process, wake up ten times a second,
leave a TLS handshake a minute and a half-sent head for ever, and poll for its own end.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
from email.utils import formatdate
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from shadowmesh.errors import StartError
from shadowmesh.processor.http_connection import Connection, Connections, connection_of
from shadowmesh.processor.limits import LimitSettings
from shadowmesh.telemetry.server_tls import ServerTls

_MOST_HEAD_BYTES = 16 * 1024
_PARTING_SECONDS = 1.0


class HttpServer:
    """
    One listening port.

    Args:
        listen: ``host:port``; an empty host is every address of this machine.
    """

    def __init__(self, app: ASGIApp, *, listen: str, limits: LimitSettings, tls: ServerTls | None = None) -> None:
        self._listen = listen
        self._tls = tls
        self._head_time = limits.head_time
        self._connections = Connections(most=limits.connections, head_time=limits.head_time, idle_time=limits.idle_time)
        self._state = ServerState()
        self._config = uvicorn.Config(
            self._telling_connections(app),
            http=H11Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            # What it has to say comes once per request, from whoever likes to, so the application counts instead.
            log_config=None,
            log_level=logging.CRITICAL + 1,
            # Ours is exact and comes first.
            timeout_keep_alive=math.ceil(limits.idle_time) + 1,
            h11_max_incomplete_event_size=_MOST_HEAD_BYTES,
        )
        self._config.load()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """
        Listen and return the port.

        Raises:
            StartError: the address cannot be listened on.
        """
        host, _, port = self._listen.rpartition(":")
        tls: dict[str, Any] = (
            {} if self._tls is None else {"ssl": self._tls.context, "ssl_handshake_timeout": self._head_time}
        )
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._connection,
                host.removeprefix("[").removesuffix("]") or None,
                int(port),
                # A second processor on the same port would take half of the requests, unnoticed.
                reuse_port=False,
                **tls,
            )
        except OSError as error:
            reason = "is the port taken?" if error.errno == errno.EADDRINUSE else error.strerror
            raise StartError(f"processor.http_listen: cannot listen on {self._listen}: {reason}") from error
        taken: int = self._server.sockets[0].getsockname()[1]
        return taken

    async def stop(self, grace: float) -> None:
        """Accept nothing new, let answers that are under way out for ``grace`` seconds, and close everything."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        self._connections.close_silent()
        await self._rest(grace)
        self._connections.abort()
        # Each now learns that its client is gone; whoever does not care is cancelled.
        await self._rest(_PARTING_SECONDS)
        for task in self._state.tasks:
            task.cancel()
        await self._rest(_PARTING_SECONDS)

    async def _rest(self, seconds: float) -> None:
        """Wait for the requests that are under way."""
        if self._state.tasks and seconds > 0:
            await asyncio.wait(tuple(self._state.tasks), timeout=seconds)

    def _connection(self) -> Connection:
        def make(state: dict[str, object]) -> H11Protocol:
            return H11Protocol(self._config, self._state, state)

        return Connection(self._connections, make)

    def _telling_connections(self, app: ASGIApp) -> ASGIApp:
        async def tell(scope: Scope, receive: Receive, send: Send) -> None:
            # In every answer, as HTTP demands; uvicorn's server would have done it.
            self._state.default_headers[:] = [(b"date", formatdate(usegmt=True).encode())]
            with connection_of(scope).request():
                await app(scope, receive, send)

        return tell
