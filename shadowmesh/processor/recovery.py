"""
The way back: a processor goes on from where the last process of its name ended, however that was.

The last checkpoint says what had been counted, and up to where. Then

- rows behind it were stored and not counted: they are counted from the store, as is what texts showed;
- records behind it were acknowledged and not counted: they are taken in again from the journal;
- records before it whose legs still waited, or whose pair was not stored, are read again, and not counted again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

from shadowmesh.errors import DecodeError
from shadowmesh.processor.aside import Aside
from shadowmesh.processor.checkpoint import Reached, Snapshot, from_bytes
from shadowmesh.processor.journal import Journal
from shadowmesh.processor.journal_format import Record
from shadowmesh.processor.journal_payload import decoded_again, signal_of
from shadowmesh.processor.pipeline import Pipeline
from shadowmesh.processor.writer import Writer
from shadowmesh.store.records import Checkpoint
from shadowmesh.store.store import Store
from shadowmesh.telemetry.faults import Faults

_ROWS_AT_ONCE = 500
_RECORDS_AT_ONCE = 16

Item = TypeVar("Item")


class Recovery:
    """
    Of one processor, once, on its event loop.

    Args:
        writer: has not begun to store; it does before the journal is read.
        reached: is kept up to date all along.
        aside: takes what fails again.
        wall_ns: wall clock, nanoseconds.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        reached: Reached,
        *,
        store: Store,
        writer: Writer,
        journal: Journal,
        aside: Aside,
        faults: Faults,
        wall_ns: Callable[[], int],
    ) -> None:
        self._pipeline = pipeline
        self._reached = reached
        self._store = store
        self._writer = writer
        self._journal = journal
        self._aside = aside
        self._faults = faults
        self._wall_ns = wall_ns

    async def run(self, checkpoint: Checkpoint | None) -> None:
        """
        Bring pipeline and writer to where the last process ended.

        Raises:
            StoreError: the store cannot be read.
        """
        snapshot, reached = self._restored(checkpoint), self._reached
        reached.number, reached.applied = snapshot.number, snapshot.applied
        reached.behind = 0 if checkpoint is None else checkpoint.position
        await self._count_rows(snapshot.number)
        self._writer.start()
        await self._read_journal(snapshot.applied)

    def _restored(self, checkpoint: Checkpoint | None) -> Snapshot:
        """Return where to go on, and bring the pipeline there."""
        if checkpoint is None:
            return Snapshot(0, -1, {})
        try:
            snapshot = from_bytes(checkpoint.state)
            self._pipeline.restore(snapshot.counted)
        except (DecodeError, TypeError, ValueError, KeyError) as error:
            # What was counted is lost; the rows are not, and metrics that begin anew say so by their start time.
            self._faults.report("checkpoint", error)
            self._pipeline.texts_ns = self._wall_ns()
            return Snapshot(self._store.number, checkpoint.position - 1, {})
        return snapshot

    async def _count_rows(self, number: int) -> None:
        rows = self._store.rows_after(number)
        while batch := await self._writer.call(partial(_some, rows, _ROWS_AT_ONCE)):
            for row in batch:
                self._pipeline.count(row.record, row.stored_ns)
                self._reached.number = row.number
        texts = self._store.compared_after(self._pipeline.texts_ns)
        while compared := await self._writer.call(partial(_some, texts, _ROWS_AT_ONCE)):
            self._pipeline.texts(compared)

    async def _read_journal(self, applied: int) -> None:
        records = self._journal.replay(self._reached.behind)
        while some := await asyncio.to_thread(_some, records, _RECORDS_AT_ONCE):
            await self._writer.room()
            for record in some:
                await self._apply(record, counted=record.position > applied)
                self._reached.record(record.position, record.end)

    async def _apply(self, record: Record, *, counted: bool) -> None:
        try:
            failed = self._pipeline.apply(decoded_again(record, self._pipeline), record.position, counted=counted)
        except DecodeError as error:
            self._faults.report("replay", error)
            return
        except Exception as error:  # noqa: BLE001 - the one boundary: a start that fails would fail for ever
            self._faults.report("replay", error)
            failed = 1
        signal = signal_of(record)
        if failed and signal is not None:
            await self._aside.keep(signal, record.payload)


def _some(items: Iterator[Item], many: int) -> list[Item]:
    return list(islice(items, many))
