"""``shadowmesh processor``: pairs the spans of live and shadow legs and exports the comparison."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from shadowmesh import config as configuration
from shadowmesh.processor.settings import ExportSettings, ProcessorSettings

_GRACE_SECONDS = 10.0


def processor(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.")
    ] = None,
) -> None:
    """Receive spans over OTLP, pair and compare live and shadow, export metrics and compare spans."""
    settings = ProcessorSettings() if config is None else configuration.load(config).processor
    asyncio.run(_serve(settings))


async def _serve(settings: ProcessorSettings) -> None:
    from shadowmesh.processor.service import Processor

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = Processor(settings)
    port = await running.start()
    try:
        typer.echo(_announcement(settings, port))
        await stop.wait()
        await running.drain(_GRACE_SECONDS)
    finally:
        await running.close()


def _announcement(settings: ProcessorSettings, port: int) -> str:
    host = settings.listen.rpartition(":")[0]
    exports = "; ".join(f"{_kinds(export)} to {export.endpoint}" for export in settings.export)
    return f"shadowmesh processor: OTLP/gRPC on {host}:{port}, exports {exports or 'nothing (no endpoint is set)'}"


def _kinds(export: ExportSettings) -> str:
    kinds = {
        "compare spans": export.traces,
        "metrics": export.metrics,
        "received spans": export.forward_spans,
        "received metrics": export.forward_metrics,
    }
    return ", ".join(kind for kind, wanted in kinds.items() if wanted) or "nothing"
