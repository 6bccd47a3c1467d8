"""
A live server in a process of its own, as users write it: ``python -m support.terminable KIND CONFIG``.

It prints its port when it serves. To every line on standard input it answers with what it holds, as JSON. On SIGTERM it
stops its server with a grace, drains its mesh with a grace, and prints what its mesh counted. Spans go where ``OTEL_*``
says.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc
import grpc.aio
from support.resources import native_threads, resources, rss_bytes
from support.scripts import AioScripts, Log, SyncScripts

from shadowmesh.build import Mesh

SERVER_GRACE = 0.5
MESH_GRACE = 0.5
_OPTIONS = (("grpc.so_reuseport", 0),)


def say(facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def account(mesh: Mesh) -> dict[str, object]:
    return {
        "funnel": [[*key, count] for key, count in mesh.funnel().items()],
        "active": sum(mesh.active().values()),
        "captured_bytes": mesh.captured_bytes(),
        "faults": mesh.faults(),
    }


class Forgetful(Log):
    """Keeps nothing: what a test remembers would look like a leak of the server."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = _Nothing()

    def add(self, entry: str) -> None:
        pass


class _Nothing(list[threading.Event]):
    def append(self, entry: threading.Event) -> None:
        pass


def answer_questions(mesh: Mesh) -> None:
    """Tell everybody who asks what this process holds."""
    for _ in sys.stdin:
        held = resources()
        say({**held._asdict(), "rss": rss_bytes(), "native_threads": native_threads(), **account(mesh)})


def serve_sync(mesh: Mesh) -> None:
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: told.set())
    pool = futures.ThreadPoolExecutor(32)
    server = grpc.server(pool, handlers=[SyncScripts(Forgetful())], interceptors=[mesh.interceptor()], options=_OPTIONS)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say(port)
    told.wait()
    server.stop(SERVER_GRACE).wait()
    mesh.close(MESH_GRACE)


async def serve_aio(mesh: Mesh) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    server = grpc.aio.server(
        handlers=[AioScripts(Forgetful())], interceptors=[mesh.aio_interceptor()], options=_OPTIONS
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    say(port)
    await told.wait()
    await server.stop(SERVER_GRACE)
    await mesh.aclose(MESH_GRACE)


def main(kind: str, config: Path) -> None:
    mesh = Mesh.from_file(config)
    threading.Thread(target=answer_questions, args=(mesh,), daemon=True).start()
    if kind == "sync":
        serve_sync(mesh)
    else:
        asyncio.run(serve_aio(mesh))
    say(account(mesh))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
