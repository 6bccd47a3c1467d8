"""One process the demo starts, and the only ones it ever ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from shadowmesh.errors import StartError

_START_WITHIN = 30.0
"""Seconds a process has to say that it is up; a loaded machine imports slowly."""


class Process:
    """A running ``python -m MODULE``; use :func:`running` to get one."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def first_line(self) -> str:
        """
        Return the first line the process prints, which says that it is up.

        Raises:
            StartError: it ended first, or said nothing for too long.
        """
        if self._process.stdout is None:
            raise ValueError("the process was started without a pipe")
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), _START_WITHIN)
        except TimeoutError:
            raise StartError(f"the {self.name} did not come up within {_START_WITHIN:.0f} s") from None
        if not line:
            raise StartError(f"the {self.name} did not start: {await self._last_words()}")
        return line.decode().strip()

    def check(self) -> None:
        """
        Do nothing while the process runs.

        Raises:
            StartError: it has ended, though nobody asked it to.
        """
        if self._process.returncode is not None:
            raise StartError(f"the {self.name} ended early with code {self._process.returncode}: {self._tail()}")

    async def end(self, grace: float) -> None:
        """
        Ask the process to end, and make it end after ``grace`` seconds; ending twice is fine.

        Raises:
            StartError: it did not end by itself, or not with 0.
        """
        if self._process.returncode is None:
            # Not `terminate()`: it reaps a process that has just ended before asyncio does, which then knows no code.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        try:
            code = await asyncio.wait_for(self._process.wait(), grace)
        except TimeoutError:
            await self.kill()
            raise StartError(f"the {self.name} had to be killed: it did not drain in {grace:.0f} s") from None
        if code != 0:
            raise StartError(f"the {self.name} ended with code {code}: {self._tail()}")

    async def kill(self) -> None:
        """End the process now, whatever state it is in."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()

    async def _last_words(self) -> str:
        code = await self._process.wait()
        return f"it ended with code {code}: {self._tail()}"

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it left no message")


@asynccontextmanager
async def running(name: str, module: str, *arguments: str, log: Path) -> AsyncIterator[Process]:
    """Start ``python -m MODULE ARGUMENTS`` and see to it that it is gone in the end; errors go to the log."""
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # Without -P a file in the current directory could stand in for a package.
            "-P",
            "-m",
            module,
            *arguments,
            # The leash: nothing is ever written to it.
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=_environment(),
            # Ctrl-C goes to the demo alone, which ends the others in the right order.
            start_new_session=True,
        )
    started = Process(name, process, log)
    try:
        yield started
    finally:
        await started.kill()


def _environment() -> dict[str, str]:
    """Our environment without what would lead the demo's telemetry or its local calls elsewhere."""
    kept = {
        key: value
        for key, value in os.environ.items()
        # Headers and certificates for --otlp stay.
        if not key.startswith("OTEL_") or key.startswith("OTEL_EXPORTER_OTLP_")
    }
    # gRPC writes notes to standard error that are no errors; the last line there should be the reason of an end.
    quiet = {"GRPC_VERBOSITY": os.environ.get("GRPC_VERBOSITY", "ERROR")}
    return kept | quiet | {"no_grpc_proxy": "127.0.0.1"}
