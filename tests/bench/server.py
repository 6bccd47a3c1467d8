"""
A model server of the benchmark, as live server or as shadow: grpc.aio, and a handler that answers at once.

The handler takes and gives bytes (no (de)serialisers), so what the bare server costs is grpc's own. Asked to, it
waits before it answers, as a model would.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from bench import payload
from bench.control import answer_until_told_to_end

from shadowmesh.build import Mesh
from shadowmesh.config import parse


class NoOp(grpc.aio.ServerInterceptor):
    """What any interceptor costs, whatever it does."""

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        return await continuation(handler_call_details)


class Model(grpc.GenericRpcHandler):
    """Both methods; counts the calls that have reached it, and answers after ``delay`` seconds."""

    def __init__(self, delay: float) -> None:
        self.calls = 0
        self.delay = delay
        self._reply = payload.reply()
        self._deltas = payload.deltas()
        self._handlers: dict[str, Any] = {
            payload.UNARY.full_name: grpc.unary_unary_rpc_method_handler(self._generate),
            payload.STREAM.full_name: grpc.unary_stream_rpc_method_handler(self._stream),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method)

    async def _generate(self, request: bytes, context: Any) -> bytes:
        self.calls += 1
        if self.delay:
            await asyncio.sleep(self.delay)
        return self._reply

    async def _stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        self.calls += 1
        for delta in self._deltas:
            yield delta


async def serve(*, noop: bool, config: str, config_file: str, delay: float) -> None:
    """
    Serve until told to end.

    Args:
        config: a ShadowMesh configuration, or empty.
        config_file: a file with one, or empty.
    """
    mesh = Mesh(parse(config)) if config else None
    if config_file:
        mesh = Mesh.from_file(config_file)
    interceptors: list[grpc.aio.ServerInterceptor] = [NoOp()] if noop else []
    if mesh is not None:
        interceptors.append(mesh.aio_interceptor())
    server = grpc.aio.server(interceptors=interceptors, options=(("grpc.so_reuseport", 0),))
    model = Model(delay)
    server.add_generic_rpc_handlers((model,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    def account(question: dict[str, Any]) -> dict[str, Any]:
        model.delay = question.get("delay", model.delay)
        if question.get("collect"):
            # Python walks everything that was loaded once, some 15 ms, soon after a program's start. In a short window
            # that would be charged to whichever mode it falls into, so every mode does it here, between the windows.
            gc.collect()
        funnel = mesh.funnel() if mesh is not None else {}
        return {
            "calls": model.calls,
            "mirrored": sum(count for key, count in funnel.items() if key.decision == "mirrored"),
            "shed": {key.drop_reason: count for key, count in funnel.items() if key.decision == "dropped"},
            "faults": mesh.faults() if mesh is not None else {},
        }

    await answer_until_told_to_end(account, port=port)
    await server.stop(0.2)
    if mesh is not None:
        await mesh.aclose(1.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--noop", action="store_true")
    parser.add_argument("--config", default="")
    parser.add_argument("--config-file", default="")
    parser.add_argument("--delay", type=float, default=0.0)
    arguments = parser.parse_args()
    asyncio.run(serve(**vars(arguments)))
