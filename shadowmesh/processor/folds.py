"""
From time to time what is settled goes into the ledgers, from which verdicts are made.

Rows are read and added up in threads of their own, page by page; texts are compared and ledgers written in the store's
thread, between two batches of new pairs. The change detectors are fed on the way. Whatever ends a fold before its
commit has done nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from shadowmesh.compare.similarity import Lexical
from shadowmesh.errors import LedgerError, StoreError
from shadowmesh.processor.writer import Writer
from shadowmesh.store.folding import Fold, Folded
from shadowmesh.store.records import ComparedPair
from shadowmesh.store.store import Store
from shadowmesh.store.watches import Watched, Watching
from shadowmesh.telemetry.faults import Faults


class Folds:
    """
    Folds the rows of one processor, one fold after the other.

    Args:
        texts: told, on the loop, of what captured texts newly show.
        watching: how candidates are watched.
        watched: told, on the loop, of what was found about them.
        wall_ns: wall clock, nanoseconds.

    Raises:
        StartError: a package for comparing texts is missing.
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        texts: Callable[[Sequence[ComparedPair]], object],
        *,
        watching: Watching,
        watched: Callable[[Sequence[Watched]], object],
        faults: Faults,
        wall_ns: Callable[[], int],
    ) -> None:
        self._watching = watching
        self._watched = watched
        self._store = store
        self._writer = writer
        self._texts = texts
        self._faults = faults
        self._wall_ns = wall_ns
        self._similarity = Lexical()

    async def fold(self, watermark_ns: int) -> None:
        """
        Fold everything that is stored and was dispatched before.

        Ledgers that cannot be read, being of another version, are made anew from the rows that are kept.

        Raises:
            StoreError: the rest was not folded; it is the next time.
        """
        number = self._store.number
        folded: Folded | None = None
        while folded is None or folded.more:
            try:
                folded = await self._step(number, watermark_ns)
            except LedgerError as error:
                self._faults.report("ledgers", error)
                await self._writer.call(self._store.folding.restart)
                folded = await self._step(number, watermark_ns)

    async def _step(self, number: int, watermark_ns: int) -> Folded:
        begin = partial(self._store.folding.begin, watching=self._watching)
        step = await self._writer.call(partial(begin, number=number, watermark_ns=watermark_ns))
        await self._compare(step)
        while await asyncio.to_thread(step.read):
            continue
        folded = await self._writer.call(partial(step.commit, now_ns=self._wall_ns()))
        self._watched(folded.watched)
        return folded

    async def _compare(self, step: Fold) -> None:
        wanted = await asyncio.to_thread(step.conditions)
        steps = self._store.compare_texts(wanted, self._similarity, faults=self._faults, wall_ns=self._wall_ns)
        try:
            while (compared := await self._writer.call(partial(next, steps, None))) is not None:
                self._texts(compared)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - the one boundary: figures must not wait for a text that cannot be compared
            self._faults.report("texts", error)
