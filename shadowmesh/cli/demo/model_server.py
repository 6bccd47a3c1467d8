"""
One model server in a process of its own: ``python -m shadowmesh.cli.demo.model_server --order 2``.

It prints its port as one line once it serves, and ends on SIGTERM or when its standard input ends.
``--config`` adds ShadowMesh the way any server does; the rest of the file would be the same without it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack

import grpc.aio

from shadowmesh.cli.demo import corpus
from shadowmesh.cli.demo.api import generic_handler
from shadowmesh.cli.demo.language_model import LanguageModel
from shadowmesh.cli.demo.leash import end_with_starter
from shadowmesh.cli.demo.service import InferenceService, Pace

_GRACE = 5.0
"""Seconds a call in flight has to end after SIGTERM."""


async def serve(service: InferenceService, *, listen: str, config: str | None, ended: asyncio.Event) -> None:
    """Serve until ``ended`` is set; the port is printed once calls can come."""
    async with AsyncExitStack() as stack:
        interceptors: list[grpc.aio.ServerInterceptor] = []
        if config is not None:
            import shadowmesh

            mesh = await stack.enter_async_context(shadowmesh.Mesh.from_file(config))
            interceptors.append(mesh.aio_interceptor())
        server = grpc.aio.server(interceptors=interceptors, options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers([generic_handler(service)])
        port = server.add_insecure_port(listen)
        await server.start()
        print(port, flush=True)  # noqa: T201 (whoever started us reads it)
        await ended.wait()
        # Before the mesh closes, so that every answered call still becomes a pair.
        await server.stop(_GRACE)


async def _serve_until_signalled(arguments: argparse.Namespace) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    end_with_starter()
    model = LanguageModel(corpus.training_texts(), order=arguments.order)
    pace = Pace(
        read=arguments.read_ms / 1000,
        write=arguments.write_ms / 1000,
        jitter=arguments.jitter,
    )
    service = InferenceService(model, name=arguments.name, pace=pace)
    await serve(service, listen=arguments.listen, config=arguments.config, ended=ended)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the server with these command-line arguments."""
    parser = argparse.ArgumentParser(prog="model_server", description=__doc__)
    parser.add_argument("--order", type=int, required=True, help="words the n-gram model looks at")
    parser.add_argument("--name", default="pydoc", help="the model's name in answers")
    parser.add_argument("--listen", default="127.0.0.1:0", help="address; port 0 takes a free one")
    parser.add_argument("--read-ms", type=float, default=0.1, help="milliseconds to read one input token")
    parser.add_argument("--write-ms", type=float, default=3.0, help="milliseconds to write one output token")
    parser.add_argument("--jitter", type=float, default=0.2, help="how much both vary (log-normal sigma)")
    parser.add_argument("--config", help="ShadowMesh configuration; without it nothing is mirrored")
    asyncio.run(_serve_until_signalled(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
