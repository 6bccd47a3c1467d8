"""The proxy of one process: listens, forwards, drains."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio

from shadowmesh.errors import StartError
from shadowmesh.proxy.arity import Shapes, read_descriptors
from shadowmesh.proxy.forward import Forwarder
from shadowmesh.proxy.health import Health
from shadowmesh.proxy.port import refuse_itself, refuse_taken
from shadowmesh.proxy.reflection import Reflection
from shadowmesh.proxy.settings import ProxySettings
from shadowmesh.proxy.upstream import COMPRESSIONS, Upstream, check, sizes
from shadowmesh.rpc import Arity
from shadowmesh.telemetry.server_tls import ServerTls

_LOG = logging.getLogger("shadowmesh")
_LOOK_SECONDS = 1.0
_AIO: Any = getattr(grpc.aio, "_server", grpc.aio)

_OPTIONS: tuple[tuple[str, int], ...] = (
    # Clients that ping eagerly are the live server's to send away, not ours.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1),
    ("grpc.http2.max_ping_strikes", 0),
)


class Proxy:
    """
    Runs on the event loop that starts it.

    Args:
        interceptors: see every call; the mesh's is one of them.
        described: shapes of methods that are known from elsewhere; what the settings tell goes before them.
        shared: whether other processes listen on the same port, which ``workers`` makes sure of.
    """

    def __init__(
        self,
        settings: ProxySettings,
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        described: Mapping[str, Arity] | None = None,
        shared: bool = False,
    ) -> None:
        if settings.live is None:
            raise StartError("proxy.live: no server is named to forward to")
        self._settings = settings
        self._live = settings.live
        self._interceptors = interceptors
        self._shared = shared
        self.tls = None if settings.tls is None else ServerTls(settings.tls, key="proxy.tls")
        """What the port listens with; ``None`` in the clear."""
        self._looking: asyncio.Task[None] | None = None
        told = {} if settings.descriptors is None else read_descriptors(settings.descriptors)
        self._described = {**(described or {}), **told}
        self._server: grpc.aio.Server | None = None
        self._upstream: Upstream | None = None
        self._reflection: Reflection | None = None
        self._health: Health | None = None
        self.port = 0
        """Where it listens, once it has started."""

    async def start(self) -> None:
        """
        Begin to listen.

        Raises:
            StartError: the port is taken, or a file of the settings cannot be used.
        """
        check()
        settings = self._settings
        upstream = self._upstream = Upstream(self._live, settings.window)
        reflection = self._reflection = Reflection(upstream)
        health = self._health = Health()
        shapes = Shapes(settings.methods, self._described, wanted=reflection.want if settings.reflection else None)
        reflection.shapes = shapes
        # By grpc itself: a server that others have wrapped is not sure to say what the live one said.
        self._server = _AIO.server(
            interceptors=self._interceptors,
            options=self._options(),
            compression=COMPRESSIONS[settings.compression],
        )
        self._server.add_generic_rpc_handlers((_Handlers(Forwarder(upstream, shapes), health),))
        self.port = self._bind(self._server)
        await self._server.start()
        if self.tls is not None or self._live.tls:
            self._looking = asyncio.create_task(self._look(upstream))

    async def drain(self, grace: float) -> None:
        """Take no new calls, and give those in flight so many seconds."""
        if self._health is not None:
            self._health.stop()
        if self._server is not None:
            await self._server.stop(grace)

    async def close(self) -> None:
        """End what still runs; safe to call twice, and before ``start``."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)
        if self._reflection is not None:
            await self._reflection.close()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            await upstream.close()

    def _options(self) -> tuple[tuple[str, int], ...]:
        # Two servers may share a port by default, and then each gets some of the calls.
        options = (*_OPTIONS, *sizes(self._settings.window), ("grpc.so_reuseport", int(self._shared)))
        most = self._settings.max_streams
        return options if most is None else (*options, ("grpc.max_concurrent_streams", most))

    def _bind(self, server: grpc.aio.Server) -> int:
        listen = self._settings.listen
        if not self._shared:
            refuse_taken(listen)
        try:
            if self.tls is None:
                port = server.add_insecure_port(listen)
            else:
                port = server.add_secure_port(listen, self.tls.credentials)
        except RuntimeError as error:
            raise StartError(f"proxy.listen: cannot listen on {listen}: the port is taken, or not ours") from error
        if not port:
            raise StartError(f"proxy.listen: cannot listen on {listen}")
        refuse_itself(listen, port, self._live.address)
        return port

    async def _look(self, upstream: Upstream) -> None:
        """Take renewed certificates in; of one that is no good the last one stays, and is said once."""
        said = ""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                if self.tls is not None:
                    self.tls.refresh()
                await upstream.refresh()
                said = ""
            except StartError as error:
                if str(error) != said:
                    said = str(error)
                    _LOG.warning("proxy: %s", said)


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, forwarder: Forwarder, health: Health) -> None:
        self._forwarder = forwarder
        self._health = health

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a method."""
        return self._health.wrapped(handler_call_details.method, self._forwarder.service(handler_call_details))
