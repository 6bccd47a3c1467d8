"""
Whether the process lives, and whether it wants requests: for kubelets, load balancers and people.

Neither asks for a token: who probes has none, and learns one word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # has no stubs
from grpc_health.v1.health import OVERALL_HEALTH, aio  # type: ignore[import-untyped]
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

Ready = Callable[[], str | None]
"""Returns why no requests are wanted now, ``None`` when they are; called on the event loop's thread, and often."""


class GrpcHealth(aio.HealthServicer):  # type: ignore[misc]  # untyped
    """The standard service; the server as a whole and every service of it have one state."""

    def __init__(self, ready: Ready, services: tuple[str, ...]) -> None:
        super().__init__()
        self._ready = ready
        self._services = (OVERALL_HEALTH, *services)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve it."""
        health_pb2_grpc.add_HealthServicer_to_server(self, server)

    async def refresh(self) -> None:
        """Look again, and tell those who watch what has changed."""
        kind = health_pb2.HealthCheckResponse
        state = kind.SERVING if self._ready() is None else kind.NOT_SERVING
        for service in self._services:
            await self.set(service, state)

    async def Check(  # noqa: N802 - gRPC's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        """Answer with the state as it is now."""
        await self.refresh()
        return await super().Check(request, context)


def health_routes(ready: Ready) -> list[Route]:
    """Return ``/healthz``, which answers while the process lives, and ``/readyz``, which says why not with 503."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_: Request) -> Response:
        reason = ready()
        return PlainTextResponse("ready\n") if reason is None else PlainTextResponse(f"{reason}\n", 503)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]
