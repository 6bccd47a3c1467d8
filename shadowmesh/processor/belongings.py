"""What belongs to a processor by its name, and meanwhile to no other process: a journal, and a place in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import NamedTuple

from shadowmesh.errors import StartError
from shadowmesh.processor.journal import Journal
from shadowmesh.processor.journal_settings import JournalSettings
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.store.records import Checkpoint
from shadowmesh.store.store import Store
from shadowmesh.telemetry.faults import Faults


class Belongings(NamedTuple):
    """Both, open, and what the last process of the name left in the store to go on from."""

    journal: Journal
    store: Store
    checkpoint: Checkpoint | None


async def open_belongings(
    settings: ProcessorSettings, *, name: str, instance: str, faults: Faults, wall_ns: Callable[[], int]
) -> Belongings:
    """
    Open the journal and the store.

    Raises:
        StartError: the journal cannot be used, or belongs to another process.
        StoreError: the store cannot be used.
    """
    async with AsyncExitStack() as undo:
        # The journal first: its lock says that no other process has this name.
        journal = await _open_journal(settings.journal_settings, faults=faults, wall_ns=wall_ns)
        undo.push_async_callback(journal.close)
        store = await asyncio.to_thread(
            partial(Store.open, settings.store_settings, name=name, instance=instance, now_ns=wall_ns())
        )
        undo.push_async_callback(asyncio.to_thread, store.close)
        checkpoint = await asyncio.to_thread(store.checkpoint)
        if checkpoint is not None and checkpoint.position > journal.end:
            # The directory was lost; a position must never come again.
            await journal.close()
            journal = Journal(settings.journal_settings, faults=faults, wall_ns=wall_ns, after=checkpoint.position)
        undo.pop_all()
    return Belongings(journal, store, checkpoint)


async def _open_journal(settings: JournalSettings, *, faults: Faults, wall_ns: Callable[[], int]) -> Journal:
    try:
        await asyncio.to_thread(settings.path.mkdir, mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise StartError(f"processor.journal.directory: {settings.path} cannot be used: {reason}") from error
    return Journal(settings, faults=faults, wall_ns=wall_ns)
