"""``shadowmesh proxy``: forwards every gRPC call to a live server, and mirrors as the configuration says."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from shadowmesh import config as configuration
from shadowmesh.catalog.catalog import Catalog
from shadowmesh.cli.log import logged
from shadowmesh.config import Config
from shadowmesh.errors import ConfigError
from shadowmesh.proxy.settings import ProxySettings
from shadowmesh.settings import complaint

# Beyond what calls in flight get: shadows, and the export of their spans.
_AFTER_GRACE = 15.0


def proxy(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.")
    ] = None,
    listen: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Instead of proxy.listen.")] = None,
    live: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The server behind it, instead of proxy.live.address.")
    ] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Processes that share the port.")] = None,
    worker: Annotated[bool, typer.Option("--worker", hidden=True)] = False,
) -> None:
    """
    Forward every gRPC method to a live server, byte for byte, and mirror what the configuration covers.

    Without a configuration nothing is mirrored. SIGTERM drains: calls in flight get proxy.grace seconds.
    """
    loaded = Config() if config is None else configuration.load(config)
    settings = with_options(loaded.proxy, {"listen": listen, "workers": workers}, live)
    if settings.live is None:
        raise ConfigError("no server to forward to: say --live, or set it", source=str(config or ""), key="proxy.live")
    with logged():
        if settings.workers > 1 and not worker:
            asyncio.run(_supervise(config, settings))
        else:
            asyncio.run(_serve(config, settings, loaded.catalog, worker=worker))


def with_options(settings: ProxySettings, changes: dict[str, object], live: str | None) -> ProxySettings:
    """Return the settings with what the command line says in the place of theirs."""
    given: dict[str, object] = {name: value for name, value in changes.items() if value is not None}
    if live is not None:
        given["live"] = {**({} if settings.live is None else dict(settings.live)), "address": live}
    if not given:
        return settings
    values = dict(settings)
    try:
        return ProxySettings.model_validate({**values, **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = "--live" if first["loc"][0] == "live" else f"--{first['loc'][0]}"
        raise typer.BadParameter(complaint(first), param_hint=option) from error


async def _serve(config: Path | None, settings: ProxySettings, catalog: Catalog, *, worker: bool) -> None:
    from shadowmesh.build import Mesh
    from shadowmesh.proxy.arity import shapes_of_protocols
    from shadowmesh.proxy.server import Proxy
    from shadowmesh.proxy.workers import READY

    stop = signalled()
    if worker:
        _stop_with_input(stop)
    mesh = None if config is None else Mesh.from_file(config, processes=settings.workers)
    running = Proxy(
        settings,
        interceptors=[] if mesh is None else [mesh.aio_interceptor()],
        described=shapes_of_protocols(catalog.given),
        shared=worker,
    )
    try:
        await running.start()
        if mesh is not None:
            mesh.start()
        if worker:
            sys.stdout.buffer.write(READY)
            sys.stdout.buffer.flush()
        else:
            typer.echo(announcement("proxy", settings, running.port))
        await stop.wait()
        await running.drain(settings.grace)
    finally:
        await running.close()
        if mesh is not None:
            await mesh.aclose()


async def _supervise(config: Path | None, settings: ProxySettings) -> None:
    from shadowmesh.proxy.workers import Workers, hold

    stop = signalled()
    held, listen = hold(settings.listen)
    with held:
        command = [sys.executable, "-P", "-m", "shadowmesh", "proxy", "--worker", "--listen", listen]
        command += ["--workers", str(settings.workers)]
        if settings.live is not None:
            command += ["--live", settings.live.address]
        if config is not None:
            command += ["--config", str(config)]
        workers = Workers(command, settings.workers)
        try:
            await workers.start()
            typer.echo(announcement("proxy", settings, int(listen.rpartition(":")[2])))
            await stop.wait()
        finally:
            await workers.stop(settings.grace + _AFTER_GRACE)


def signalled() -> asyncio.Event:
    """Return what is set when this process is asked to end."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _stop_with_input(stop: asyncio.Event) -> None:
    """Stop when whoever has started us is gone."""
    loop = asyncio.get_running_loop()

    def readable() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    loop.add_reader(sys.stdin.fileno(), readable)


def announcement(command: str, settings: ProxySettings, port: int) -> str:
    """Return what is said when the port is open."""
    live = "" if settings.live is None else settings.live.address
    many = f", {settings.workers} workers" if settings.workers > 1 else ""
    return f"shadowmesh {command}: {settings.listen.rpartition(':')[0]}:{port} to {live}{many}"
