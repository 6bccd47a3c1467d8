"""Real live servers on free ports, of every kind, in one process; a test names a kind and gets the rest."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any

import grpc
import grpc.aio
from support.scripts import AioScripts, Log, ReadWriteScripts, SyncScripts

from shadowmesh.build import Mesh
from shadowmesh.proxy.server import Proxy
from shadowmesh.proxy.settings import ProxySettings
from shadowmesh.rpc import Arity

KINDS = ("sync", "aio", "aio read-write", "aio sync-servicer")
PROXY = "proxy"
"""An asynchronous server with the proxy in front of it: the interceptors are the proxy's."""
_OPTIONS = (("grpc.so_reuseport", 0),)
Interceptors = Callable[[], Sequence[Any]]


def is_aio(kind: str) -> bool:
    return kind != "sync"


def behind(kind: str) -> str:
    """Return the kind of the server that answers."""
    return "aio" if kind == PROXY else kind


def interceptor_of(kind: str, mesh: Mesh) -> Any:
    return mesh.aio_interceptor() if is_aio(kind) else mesh.interceptor()


class Server:
    """A running server; ``stop`` may be called from any thread, and its channel is the client's."""

    def __init__(self, kind: str, port: int, stop: Callable[[float | None], None], log: Log) -> None:
        self.kind = kind
        self.port = port
        self.log = log
        self.stop = stop
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def call(self, arity: str) -> Any:
        """Return the multicallable of a scripted method, bytes in and out."""
        return getattr(self.channel, arity)(f"/test.Scripted/{arity}")

    def release(self) -> None:
        """
        End the handlers that wait and that nobody tells that their call is over.

        Those are the synchronous ones on an aio server. A call on the same connection comes first: when it is
        answered, the server has read the reset of the call that was cancelled before it.
        """
        if self.kind != "aio sync-servicer":
            return
        with contextlib.suppress(grpc.RpcError):
            unknown: Any = self.channel.unary_unary("/test.Scripted/none")
            unknown(b"", timeout=10)
        for wait in self.log.waits:
            wait.set()


@contextlib.contextmanager
def live_server(
    kind: str, interceptors: Interceptors = lambda: (), *, handler: grpc.GenericRpcHandler | None = None
) -> Iterator[Server]:
    """Run a server of ``kind``; the interceptors are made where they run (an aio server's: in its loop)."""
    log = Log()
    with (
        _sync_server(interceptors, handler, log)
        if kind == "sync"
        else _aio_server(kind, interceptors, handler, log) as (
            port,
            stop,
        )
    ):
        server = Server(kind, port, stop, log)
        try:
            yield server
        finally:
            server.channel.close()


@contextlib.contextmanager
def _sync_server(
    interceptors: Interceptors, handler: grpc.GenericRpcHandler | None, log: Log
) -> Iterator[tuple[int, Callable[[float | None], None]]]:
    pool = futures.ThreadPoolExecutor(32)
    server = grpc.server(
        pool, handlers=[handler or SyncScripts(log)], interceptors=list(interceptors()), options=_OPTIONS
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    def stop(grace: float | None) -> None:
        server.stop(grace).wait()

    try:
        yield port, stop
    finally:
        stop(0)
        pool.shutdown(wait=True)


@contextlib.contextmanager
def _aio_server(
    kind: str, interceptors: Interceptors, handler: grpc.GenericRpcHandler | None, log: Log
) -> Iterator[tuple[int, Callable[[float | None], None]]]:
    scripts = {"aio read-write": ReadWriteScripts, "aio sync-servicer": SyncScripts}.get(kind, AioScripts)
    with loop_thread() as loop:
        pool = futures.ThreadPoolExecutor(32)

        async def start() -> tuple[grpc.aio.Server, Proxy | None, int]:
            server = grpc.aio.server(
                migration_thread_pool=pool,
                handlers=[handler or scripts(log)],
                interceptors=[] if kind == PROXY else list(interceptors()),
                options=_OPTIONS,
            )
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            if kind != PROXY:
                return server, None, port
            proxy = Proxy(_proxied(port), interceptors=list(interceptors()))
            await proxy.start()
            return server, proxy, proxy.port

        async def end(grace: float | None) -> None:
            if proxy is not None:
                await proxy.drain(grace or 0.0)
                await proxy.close()
            await server.stop(grace)

        server, proxy, port = asyncio.run_coroutine_threadsafe(start(), loop).result(20)

        def stop(grace: float | None) -> None:
            asyncio.run_coroutine_threadsafe(end(grace), loop).result(30)

        try:
            yield port, stop
        finally:
            stop(0)
            pool.shutdown(wait=True)


def _proxied(port: int) -> ProxySettings:
    """Return the settings of a proxy that is told the shapes of the scripted methods."""
    return ProxySettings.model_validate(
        {
            "listen": "127.0.0.1:0",
            "live": {"address": f"127.0.0.1:{port}"},
            "methods": {f"/test.Scripted/{arity.value}": arity.value for arity in Arity},
            "reflection": False,
        }
    )


@contextlib.contextmanager
def loop_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread until the end of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_settle(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


async def _settle() -> None:
    """Let what was cancelled by the server's stop come to its end."""
    await asyncio.get_running_loop().shutdown_asyncgens()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
