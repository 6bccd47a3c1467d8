"""What a processor does from time to time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shadowmesh.telemetry.faults import Faults


class Clocks:
    """
    Strikes on one event loop, from ``start`` to ``stop``.

    Args:
        faults: where an action that failed is counted, under its own name.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, seconds: float, action: Callable[[], Awaitable[None] | None]) -> None:
        """Call ``action`` again and again, so many seconds after it was through, first in so many seconds."""
        self._tasks.append(asyncio.create_task(self._every(seconds, action)))

    def stop(self) -> None:
        """Cancel everything; safe more than once, and before ``start``."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()

    async def _every(self, seconds: float, action: Callable[[], Awaitable[None] | None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                done = action()
                if done is not None:
                    await done
            except Exception as error:  # noqa: BLE001 - the one boundary: a stopped clock lets all pairs wait
                self._faults.report(action.__name__, error)
