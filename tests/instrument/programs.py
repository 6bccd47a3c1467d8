"""
Programs that know nothing of ShadowMesh, run by the tests: ``python programs.py NAME``.

Each builds a server with one method, says its port, and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent import futures
from importlib import import_module
from typing import Any


def handlers(behaviour: Any) -> Any:
    import grpc

    return grpc.method_handlers_generic_handler("acme.Models", {"Ask": grpc.unary_unary_rpc_method_handler(behaviour)})


def asking_first() -> None:
    """Looks whether grpc is there, as many packages do, before it is loaded."""
    assert importlib.util.find_spec("grpc") is not None
    synchronous()


def speechless() -> None:
    """Has nowhere to complain."""
    sys.stderr.close()
    synchronous()


def at_once() -> None:
    """Builds several servers at the same moment."""
    import grpc

    together = threading.Barrier(4)

    def serve() -> None:
        together.wait()
        server = grpc.server(futures.ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers((handlers(lambda request, context: request),))
        say(server.add_insecure_port("127.0.0.1:0"))
        server.start()
        servers.append(server)

    servers: list[Any] = []
    threads = [threading.Thread(target=serve) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdin.read()
    for server in servers:
        server.stop(0).wait()


def synchronous() -> None:
    import grpc

    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handlers(lambda request, context: request),))
    say(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    sys.stdin.read()
    server.stop(0).wait()


def asynchronous() -> None:
    from grpc import aio

    async def ask(request: bytes, context: Any) -> bytes:
        return request

    async def serve() -> None:
        server = aio.server(None, [handlers(ask)], ())
        say(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        await asyncio.to_thread(sys.stdin.read)
        await server.stop(0)

    asyncio.run(serve())


def child() -> None:
    subprocess.run([sys.executable, __file__, "asynchronous"], check=True)


def forked() -> None:
    if os.fork() == 0:
        synchronous()
        sys.stdout.flush()
        os._exit(0)
    os.wait()


def preforked() -> None:
    """As gunicorn does: grpc is loaded by the first process, and servers are built by those that it forks."""
    import_module("grpc")
    workers = [worker() for _ in range(2)]
    sys.stdin.read()
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def worker() -> int:
    pid = os.fork()
    if pid == 0:
        # Ends as such workers do: what runs at exit, runs.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        without_input()
    return pid


def spawned() -> None:
    process = multiprocessing.get_context("spawn").Process(target=without_input)
    process.start()
    sys.stdin.read()
    process.terminate()
    process.join()


def forked_by_multiprocessing() -> None:
    process = multiprocessing.get_context("fork").Process(target=synchronous_without_input)
    process.start()
    process.join()


def synchronous_without_input() -> None:
    """Serves one call and ends: multiprocessing gives a child that it has forked no standard input."""
    import grpc

    answered = threading.Event()

    def ask(request: bytes, context: Any) -> bytes:
        context.add_callback(answered.set)
        return request

    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handlers(ask),))
    say(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    answered.wait()
    server.stop(None).wait()


def without_input() -> None:
    import grpc

    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handlers(lambda request, context: request),))
    say(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    server.wait_for_termination()


def customized() -> None:
    """Has a ``sitecustomize`` of its own, which must have run."""
    assert os.environ["CUSTOMIZED"] == "yes"
    synchronous()


def without_grpc() -> None:
    assert "grpc" not in sys.modules
    assert not [name for name in sys.modules if name.startswith(("pydantic", "opentelemetry", "numpy"))]
    sys.stdout.write("nothing\n")


def say(port: int) -> None:
    sys.stdout.write(f"port {port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
