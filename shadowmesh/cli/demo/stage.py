"""
The demo's processes: who they are, how they are configured, started and ended.

::

    client (here) ── calls ──▶ live model ── mirrored ──▶ shadow model
                                   │ spans, funnel
                                   ▼
                               processor ── comparison, and what it received ──▶ sink (here), --otlp

They end in the direction of the data: the live model has sent its last pair before the processor compares what it
has, and the processor has sent its last comparison before the sink is read.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from shadowmesh.cli.demo.configuration import LIVE_MODEL, SHADOW_MODEL, live_config, processor_config
from shadowmesh.cli.demo.process import Process, running
from shadowmesh.errors import StartError

_SERVER = "shadowmesh.cli.demo.model_server"
_LEASH = "shadowmesh.cli.demo.leash"
_DRAIN = 20.0
"""Seconds each process has to end by itself; longer than the drain of any, so needing more is a defect."""


class Stage:
    """The running processes; use :func:`standing` to get one."""

    def __init__(self, directory: Path, live: Process, shadow: Process, processor: Process) -> None:
        self.directory = directory
        self.addresses: dict[str, str] = {}
        self._in_order = (live, shadow, processor)

    def check(self) -> None:
        """
        Do nothing while every process runs.

        Raises:
            StartError: one of them has ended.
        """
        for process in self._in_order:
            process.check()

    async def finish(self) -> None:
        """
        Drain and end every process, in the direction of the data; more than once is fine.

        Raises:
            StartError: one of them did not end well.
        """
        for process in self._in_order:
            await process.end(_DRAIN)


@asynccontextmanager
async def standing(directory: Path, *, sink: str, otlp: str | None) -> AsyncIterator[Stage]:
    """
    Start everything and see to it that nothing is left; configurations and logs are in ``directory``.

    Raises:
        StartError: a process did not come up.
    """
    async with AsyncExitStack() as stack:

        async def start(name: str, module: str, *arguments: str) -> Process:
            log = directory / f"{name.replace(' ', '-')}.log"
            return await stack.enter_async_context(running(name, module, *arguments, log=log))

        processor_file = _write(
            directory / "processor.yaml", processor_config(data=str(directory / "processor"), sink=sink, otlp=otlp)
        )
        processor = await start("processor", _LEASH, "processor", "--config", processor_file)
        shadow = await start("shadow model", _SERVER, *SHADOW_MODEL.arguments())
        # Both are importing now; waiting for one after the other costs nothing.
        processor_address = _address(await processor.first_line())
        shadow_address = _address(await shadow.first_line())
        live_file = _write(directory / "live.yaml", live_config(shadow=shadow_address, processor=processor_address))
        live = await start("live model", _SERVER, *LIVE_MODEL.arguments(), "--config", live_file)
        stage = Stage(directory, live, shadow, processor)
        stage.addresses = {
            "live model": _address(await live.first_line()),
            "shadow model": shadow_address,
            "processor": processor_address,
        }
        try:
            yield stage
        finally:
            # Also after Ctrl-C or a failure; what is said then is said by whatever came first.
            with suppress(StartError):
                await stage.finish()


def _address(line: str) -> str:
    """Return the address in what a process says when it is up: a port alone, or an address and a comma."""
    port = re.search(r"(\d+)(?=,|$)", line)
    if port is None:
        raise StartError(f"a process of the demo said {line!r} where its port was due")
    return f"127.0.0.1:{port[1]}"


def _write(path: Path, settings: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return str(path)
