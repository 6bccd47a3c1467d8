"""
What makes a request safe before it is acknowledged, and a pair count once: the journal, the store, and the way back.

A request is decoded, appended to the journal, taken in by the pipeline and acknowledged, in that order. Pairs that have
ended are stored, and counted when the store says that they are new. From time to time a checkpoint of what was counted
is saved beside the rows it counts, and the journal is cut off behind it. So after a crash, at whatever point:

- rows behind the checkpoint were stored and not counted: they are counted from the store, as is what texts showed;
- records behind it were acknowledged and not counted: they are taken in again from the journal;
- records before it whose legs still waited, or whose pair was not stored, are read again, and not counted again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from struct import Struct
from typing import TypeVar

from shadowmesh.errors import DecodeError, OverloadedError, SetAsideError, StartError, StoreError
from shadowmesh.names import (
    METRIC_JOURNAL_SIZE,
    METRIC_RECEIVER_SET_ASIDE,
    METRIC_STORE_REFUSED,
    METRIC_STORE_WAITING,
)
from shadowmesh.processor.aside import Aside
from shadowmesh.processor.checkpoint import Snapshot, from_bytes, to_bytes
from shadowmesh.processor.folds import Folds
from shadowmesh.processor.intake import Accepted, Signal
from shadowmesh.processor.journal import Journal
from shadowmesh.processor.journal_format import RECORD_HEAD, Kind, Record
from shadowmesh.processor.judging import Judging
from shadowmesh.processor.pipeline import NOTHING, Decoded, Pipeline
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.processor.writer import Stored, Writer
from shadowmesh.store.records import Checkpoint, Content, PairRecord
from shadowmesh.store.store import Store
from shadowmesh.store.watches import Watched
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.status_shape import Fill, Storage

_KINDS = {Signal.TRACES: Kind.TRACES, Signal.METRICS: Kind.METRICS, Signal.LOGS: Kind.LOGS}
_SIGNALS = {int(kind): signal for signal, kind in _KINDS.items()}
_COUNTS = Struct("<II")
_BEHIND_SECONDS = 1.0
_ROWS_AT_ONCE = 500
_RECORDS_AT_ONCE = 16

Item = TypeVar("Item")


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
        self._number = 0
        self._applied = -1
        # Where a replay may begin must be where a record does: from within one it would see damage.
        self._behind = 0

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
            METRIC_RECEIVER_SET_ASIDE: self._aside.requests,
        }

    def status(self) -> Storage | None:
        """Return the state of journal and store, once they are open."""
        if self._journal is None or self._writer is None:
            return None
        return Storage(
            journal=Fill(used=self._journal.size, cap=self._settings.journal_settings.max_bytes),
            store=self.place,
            waiting=self._writer.waiting,
            refused=self._writer.refused,
            failing=self._writer.failing,
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
        settings = self._settings.journal_settings
        # The journal first: its lock says that no other process has this name.
        try:
            await asyncio.to_thread(settings.path.mkdir, mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"processor.journal.directory: {settings.path} cannot be used: {error}") from error
        journal = Journal(settings, faults=self._faults, wall_ns=self._wall_ns)
        try:
            store = await asyncio.to_thread(
                partial(
                    Store.open,
                    self._settings.store_settings,
                    name=self._name,
                    instance=self._instance,
                    now_ns=self._wall_ns(),
                )
            )
        except BaseException:
            await journal.close()
            raise
        self._store = store
        self._writer = Writer(store, self._stored, faults=self._faults, wall_ns=self._wall_ns)
        checkpoint = await self._writer.call(store.checkpoint)
        if checkpoint is not None and checkpoint.position > journal.end:
            # The directory was lost; a position must never come again.
            await journal.close()
            journal = Journal(settings, faults=self._faults, wall_ns=self._wall_ns, after=checkpoint.position)
        self._journal = journal
        await self._recover(store, checkpoint)
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
        kind, kept = _KINDS[signal], request
        if not decoded.ours:
            # Somebody else's spans are most of what a Collector has; of them only the number is kept.
            kind, kept = Kind.COUNTS, _COUNTS.pack(decoded.spans.ignored, decoded.spans.rejected)
        elif self.writer.full:
            raise OverloadedError("the store is behind", retry_after=_BEHIND_SECONDS)
        if decoded == NOTHING:
            return Accepted()
        position = await self.journal.append(kind, kept)
        failed = self._pipeline.apply(decoded, position)
        self._applied = max(self._applied, position)
        self._behind = max(self._behind, position + RECORD_HEAD + len(kept))
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
        snapshot = Snapshot(self._number, self._applied, self._pipeline.state())
        needed = [one for one in (self._pipeline.oldest(), self.writer.oldest()) if one is not None]
        position = min([*needed, self._behind])
        state = await asyncio.to_thread(to_bytes, snapshot)
        now_ns = self._wall_ns()
        save = partial(store.save_checkpoint, state, number=snapshot.number, position=position, now_ns=now_ns)
        await self.writer.call(save)
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
        self._number = stored.number

    async def _recover(self, store: Store, checkpoint: Checkpoint | None) -> None:
        snapshot = self._restored(store, checkpoint)
        self._number, self._applied = snapshot.number, snapshot.applied
        self._behind = 0 if checkpoint is None else checkpoint.position
        rows = store.rows_after(snapshot.number)
        while batch := await self.writer.call(partial(_some, rows, _ROWS_AT_ONCE)):
            for row in batch:
                self._pipeline.count(row.record, row.stored_ns)
                self._number = row.number
        texts = store.compared_after(self._pipeline.texts_ns)
        while compared := await self.writer.call(partial(_some, texts, _ROWS_AT_ONCE)):
            self._pipeline.texts(compared)
        self.writer.start()
        records = self.journal.replay(self._behind)
        while some := await asyncio.to_thread(_some, records, _RECORDS_AT_ONCE):
            await self.writer.room()
            for record in some:
                await self._apply_again(record, counted=record.position > snapshot.applied)
                self._applied = max(self._applied, record.position)
                self._behind = max(self._behind, record.end)

    async def _apply_again(self, record: Record, *, counted: bool) -> None:
        try:
            failed = self._pipeline.apply(self._decoded(record), record.position, counted=counted)
        except DecodeError as error:
            self._faults.report("replay", error)
            return
        except Exception as error:  # noqa: BLE001 - the one boundary: a start that fails would fail for ever
            self._faults.report("replay", error)
            failed = 1
        signal = _SIGNALS.get(record.kind)
        if failed and signal is not None:
            await self._aside.keep(signal, record.payload)

    def _decoded(self, record: Record) -> Decoded:
        if record.kind == Kind.COUNTS:
            if len(record.payload) != _COUNTS.size:
                raise DecodeError("counts of another form")
            ignored, rejected = _COUNTS.unpack(record.payload)
            return NOTHING._replace(spans=NOTHING.spans._replace(ignored=ignored, rejected=rejected))
        signal = _SIGNALS.get(record.kind)
        if signal is None:
            raise DecodeError("a record of a later version")
        return self._pipeline.decode(signal, record.payload)

    def _restored(self, store: Store, checkpoint: Checkpoint | None) -> Snapshot:
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
            return Snapshot(store.number, checkpoint.position - 1, {})
        return snapshot


def _some(items: Iterator[Item], many: int) -> list[Item]:
    return list(islice(items, many))
