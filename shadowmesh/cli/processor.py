"""``shadowmesh processor``: pairs the spans of live and shadow legs and exports the comparison."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shadowmesh import config as configuration
from shadowmesh.cli.log import logged
from shadowmesh.processor.settings import ExportSettings, ProcessorSettings
from shadowmesh.verdict.plan import Plan

if TYPE_CHECKING:
    from shadowmesh.processor.receiver import Receiver

_GRACE_SECONDS = 10.0
# Objects more than before; a request of 512 spans makes about 2000 that stay.
_YOUNG = 20_000


def processor(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.")
    ] = None,
) -> None:
    """Receive spans over OTLP, pair and compare live and shadow, export metrics and compare spans."""
    loaded = configuration.Config() if config is None else configuration.load(config)
    with logged():
        asyncio.run(_serve(loaded.processor, configuration.plans(loaded)))
        leave_what_hangs()


async def _serve(settings: ProcessorSettings, plans: Sequence[Plan]) -> None:
    from shadowmesh.processor.service import Processor

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = Processor(settings, plans=plans)
    await running.start()
    collect_seldom()
    try:
        typer.echo(_announcement(settings, running.receiver))
        await stop.wait()
        await running.drain(_GRACE_SECONDS)
    finally:
        await running.close()


def collect_seldom() -> None:
    """
    Look for garbage in cycles less often: legs that wait have none, and there may be a million of them.

    By default a hundred new objects are enough to look at the youngest again, and all that wait are walked through
    again and again: a tenth of the processor's time, and pauses of most of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 100)


def leave_what_hangs(patience: float = 1.0) -> None:
    """
    End the process where a store gives no answer to a thread, for which Python would wait without end.

    What was acknowledged is in the journal, and the next start goes on from there.

    Args:
        patience: seconds for a thread that is about to end.
    """
    from shadowmesh.processor.writer import THREAD

    for thread in threading.enumerate():
        if thread.name.startswith(THREAD):
            thread.join(patience)
            if thread.is_alive():
                logging.shutdown()
                sys.stdout.flush()
                os._exit(0)


def _announcement(settings: ProcessorSettings, receiver: Receiver) -> str:
    ports = f"OTLP/gRPC on {_at(settings.listen, receiver.port)}"
    if settings.http_listen is not None:
        ports += f", OTLP/HTTP on {_at(settings.http_listen, receiver.http_port)}"
    exports = "; ".join(f"{_kinds(export)} to {export.endpoint}" for export in settings.export)
    return f"shadowmesh processor: {ports}, exports {exports or 'nothing (no endpoint is set)'}"


def _at(listen: str, port: int) -> str:
    return f"{listen.rpartition(':')[0]}:{port}"


def _kinds(export: ExportSettings) -> str:
    kinds = {
        "compare spans": export.traces,
        "metrics": export.metrics,
        "received spans": export.forward_spans,
        "received metrics": export.forward_metrics,
        "received logs": export.forward_logs,
    }
    return ", ".join(kind for kind, wanted in kinds.items() if wanted) or "nothing"
