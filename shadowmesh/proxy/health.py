"""
Health of the proxy itself, as gRPC's health protocol has it, under a service name that nobody else has.

Whoever asks for another service, or for the whole server, asks the live server: the proxy is not to be seen.
The two messages are so small that they are written out here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc

SERVICE = "shadowmesh.proxy"
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"

# HealthCheckRequest{service = 1}, and HealthCheckResponse{status = 1} with SERVING = 1 and NOT_SERVING = 2.
_ASKED = bytes([0x0A, len(SERVICE)]) + SERVICE.encode()
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"


class Health:
    """Answers for the proxy, of one event loop."""

    def __init__(self) -> None:
        self._serving = True
        self._changed = asyncio.Event()

    def stop(self) -> None:
        """Say from now on that the proxy does not serve."""
        self._serving = False
        self._changed.set()

    def wrapped(self, method: str, handler: Any) -> Any:
        """Return a handler that answers what is asked of us, and leaves the rest to ``handler``."""
        if method == CHECK:
            return grpc.unary_unary_rpc_method_handler(self._check(handler.unary_unary))
        if method == WATCH:
            return grpc.unary_stream_rpc_method_handler(self._watch(handler.unary_stream))
        return handler

    def _check(self, other: Any) -> Any:
        async def behaviour(request: bytes, context: Any) -> bytes:
            if request != _ASKED:
                answer: bytes = await other(request, context)
                return answer
            return self._answer()

        return behaviour

    def _watch(self, other: Any) -> Any:
        async def behaviour(request: bytes, context: Any) -> AsyncIterator[bytes]:
            if request != _ASKED:
                async for answer in self._until_stopped(other(request, context)):
                    yield answer
                if not self._serving:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "the proxy is being drained")
                return
            yield self._answer()
            if self._serving:
                await self._changed.wait()
                yield self._answer()

        return behaviour

    async def _until_stopped(self, answers: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
        """Yield what the live server says, until we stop: a watch has no end, and a drain would wait for it in vain."""
        stopped = asyncio.ensure_future(self._changed.wait())
        coming: asyncio.Future[bytes | None] | None = None
        try:
            while True:
                coming = asyncio.ensure_future(anext(answers, None))
                await asyncio.wait((coming, stopped), return_when=asyncio.FIRST_COMPLETED)
                if not coming.done() or (answer := coming.result()) is None:
                    return
                yield answer
        finally:
            stopped.cancel()
            if coming is not None and not coming.done():
                coming.cancel()
                await asyncio.wait((coming,))
            await answers.aclose()

    def _answer(self) -> bytes:
        return _SERVING if self._serving else _NOT_SERVING
