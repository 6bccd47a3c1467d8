"""
Both ports, and what they share: OTLP over gRPC and over HTTP in front of one intake, and the health of what is behind.

A request that was answered with success has been taken in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from shadowmesh.errors import StartError
from shadowmesh.processor.intake import Intake
from shadowmesh.processor.otlp_grpc import GrpcServer
from shadowmesh.processor.otlp_services import SERVICES
from shadowmesh.processor.reception import Reception, Requests
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.processor.tokens import BearerTokens
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.server_tls import ServerTls

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from shadowmesh.processor.health import GrpcHealth, Ready
    from shadowmesh.processor.http_server import HttpServer
    from shadowmesh.processor.otlp_http import OtlpHttp

_LOOK_SECONDS = 1.0
# For answers that are on their way when everything is closed.
_PARTING_SECONDS = 0.5


class Receiver:
    """
    The ports of a processor. ``drain`` and ``close`` are safe before ``start`` and more than once.

    Args:
        ready: says why the processor behind it wants no requests.
        routes: further routes of the HTTP port.
        clock: monotonic, nanoseconds.

    Attributes:
        port: of OTLP/gRPC, 0 while it does not listen.
        http_port: of OTLP/HTTP, 0 while it does not listen.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        intake: Intake,
        *,
        ready: Ready = lambda: None,
        routes: Sequence[BaseRoute] = (),
        faults: Faults | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.port = 0
        self.http_port = 0
        self._settings = settings
        self._faults = faults or Faults()
        self._ready = ready
        self._routes = routes
        self._clock = clock
        self._reception = Reception(intake, limits=settings.limits, faults=self._faults)
        self._grpc: GrpcServer | None = None
        self._http: HttpServer | None = None
        self._otlp_http: OtlpHttp | None = None
        self._health: GrpcHealth | None = None
        self._looking: asyncio.Task[None] | None = None

    @property
    def requests(self) -> Requests:
        """How many requests were answered, by answer."""
        return self._reception.requests

    def knows(self, authorization: Sequence[str]) -> bool:
        """Return whether somebody with these ``authorization`` headers may send, and so may look."""
        tokens = self._reception.tokens
        return tokens is None or tokens.know(authorization)

    async def start(self) -> None:
        """
        Listen.

        Raises:
            StartError: an address cannot be listened on, a file of ``tls`` or ``bearer_token`` cannot be used, or a
                package is missing.
        """
        settings = self._settings
        tls = None if settings.tls is None else ServerTls(settings.tls, key="processor.tls")
        if settings.bearer_token is not None:
            self._reception.tokens = BearerTokens(settings.bearer_token, clock=self._clock, faults=self._faults)
        self._reception.draining = False
        try:
            self._health = _grpc_health(self._why_not)
            self._grpc = GrpcServer(
                self._reception,
                listen=settings.listen,
                most=settings.max_message_bytes,
                limits=settings.limits,
                tls=tls,
                add_services=self._health.add_to,
            )
            self.port = await self._grpc.start()
            if settings.http_listen is not None:
                self._http = self._http_server(settings.http_listen, tls)
                self.http_port = await self._http.start()
        except BaseException:
            await self.close()
            raise
        self._looking = asyncio.create_task(self._look(self._health, tls))

    async def drain(self, grace: float) -> None:
        """
        Refuse what comes from now on, and wait ``grace`` seconds for what is being taken in.

        The ports stay open until ``close``: senders are told to come again, and probes that we are not ready.
        """
        self._reception.draining = True
        if self._health is not None:
            await self._health.refresh()
        await self._reception.drain(grace)

    async def close(self) -> None:
        """End at once; what is still being taken in is cancelled, and its senders keep it."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
        self._health = None
        await self._reception.close()
        grpc_server, self._grpc = self._grpc, None
        http_server, self._http = self._http, None
        self.port = self.http_port = 0
        if http_server is not None:
            await http_server.stop(_PARTING_SECONDS)
        otlp_http, self._otlp_http = self._otlp_http, None
        if otlp_http is not None:
            otlp_http.close()
        if grpc_server is not None:
            await grpc_server.stop(_PARTING_SECONDS)

    def _why_not(self) -> str | None:
        return "draining" if self._reception.draining else self._ready()

    async def _look(self, health: GrpcHealth, tls: ServerTls | None) -> None:
        """Tell those who watch our health what nobody else would, and see to the certificate."""
        while True:
            try:
                if tls is not None:
                    tls.refresh()
            except StartError as error:
                self._faults.report("certificate", error)
            try:
                await health.refresh()
            except Exception as error:  # noqa: BLE001 - the one boundary: the next look may succeed
                self._faults.report("health", error)
            await asyncio.sleep(_LOOK_SECONDS)

    def _http_server(self, listen: str, tls: ServerTls | None) -> HttpServer:
        from starlette.routing import Router

        from shadowmesh.processor.health import health_routes
        from shadowmesh.processor.http_server import HttpServer
        from shadowmesh.processor.otlp_http import OtlpHttp

        limits = self._settings.limits
        self._otlp_http = OtlpHttp(self._reception, most=self._settings.max_message_bytes, limits=limits)
        routes = [*health_routes(self._why_not), *self._routes]
        app = Router(routes, redirect_slashes=False, default=self._otlp_http)
        return HttpServer(app, listen=listen, limits=limits, tls=tls)


def _grpc_health(ready: Ready) -> GrpcHealth:
    try:
        from shadowmesh.processor.health import GrpcHealth
    except ImportError as error:
        raise StartError(f"{error.name} is missing: pip install 'shadowmesh[processor]'") from error
    services = tuple(service.method.split("/")[1] for service in SERVICES.values())
    return GrpcHealth(ready, services)
