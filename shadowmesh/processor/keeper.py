"""
What makes a request safe before it is acknowledged, and a pair count once: the journal and the store.

A request is decoded, appended to the journal, taken in by the pipeline and acknowledged, in that order. Pairs that have
ended are stored, and counted when the store says that they are new. From time to time a checkpoint of what was counted
is saved beside the rows it counts, and the journal is cut off behind it. So after a crash, at whatever point, the next
process of this name can go on; see :mod:`~shadowmesh.processor.recovery`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from shadowmesh.errors import DecodeError, OverloadedError, SetAsideError, StoreError
from shadowmesh.names import (
    METRIC_JOURNAL_SIZE,
    METRIC_RECEIVER_SET_ASIDE,
    METRIC_STORE_LATE_TEXTS,
    METRIC_STORE_REFUSED,
    METRIC_STORE_WAITING,
)
from shadowmesh.processor.aside import Aside
from shadowmesh.processor.belongings import open_belongings
from shadowmesh.processor.checkpoint import Reached, to_bytes
from shadowmesh.processor.decoded import NOTHING
from shadowmesh.processor.folds import Folds
from shadowmesh.processor.intake import Accepted, Signal
from shadowmesh.processor.journal import Journal
from shadowmesh.processor.journal_format import RECORD_HEAD
from shadowmesh.processor.journal_payload import payload
from shadowmesh.processor.judging import Judging
from shadowmesh.processor.pipeline import Pipeline
from shadowmesh.processor.recovery import Recovery
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.processor.writer import Stored, Writer
from shadowmesh.store.records import Content, PairRecord
from shadowmesh.store.store import Store
from shadowmesh.store.watches import Watched
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.status_shape import Fill, Storage

_BEHIND_SECONDS = 1.0


class Keeper:
    """
    Takes requests in, on one event loop; see :class:`~shadowmesh.processor.intake.Intake`.

    Args:
        pipeline: decodes, pairs, compares and counts; its ``put`` leads to :meth:`put`.
        name: what the store knows this processor by; see :func:`~shadowmesh.processor.identity.identity`.
        judging: how candidates are watched, and who is told of what was found about them.
        wall_ns: wall clock, nanoseconds.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        pipeline: Pipeline,
        *,
        name: str,
        instance: str,
        judging: Judging,
        faults: Faults,
        wall_ns: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._name = name
        self._instance = instance
        self._judging = judging
        self._faults = faults
        self._wall_ns = wall_ns
        self._aside = Aside(Path(settings.data) / "aside", faults=faults)
        self._store: Store | None = None
        self._folds: Folds | None = None
        self._writer: Writer | None = None
        self._journal: Journal | None = None
        self._reached = Reached()

    @property
    def journal(self) -> Journal:
        """The journal, once it is open."""
        if self._journal is None:
            raise RuntimeError("the processor has not started")
        return self._journal

    @property
    def writer(self) -> Writer:
        """What stores, once it is open."""
        if self._writer is None:
            raise RuntimeError("the processor has not started")
        return self._writer

    @property
    def place(self) -> str:
        """The store's URL without secrets, once it is open."""
        return "" if self._store is None else self._store.place

    def gauges(self) -> dict[str, float]:
        """Return what metrics say of journal and store; nothing before they are open."""
        if self._journal is None or self._writer is None:
            return {}
        return {
            METRIC_JOURNAL_SIZE: self._journal.size,
            METRIC_STORE_WAITING: self._writer.waiting,
            METRIC_STORE_REFUSED: self._writer.refused,
            METRIC_STORE_LATE_TEXTS: 0 if self._store is None else self._store.late_texts,
            METRIC_RECEIVER_SET_ASIDE: self._aside.requests,
        }

    def status(self) -> Storage | None:
        """Return the state of journal and store, once they are open."""
        if self._journal is None or self._writer is None:
            return None
        return Storage(
            journal=Fill(used=self._journal.size, cap=self._settings.journal_settings.max_bytes),
            journal_troubles=self._journal.counts.troubles(),
            store=self.place,
            waiting=self._writer.waiting,
            refused=self._writer.refused,
            failing=self._writer.failing,
            late_texts=0 if self._store is None else self._store.late_texts,
        )

    def why_not(self) -> str | None:
        """Return why no request can be taken now, ``None`` if one can."""
        if self._journal is None or self._writer is None:
            return "starting"
        if not self._journal.writable:
            return "the journal cannot be written"
        return "the store is behind" if self._writer.full else None

    async def open(self) -> None:
        """
        Open store and journal, and go on from where the last process of this name ended, however that was.

        Raises:
            StartError: the journal cannot be used, or belongs to another process.
            StoreError: the store cannot be used.
        """
        journal, store, checkpoint = await open_belongings(
            self._settings, name=self._name, instance=self._instance, faults=self._faults, wall_ns=self._wall_ns
        )
        self._journal, self._store = journal, store
        self._writer = Writer(store, self._stored, faults=self._faults, wall_ns=self._wall_ns)
        recovery = Recovery(
            self._pipeline,
            self._reached,
            store=store,
            writer=self._writer,
            journal=journal,
            aside=self._aside,
            faults=self._faults,
            wall_ns=self._wall_ns,
        )
        await recovery.run(checkpoint)
        self._pipeline.caught_up()
        self._folds = Folds(
            store,
            self._writer,
            self._pipeline.texts,
            watching=self._judging.watching,
            watched=self._watched,
            faults=self._faults,
            wall_ns=self._wall_ns,
        )
        self._judging.start(store.alerts, self._writer)
        # The first one says since when is counted; and what cannot be saved is better known now.
        await self.checkpoint()

    async def take(self, signal: Signal, request: bytes) -> Accepted:
        """
        Take one request in; when this returns it survives the end of this process.

        Raises:
            DecodeError: the bytes are no such request.
            OverloadedError: there is no room now.
            SetAsideError: it failed again and again, and is lost.
        """
        try:
            return await self._take(signal, request)
        except (DecodeError, OverloadedError):
            raise
        except Exception as error:
            if not await self._aside.failed(signal, request):
                raise
            self._faults.report("receiver", error)
            raise SetAsideError("it failed again and again, and was set aside") from error

    async def _take(self, signal: Signal, request: bytes) -> Accepted:
        decoded = self._pipeline.decode(signal, request)
        if decoded.ours and self.writer.full:
            raise OverloadedError("the store is behind", retry_after=_BEHIND_SECONDS)
        if decoded == NOTHING:
            return Accepted()
        kind, kept = payload(signal, request, decoded)
        position = await self.journal.append(kind, kept)
        failed = self._pipeline.apply(decoded, position)
        self._reached.record(position, position + RECORD_HEAD + len(kept))
        if failed:
            await self._aside.keep(signal, request)
            return Accepted(decoded.spans.rejected + failed, f"{failed} legs failed here, and were set aside")
        return Accepted(decoded.spans.rejected, decoded.spans.reason)

    def put(self, item: PairRecord | Content, position: int) -> None:
        """Store an item that was made from the record at ``position`` or later ones."""
        self.writer.put(item, position)

    def unstored(self) -> Iterator[PairRecord]:
        """Return the pairs that have ended and are not stored yet."""
        return self.writer.pairs()

    async def checkpoint(self) -> None:
        """
        Save what was counted, and let go of what is not needed any more.

        Raises:
            StoreError: it was not saved; the one before still holds.
        """
        store, journal = self._store, self._journal
        if store is None or journal is None:
            return
        snapshot, sampling = self._reached.snapshot(self._pipeline.state()), self._pipeline.sampling()
        needed = [one for one in (self._pipeline.oldest(), self.writer.oldest()) if one is not None]
        position = min([*needed, self._reached.behind])
        state = await asyncio.to_thread(to_bytes, snapshot)
        now_ns = self._wall_ns()
        save = partial(store.save_checkpoint, state, number=snapshot.number, position=position, now_ns=now_ns)
        await self.writer.call(partial(save, sampling=sampling))
        await journal.truncate(position)
        await self.writer.call(partial(store.heartbeat, now_ns=now_ns, watermark_ns=self.watermark(now_ns)))

    def watermark(self, now_ns: int) -> int:
        """
        Return before which moment of dispatch nothing will be stored any more, wall clock.

        It is as long ago as spans may take and legs may wait, and no later than anything that waits. What a sender held
        back for longer, and brings one day, is late.
        """
        settled = now_ns - int((self._settings.window + self._settings.settle) * 1e9)
        waiting = (self._pipeline.earliest(), self.writer.earliest())
        return min([settled, *(one for one in waiting if one is not None)])

    async def fold(self) -> None:
        """
        Compare captured texts and add to the ledgers what is behind the watermark.

        Raises:
            StoreError: the rest was not; it is the next time.
        """
        if self._folds is not None:
            await self._folds.fold(self.watermark(self._wall_ns()))

    async def sweep(self) -> None:
        """
        Delete what the store does not keep any longer, a little between two batches each.

        Raises:
            StoreError: the rest was not deleted.
        """
        more = True
        while more and self._store is not None:
            swept = await self.writer.call(partial(self._store.sweep, self._wall_ns()))
            more = swept.more

    async def drain(self, seconds: float) -> None:
        """Store what has ended within so many seconds, and save a checkpoint; what waits stays in the journal."""
        if self._writer is None or self._store is None:
            return
        deadline = asyncio.get_running_loop().time() + seconds
        if await self._writer.drain(seconds):
            await self.checkpoint()
            try:
                await asyncio.wait_for(self.fold(), deadline - asyncio.get_running_loop().time())
            except (TimeoutError, StoreError) as error:
                # Nothing is lost: whoever reads the ledgers adds what is in none.
                if isinstance(error, StoreError):
                    self._faults.report("fold", error)
            if not self._pipeline.waiting:
                await self._writer.call(partial(self._store.heartbeat, now_ns=self._wall_ns(), watermark_ns=None))

    async def close(self) -> None:
        """Let go of everything as it stands; safe to call twice, and before ``open``."""
        writer, self._writer = self._writer, None
        journal, self._journal = self._journal, None
        self._store = self._folds = None
        if writer is not None:
            await writer.close()
        if journal is not None:
            await journal.close()

    def _watched(self, watched: Sequence[Watched]) -> None:
        self._pipeline.watched(watched)
        self._judging.watched(watched)

    def _stored(self, stored: Stored) -> None:
        self._pipeline.stored(stored.records, stored.added)
        self._reached.number = stored.number
