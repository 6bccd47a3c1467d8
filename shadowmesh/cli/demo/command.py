"""``shadowmesh demo``."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from shadowmesh.cli.demo import printing, traffic
from shadowmesh.cli.demo.configuration import EXPERIMENT, TARGET
from shadowmesh.cli.demo.document import document
from shadowmesh.cli.demo.judging import Evidence
from shadowmesh.cli.demo.results import Results, collect
from shadowmesh.cli.demo.sink import Sink, listening
from shadowmesh.cli.demo.stage import Stage, standing
from shadowmesh.errors import StartError
from shadowmesh.verdict.judgement import Judgement

_SETTLE_WITHIN = 20.0
_REACH_WITHIN = 5.0
_NOT_ADDED_UP = 70
_TERMINATED = 143


def demo(
    seconds: Annotated[float, typer.Option(min=1, max=3600, metavar="SECONDS", help="How long to send prompts.")] = 20,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up until Ctrl-C.")] = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", dir_okay=False, help="Also write the results as JSON."),
    ] = None,
    otlp: Annotated[
        str | None,
        typer.Option(metavar="ENDPOINT", help="Also send everything to this OTLP/gRPC endpoint (http://host:port)."),
    ] = None,
) -> None:
    """
    Watch a live and a shadow model answer the same calls, and how they compare.

    Two small language models learn English from Python's own documentation; one is live, the other gets a copy of
    every call. Nothing leaves this machine unless --otlp says so, and no process stays behind.
    """
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise typer.BadParameter(f"{json_file.parent} is no directory", param_hint="--json")
    # A terminal without UTF-8 gets question marks instead of a traceback.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="shadowmesh-demo-") as directory:
        run = _run(console, Path(directory), seconds=seconds, keep=keep, json_file=json_file, otlp=otlp)
        try:
            added_up = asyncio.run(run)
        except asyncio.CancelledError:
            raise typer.Exit(_TERMINATED) from None
    if not added_up:
        raise typer.Exit(_NOT_ADDED_UP)


async def _run(
    console: Console, directory: Path, *, seconds: float, keep: bool, json_file: Path | None, otlp: str | None
) -> bool:
    """Return whether every call is accounted for."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    endpoint = await _reachable(otlp) if otlp is not None else None
    sink = Sink()

    def tell(sent: traffic.Sent, judged: Judgement | None) -> Results:
        results = collect(sink, sent, (EXPERIMENT, TARGET))
        printing.show(console, results)
        if json_file is not None:
            text = json.dumps(document(results, seconds=seconds, judged=judged), indent=2, ensure_ascii=False)
            json_file.write_text(text + "\n", encoding="utf-8")
        return results

    with console.status("starting two models and a processor") as status:
        async with (
            listening(sink) as port,
            standing(directory, sink=f"127.0.0.1:{port}", otlp=endpoint) as stage,
        ):
            status.stop()
            printing.introduce(console, stage, seconds=seconds)
            sent = await _send(console, stage, seconds)
            if keep:
                await _settled(sink, sent)
                results = tell(sent, None)
                sink.close()
                printing.invite(console, stage)
                await _interrupted()
                return results.funnel.adds_up
            await stage.finish()
    evidence = Evidence(directory)
    judged = evidence.judge()
    added_up = tell(sent, judged).funnel.adds_up
    printing.judge(console, evidence, judged)
    return added_up


async def _send(console: Console, stage: Stage, seconds: float) -> traffic.Sent:
    columns = (TextColumn("{task.fields[calls]} calls"), BarColumn(bar_width=None), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=seconds, calls=0)

        def progress(elapsed: float, calls: int) -> None:
            stage.check()
            bar.update(task, completed=elapsed, calls=calls)

        return await traffic.send(stage.addresses["live model"], seconds=seconds, progress=progress)


async def _settled(sink: Sink, sent: traffic.Sent) -> None:
    """Wait until everything the client caused has come through the processor, or long enough."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_SETTLE_WITHIN):
            while not collect(sink, sent, (EXPERIMENT, TARGET)).funnel.adds_up:
                sink.arrived.clear()
                await sink.arrived.wait()


async def _interrupted() -> None:
    """Return at Ctrl-C, which is how the user says that it is enough."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()


async def _reachable(otlp: str) -> str:
    """Return the endpoint with its scheme once something listens there."""
    from urllib.parse import urlsplit

    endpoint = otlp if "://" in otlp else f"http://{otlp}"
    try:
        parts = urlsplit(endpoint)
        async with asyncio.timeout(_REACH_WITHIN):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or 4317)
        writer.close()
    except (OSError, ValueError, TimeoutError) as error:
        raise StartError(f"nothing listens at --otlp {otlp}: {_reason(error)}") from error
    return endpoint


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "no answer"
