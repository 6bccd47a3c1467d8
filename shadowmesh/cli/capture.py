"""``shadowmesh capture``: forwards every gRPC call to a live server, and writes what was said to files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from shadowmesh import config as configuration
from shadowmesh.catalog.catalog import Catalog
from shadowmesh.cli.log import logged
from shadowmesh.cli.proxy import announcement, signalled, with_options
from shadowmesh.config import Config
from shadowmesh.errors import ConfigError, StartError
from shadowmesh.mirror.capture_settings import CaptureSettings
from shadowmesh.names import CaptureResult
from shadowmesh.proxy.settings import ProxySettings
from shadowmesh.settings import complaint
from shadowmesh.telemetry.providers import sdk_disabled


def capture(
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write; made with access for you alone.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="Its proxy and capture sections.")
    ] = None,
    listen: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Instead of proxy.listen.")] = None,
    live: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The server behind it, instead of proxy.live.address.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Methods to capture; by default all. May be repeated.")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0, max=1, metavar="SHARE", help="Of calls to capture (1).")] = None,
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
    given = {
        "to": None if to is None else str(to), "methods": method, "rate": rate, "metadata": metadata,
        "file_bytes": file_bytes, "max_bytes": max_bytes, "max_age": max_age,
    }  # fmt: skip
    settings = _settings(loaded.capture, {name: value for name, value in given.items() if value is not None})
    if sdk_disabled():
        raise StartError("OTEL_SDK_DISABLED is true: nothing is mirrored, and so nothing captured")
    with logged():
        asyncio.run(_serve(proxy, settings, loaded.catalog))


def _settings(configured: CaptureSettings | None, given: dict[str, object]) -> CaptureSettings:
    """Return what the command line says, and for the rest what the configuration does."""
    values = {} if configured is None else configured.model_dump()
    if not {**values, **given}.get("to"):
        raise typer.BadParameter("no directory to write to: say --to, or set capture.to")
    try:
        return CaptureSettings.model_validate({**values, **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = {"methods": "--method"}.get(str(first["loc"][0]), f"--{first['loc'][0]}".replace("_", "-"))
        raise typer.BadParameter(complaint(first), param_hint=option) from error


async def _serve(proxy: ProxySettings, settings: CaptureSettings, catalog: Catalog) -> None:
    from shadowmesh.interceptor.aio import AioInterceptor
    from shadowmesh.mirror.capture import Capture
    from shadowmesh.proxy.arity import shapes_of_protocols
    from shadowmesh.proxy.server import Proxy
    from shadowmesh.telemetry.faults import Faults

    stop = signalled()
    capture = Capture(settings, faults=Faults())
    shapes = shapes_of_protocols(catalog.given)
    running = Proxy(proxy, interceptors=[AioInterceptor(capture.live)], described=shapes)
    try:
        await running.start()
        # At once, because what is too old is deleted from then on.
        capture.live.start()
        typer.echo(announcement("capture", proxy, running.port))
        typer.echo(_warning(settings), err=True)
        await stop.wait()
        await running.drain(proxy.grace)
    finally:
        await running.close()
        await capture.drain(0.0)
    totals = capture.totals()
    written = sum(totals.get((result.value, ""), 0) for result in (CaptureResult.WRITTEN, CaptureResult.INCOMPLETE))
    lost = sum(totals.values()) - written
    typer.echo(f"{written} calls written to {settings.to}" + (f", {lost} not" if lost else ""))


def _warning(settings: CaptureSettings) -> str:
    return (
        f"shadowmesh capture: WHOLE PROMPTS AND ANSWERS are written to {settings.to}, for your account alone; "
        f"up to {settings.max_bytes >> 20} MiB, for {settings.max_age / 3600:.4g} h while this runs"
    )
