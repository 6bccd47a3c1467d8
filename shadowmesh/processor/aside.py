"""
Requests that the processor fails on, out of the way.

A sender repeats what was not taken in, and a Collector's queue waits behind it. What fails again and again will not get
better by that: after a few tries it is written to a directory of its own, as it came, and its sender is told not to
send it again. So it is known to be lost, by the sender's count and by ours, and whoever mends the fault can send it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from hashlib import blake2b
from pathlib import Path

from shadowmesh.processor.intake import Signal
from shadowmesh.telemetry.faults import Faults

_TRIES = 3
_MOST_REMEMBERED = 1000
_MOST_FILES = 100
_MOST_BYTES = 256 * 1024 * 1024

_LOG = logging.getLogger("shadowmesh")


class Aside:
    """
    Belongs to one event loop. What is there stays; when there is no room, later requests are only counted.

    Args:
        directory: made when it is needed; its files are for their owner only, as those of the journal.
        files: how many requests it may hold.
        size: how many bytes.
    """

    def __init__(self, directory: Path, *, faults: Faults, files: int = _MOST_FILES, size: int = _MOST_BYTES) -> None:
        self.requests = 0
        """How often a request was set aside, kept or not."""
        self._directory = directory
        self._faults = faults
        self._most_files = files
        self._most_bytes = size
        # By digest, the one that failed last at the end.
        self._failures: dict[str, int] = {}

    async def failed(self, signal: Signal, request: bytes) -> bool:
        """Count a failure of these bytes; return whether there were too many, and they are set aside."""
        digest = _digest(request)
        failures = self._failures.pop(digest, 0) + 1
        self._failures[digest] = failures
        if len(self._failures) > _MOST_REMEMBERED:
            del self._failures[next(iter(self._failures))]
        return failures >= _TRIES and await self.keep(signal, request)

    async def keep(self, signal: Signal, request: bytes) -> bool:
        """Set a request aside at once; ``False`` when the disk fails, and its sender had better keep it."""
        try:
            await asyncio.to_thread(self._keep, signal, request)
        except OSError as error:
            self._faults.report("aside", error)
            return False
        self.requests += 1
        return True

    def _keep(self, signal: Signal, request: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"{signal.value}-{_digest(request)}.binpb"
        held = [one.stat().st_size for one in self._directory.iterdir()]
        if path.exists():
            return
        if len(held) >= self._most_files or sum(held) + len(request) > self._most_bytes:
            self._faults.report("aside", "no room for a request that is set aside, which is lost")
            return
        half = path.with_suffix(".half")
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(request)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
        except OSError:
            half.unlink(missing_ok=True)
            raise
        _LOG.error("a request that cannot be taken in was set aside: %s", path)


def _digest(request: bytes) -> str:
    return blake2b(request, digest_size=16).hexdigest()
