"""
What was received and is not yet stored, on the disk: a request is appended before it is acknowledged.

Appends that arrive while the disk is busy are written and synced together (group commit), by one job in one thread; a
lone append waits for nothing but its own. What cannot be appended is refused, so that its sender keeps it: nothing
that was acknowledged is ever dropped to make room.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shadowmesh.errors import OverloadedError
from shadowmesh.processor.journal_disk import Disk
from shadowmesh.processor.journal_format import Damage, Record
from shadowmesh.processor.journal_segments import Entry, Segments
from shadowmesh.processor.journal_settings import JournalSettings
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.status_shape import JournalTroubles

# When a refused sender is to come back. Room on the disk comes with stored pairs or with an operator, so not at once.
_BUSY_SECONDS = 1.0
_FULL_SECONDS = 5.0
_MOST_WAITING = 10_000


@dataclass(slots=True)
class JournalCounts:
    """What the journal has done since it was opened: requests appended and refused, jobs that wrote, places damaged."""

    appended: int = 0
    writes: int = 0
    refused_full: int = 0
    refused_busy: int = 0
    refused_failing: int = 0
    unsynced_failures: int = 0
    damaged: int = 0
    damaged_bytes: int = 0

    def troubles(self) -> JournalTroubles:
        """Return what of it somebody has to do something about."""
        return JournalTroubles(
            full=self.refused_full,
            busy=self.refused_busy,
            failing=self.refused_failing,
            unsynced=self.unsynced_failures,
            damaged=self.damaged,
            damaged_bytes=self.damaged_bytes,
        )


class _Waiting:
    __slots__ = ("done", "entry")

    def __init__(self, entry: Entry, done: asyncio.Future[int]) -> None:
        self.entry = entry
        self.done = done


class Journal:
    """
    The journal of one processor.

    ``append``, ``truncate`` and ``close`` belong to one event loop; ``replay`` is for its start.

    Args:
        faults: where errors of the disk are counted, and logged once per cause.
        disk: what stands for the operating system.
        after: the position of the last checkpoint. All new positions are greater, even where the directory was lost.

    Raises:
        StartError: the directory cannot be used, belongs to another process or was written by a later version.
    """

    def __init__(
        self,
        settings: JournalSettings,
        *,
        faults: Faults,
        wall_ns: Callable[[], int] = time.time_ns,
        disk: Disk | None = None,
        after: int = 0,
    ) -> None:
        self.counts = JournalCounts()
        self._settings = settings
        self._faults = faults
        self._wall_ns = wall_ns
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._writing = False
        self._failing = False
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._sync_timer: asyncio.TimerHandle | None = None
        self._segments = Segments(
            settings.path,
            segment_bytes=settings.segment_bytes,
            durable=settings.sync != "never",
            wall_ns=wall_ns,
            disk=disk,
            after=after,
        )
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shadowmesh-journal")
        if self._segments.cut_bytes:
            faults.report("journal", "a torn tail was cut off")

    @property
    def end(self) -> int:
        """A position behind every record that is there; those to come are at it or behind it."""
        return self._segments.end

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._segments.size

    @property
    def writable(self) -> bool:
        """Whether the last append that reached the disk succeeded and there is room for another."""
        return not (self._closed or self._failing) and self.size < self._settings.max_bytes

    async def append(self, kind: int, payload: bytes) -> int:
        """
        Return the position of the request once it is as durable as ``sync`` says.

        Those who wait go on in the order of their positions.

        Raises:
            OverloadedError: it was not appended: the journal is full, its disk fails, or too much waits for it.
        """
        self._admit(len(payload))
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(Entry(kind, self._wall_ns(), payload), done))
        self._waiting_bytes += len(payload)
        if not self._writing:
            self._write()
        return await done

    def replay(self, start: int = 0) -> Iterator[Record]:
        """
        Yield the records from a position on, in order, up to the last that is there now; blocks as files are read.

        What is damaged is counted and skipped up to the next record that can be read.
        """
        for item in self._segments.read(start):
            if isinstance(item, Damage):
                self.counts.damaged += 1
                self.counts.damaged_bytes += item.end - item.position
                self._faults.report("journal", "damaged, what stood there is lost")
            else:
                yield item

    async def truncate(self, before: int) -> None:
        """
        Delete the segments in which nothing from this position on stands.

        Where nothing is needed any more it is one behind the last record that was dealt with. It is not :attr:`end`:
        what was appended just now may not have reached whoever is to deal with it.
        """
        if self._closed:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._segments.drop, before)
        except OSError as error:
            self._faults.report("journal", error)

    async def close(self) -> None:
        """Finish what was begun, sync and let others have the directory; safe to call twice."""
        self._closed = True
        await self._idle.wait()
        if self._sync_timer is not None:
            self._sync_timer.cancel()
        await asyncio.to_thread(self._end)

    def _admit(self, size: int) -> None:
        held = self._waiting_bytes
        if self._closed:
            raise OverloadedError("the journal is closed", retry_after=_BUSY_SECONDS)
        if self._segments.size + held + size > self._settings.max_bytes:
            self.counts.refused_full += 1
            self._faults.report("journal", "full, refusing requests")
            raise OverloadedError("the journal is full", retry_after=_FULL_SECONDS)
        # One that is too large on its own gets its turn when nothing else waits.
        if len(self._waiting) >= _MOST_WAITING or (held and held + size > self._settings.max_waiting_bytes):
            self.counts.refused_busy += 1
            self._faults.report("journal", "too much waits for the disk, refusing requests")
            raise OverloadedError("too much waits for the journal's disk", retry_after=_BUSY_SECONDS)

    def _write(self) -> None:
        """Give everything that waits to the thread."""
        batch, self._waiting = self._waiting, []
        self._writing = True
        self._idle.clear()
        job = asyncio.get_running_loop().run_in_executor(self._thread, self._append, [one.entry for one in batch])
        job.add_done_callback(lambda job: self._written(batch, job))

    def _append(self, entries: list[Entry]) -> list[int]:
        return self._segments.append(entries, sync=self._settings.sync == "always")

    def _written(self, batch: list[_Waiting], job: asyncio.Future[list[int]]) -> None:
        self._waiting_bytes -= sum(len(one.entry.payload) for one in batch)
        error = job.exception()
        self._failing = error is not None
        if error is None:
            self.counts.writes += 1
            self.counts.appended += len(batch)
            for one, position in zip(batch, job.result(), strict=True):
                if not one.done.done():
                    one.done.set_result(position)
            self._sync_soon()
        else:
            self._refuse(batch, error)
        self._writing = False
        if self._waiting:
            self._write()
        else:
            self._idle.set()

    def _refuse(self, batch: list[_Waiting], error: BaseException) -> None:
        self.counts.refused_failing += len(batch)
        self._faults.report("journal", error)
        for one in batch:
            if not one.done.done():
                refusal = OverloadedError("the journal's disk fails", retry_after=_FULL_SECONDS)
                refusal.__cause__ = error
                one.done.set_exception(refusal)

    def _sync_soon(self) -> None:
        if self._settings.sync == "interval" and self._sync_timer is None:
            loop = asyncio.get_running_loop()
            self._sync_timer = loop.call_later(self._settings.sync_interval, self._sync)

    def _sync(self) -> None:
        self._sync_timer = None
        job = asyncio.get_running_loop().run_in_executor(self._thread, self._segments.sync)
        job.add_done_callback(self._synced)

    def _synced(self, job: asyncio.Future[None]) -> None:
        error = job.exception()
        if error is not None:
            self.counts.unsynced_failures += 1
            self._faults.report("journal", error)

    def _end(self) -> None:
        """Wait for the thread, sync what is left and close."""
        self._thread.shutdown()
        try:
            self._segments.close()
        except OSError as error:
            self._faults.report("journal", error)
