"""``shadowmesh capture``: forwards every gRPC call to a live server, and writes what was said to files."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from shadowmesh import config as configuration
from shadowmesh.cli.proxy import announcement, signalled, with_options
from shadowmesh.config import Config
from shadowmesh.errors import ConfigError, StartError
from shadowmesh.mirror.capture_files import CaptureFiles, CaptureSettings
from shadowmesh.mirror.capturing import Capture
from shadowmesh.proxy.settings import ProxySettings
from shadowmesh.telemetry.providers import sdk_disabled

_TIDY_SECONDS = 60.0
_NOWHERE = "unix:capture"
"""Nobody connects there: calls go to files."""


def capture(
    to: Annotated[Path, typer.Option(metavar="DIR", help="Where to write; made with access for you alone.")],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="Its proxy and mirror sections.")
    ] = None,
    listen: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Instead of proxy.listen.")] = None,
    live: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The server behind it, instead of proxy.live.address.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Methods to capture; by default all. May be repeated.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0, max=1, help="The share of calls to capture.")] = 1.0,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Metadata to write; by default none. May be repeated.")
    ] = None,
    file_bytes: Annotated[str | None, typer.Option(metavar="SIZE", help="When a file is full (64MiB).")] = None,
    max_bytes: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Of all files, then the oldest go (1GiB).")
    ] = None,
    max_age: Annotated[str | None, typer.Option(metavar="TIME", help="How long a file is kept (24h).")] = None,
) -> None:
    """
    Stand in front of a live server as the proxy does, and write live calls to files: test data for protocol maps.

    THE FILES HOLD WHOLE PROMPTS AND ANSWERS, whatever experiments[].content says: to run this is to ask for it.
    """
    loaded = Config() if config is None else configuration.load(config)
    proxy = with_options(loaded.proxy, {"listen": listen}, live)
    if proxy.live is None:
        raise ConfigError("no server to forward to: say --live, or set it", source=str(config or ""), key="proxy.live")
    kept = {"metadata": metadata, "file_bytes": file_bytes, "max_bytes": max_bytes, "max_age": max_age}
    try:
        settings = CaptureSettings.model_validate(
            {"to": str(to), **{name: value for name, value in kept.items() if value is not None}}
        )
        captured = _captured(loaded, settings, method or ["*"], rate)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise typer.BadParameter(str(first["msg"]).removeprefix("Value error, ")) from error
    if sdk_disabled():
        raise StartError("OTEL_SDK_DISABLED is true: nothing is mirrored, and so nothing captured")
    asyncio.run(_serve(proxy, captured, CaptureFiles(settings, wall=time.time)))


def _captured(loaded: Config, settings: CaptureSettings, methods: list[str], rate: float) -> Config:
    """Return the configuration of a mesh that takes every call in: its one target is a file."""
    target = {
        "name": "file",
        "address": _NOWHERE,
        "rate": rate,
        "max_in_flight": 100_000,
        "metadata": settings.metadata,
    }
    return Config.model_validate(
        {
            "experiments": [{"name": "capture", "methods": methods, "protocol": "raw", "targets": [target]}],
            # Nothing is called, so there is nothing to guard live calls from but the copying itself.
            "mirror": loaded.mirror.model_dump() | {"harm_guard": {"enabled": False}},
        }
    )


async def _serve(settings: ProxySettings, captured: Config, files: CaptureFiles) -> None:
    from shadowmesh.build import Mesh
    from shadowmesh.proxy.server import Proxy

    stop = signalled()
    capture = Capture(files)
    mesh = Mesh(captured, make_carrier=capture.carrier)
    running = Proxy(settings, interceptors=[mesh.aio_interceptor()])
    try:
        await running.start()
        mesh.start()
        typer.echo(announcement(settings, running.port))
        typer.echo(_warning(files.settings), err=True)
        await _until(stop, capture)
        await running.drain(settings.grace)
    finally:
        await running.close()
        await mesh.aclose()
        files.close()
    lost = sum(capture.faults.totals().values())
    typer.echo(f"{capture.written} calls written to {files.settings.to}" + (f", {lost} not" if lost else ""))


async def _until(stop: asyncio.Event, capture: Capture) -> None:
    while not stop.is_set():
        try:
            async with asyncio.timeout(_TIDY_SECONDS):
                await stop.wait()
        except TimeoutError:
            await asyncio.to_thread(capture.tidy)


def _warning(settings: CaptureSettings) -> str:
    return (
        f"shadowmesh capture: WHOLE PROMPTS AND ANSWERS are written to {settings.to}, for your account alone; "
        f"up to {settings.max_bytes >> 20} MiB, for {settings.max_age / 3600:.4g} h while this runs"
    )
