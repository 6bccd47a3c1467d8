"""
Several proxy processes on one port.

The kernel spreads connections over sockets that listen with SO_REUSEPORT, whoever they belong to. So the port is tried
without it first: see ``port``. Then it is held, bound and not listened on, until the end.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

from shadowmesh.errors import StartError
from shadowmesh.proxy.port import refuse_taken

READY = b"ready\n"
"""What a worker writes to its standard output when it listens."""

_START_WITHIN = 60.0
_FIRST_BACK_OFF, _MOST_BACK_OFF = 0.5, 30.0
_LOG = logging.getLogger("shadowmesh")


def hold(listen: str) -> tuple[socket.socket, str]:
    """
    Return a socket that keeps an address for our workers, and the address with the port it has.

    Raises:
        StartError: somebody listens there, or it is not ours to use.
    """
    family, address = refuse_taken(listen)
    try:
        held = socket.socket(family)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except OSError as error:
        raise StartError(f"proxy.listen: cannot listen on {listen}: {error.strerror or error}") from error
    return held, f"{listen.rpartition(':')[0]}:{address[1]}"


class Workers:
    """
    Keeps so many processes of ``command`` running; one that falls is replaced after a pause.

    A worker ends when its standard input does, so none outlives us.
    """

    def __init__(self, command: Sequence[str], count: int) -> None:
        self._command = tuple(command)
        self._count = count
        self._tasks: list[asyncio.Task[None]] = []
        self._running: set[asyncio.subprocess.Process] = set()
        self._stopping = False

    async def start(self) -> None:
        """
        Return when every worker listens.

        Raises:
            StartError: one did not come up; what it said is on standard error.
        """
        first = await asyncio.gather(*(self._one() for _ in range(self._count)), return_exceptions=True)
        wrong = next((each for each in first if isinstance(each, BaseException)), None)
        if wrong is not None:
            await self.stop(0.0)
            raise wrong
        self._tasks = [
            asyncio.create_task(self._keep(number, process))
            for number, process in enumerate(first)
            if isinstance(process, asyncio.subprocess.Process)
        ]

    async def stop(self, grace: float) -> None:
        """Ask all to end, and make them after so many seconds."""
        self._stopping = True
        for process in self._running:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        ends = [asyncio.create_task(process.wait()) for process in self._running]
        if ends:
            await asyncio.wait(ends, timeout=grace)
        for process in self._running:
            with suppress(ProcessLookupError):
                process.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*ends, *self._tasks, return_exceptions=True)

    async def _one(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl-C on the terminal is for us, who ask them to end.
            process_group=0,
        )
        self._running.add(process)
        line = b""
        if process.stdout is not None:
            with suppress(TimeoutError):
                line = await asyncio.wait_for(process.stdout.readline(), _START_WITHIN)
        if line != READY:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            self._running.discard(process)
            raise StartError("a worker of the proxy did not start")
        return process

    async def _keep(self, number: int, process: asyncio.subprocess.Process) -> None:
        back_off = _FIRST_BACK_OFF
        while True:
            code = await process.wait()
            self._running.discard(process)
            if self._stopping:
                return
            _LOG.warning("proxy: worker %d ended with code %d and is replaced", number, code)
            while True:
                await asyncio.sleep(back_off)
                back_off = min(back_off * 2, _MOST_BACK_OFF)
                try:
                    process = await self._one()
                    break
                except StartError as error:
                    _LOG.warning("proxy: %s", error)
