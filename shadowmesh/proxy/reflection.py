"""Asks the live server for the shapes of a service's methods, by gRPC's server reflection."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio

from shadowmesh.catalog.reflection import METHODS, asking, files_in
from shadowmesh.proxy.arity import Shapes, shapes_of
from shadowmesh.proxy.upstream import Upstream, half_close, send
from shadowmesh.rpc import Arity

_SECONDS = 5.0
# How soon a server is asked again that has not answered; whatever else it says is an answer.
_AGAIN = 1.0
_SILENCE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_MOST_TASKS = 16


class Reflection:
    """
    Asks in the background, about each service until the server has answered; one without reflection is asked no more.

    A proxy that starts sooner than its server would take every method for a stream for ever, if it asked once.
    """

    def __init__(self, upstream: Upstream) -> None:
        self.shapes: Shapes | None = None
        """Who is told what is found out."""
        self._upstream = upstream
        self._methods = list(METHODS)
        self._tasks: set[asyncio.Task[None]] = set()

    def want(self, service: str) -> None:
        """Find out about a service."""
        if self._methods and len(self._tasks) < _MOST_TASKS:
            task = asyncio.get_running_loop().create_task(self._ask(service))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif self._methods and self.shapes is not None:
            self.shapes.forget(service)

    async def close(self) -> None:
        """Ask nothing more."""
        self._methods.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, service: str) -> None:
        silent = False
        for method in tuple(self._methods):
            try:
                found = await self._answer(method, service)
            except grpc.aio.AioRpcError as error:
                silent = silent or error.code() in _SILENCE
                if error.code() is grpc.StatusCode.UNIMPLEMENTED and method in self._methods:
                    self._methods.remove(method)
                continue
            if found and self.shapes is not None:
                self.shapes.learn(found)
            return
        if silent and self.shapes is not None:
            await asyncio.sleep(_AGAIN)
            self.shapes.forget(service)

    async def _answer(self, method: str, service: str) -> dict[str, Arity]:
        call = self._upstream.method(method, Arity.STREAM_STREAM)(timeout=_SECONDS)
        try:
            await call.wait_for_connection()
            await send(call, asking(file_containing_symbol=service))
            await half_close(call)
            found: dict[str, Arity] = {}
            while (data := await call.read()) is not grpc.aio.EOF:
                for file in files_in(data):
                    found.update(shapes_of(file))
            return found
        finally:
            call.cancel()
