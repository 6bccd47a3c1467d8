"""
The store of one processor: what it adds, how far it has come, and what it needs to go on after a crash.

A processor is known by a name that outlives its process. ``add`` stores rows and how far they are numbered in one
transaction, so after a crash the rows beyond a checkpoint's number are exactly those that its metrics lack.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from sqlalchemy import ColumnElement, Connection, func, select, update

from shadowmesh.compare.similarity import Similarity
from shadowmesh.errors import StoreError
from shadowmesh.store import late_texts, samplings, schema
from shadowmesh.store.alerts import AlertBook
from shadowmesh.store.database import Database
from shadowmesh.store.folding import Folding
from shadowmesh.store.late_texts import TextKey
from shadowmesh.store.reader import Reader
from shadowmesh.store.records import Added, Checkpoint, ComparedPair, Content, PairRecord, Sampling, StoredPair
from shadowmesh.store.retention import Retention, Swept
from shadowmesh.store.rows import key_text, plain_text
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.tables import CHECKPOINTS, CONTENT, NUMBER_BITS, PROCESSORS
from shadowmesh.store.texts import compare_missing, compared_after
from shadowmesh.store.writer import PairWriter
from shadowmesh.telemetry.faults import Faults

_MOST_WRITERS = 1 << 63 - NUMBER_BITS
# What a row of captured text takes beside the text.
_CONTENT_OVERHEAD = 200


class Store:
    """
    An open store. All methods block, and are called by one thread at a time.

    Attributes:
        reader: reads the same store; it may be used by other threads meanwhile.
        folding: makes ledgers of what this processor has stored.
        alerts: what somebody is to be told of verdicts.
        late_texts: captured texts that came when their pair had been folded, since this store was opened.
    """

    def __init__(self, database: Database, settings: StoreSettings, *, writer: int, number: int) -> None:
        self.reader = Reader(database)
        self._database = database
        self._writer = writer
        self._pairs = PairWriter(database, writer, number)
        self.folding = Folding(database, writer)
        self.alerts = AlertBook(database, writer)
        self.late_texts = 0
        self._retention = Retention(database, settings.retention)

    @classmethod
    def open(cls, settings: StoreSettings, *, name: str, instance: str, now_ns: int) -> Self:
        """
        Open a store, or make one, and bring its tables to this version.

        Args:
            name: of the processor, the same after a restart; no other process may use it meanwhile.
            instance: ``service.instance.id`` of this process, for people.

        Raises:
            StoreError: it cannot be opened, or a newer ShadowMesh has made it.
        """
        database = Database(settings.location, create=True)
        try:
            schema.upgrade(database)
            writer, number = _register(database, name=name, instance=instance, now_ns=now_ns)
        except BaseException:
            database.close()
            raise
        return cls(database, settings, writer=writer, number=number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; more than once does nothing."""
        self._database.close()

    @property
    def place(self) -> str:
        """The store's URL without secrets."""
        return self._database.place

    @property
    def number(self) -> int:
        """The number of the last row of this processor that a caller of :meth:`add` was told of."""
        return self._pairs.number

    def add(self, records: Sequence[PairRecord], *, now_ns: int) -> Added:
        """
        Store the records whose pair is not stored yet; see :meth:`PairWriter.add`.

        Raises:
            StoreError: nothing of it is stored; if it is retryable, call again with the same records.
        """
        return self._pairs.add(records, now_ns=now_ns)

    def rows_after(self, number: int) -> Iterator[StoredPair]:
        """Return the rows of this processor beyond a number, in the order they were stored in."""
        return self.reader.stored_by(self._writer, after=number)

    def compare_texts(
        self,
        wanted: Sequence[ColumnElement[bool]],
        similarity: Similarity,
        *,
        faults: Faults,
        wall_ns: Callable[[], int],
    ) -> Iterator[list[ComparedPair]]:
        """
        Compare the captured texts of pairs, in steps; see :func:`~shadowmesh.store.texts.compare_missing`.

        Raises:
            StoreError: steps before are done.
        """
        return compare_missing(self._database, wanted, similarity=similarity, faults=faults, wall_ns=wall_ns)

    def compared_after(self, moment_ns: int) -> Iterator[ComparedPair]:
        """Return the pairs of this processor whose texts were compared and stored after a moment, in that order."""
        return compared_after(self._database, self._writer, after_ns=moment_ns)

    def add_content(self, contents: Sequence[Content], *, now_ns: int) -> int:
        """
        Store captured text that is not there yet; return how many were not.

        Raises:
            StoreError: nothing of it is stored.
        """
        if not contents:
            return 0
        once = self._database.backend.insert(CONTENT).on_conflict_do_nothing(
            index_elements=["pair_id", "role", "target", "experiment"]
        )
        rows = [_content_row(content, now_ns) for content in contents]
        with self._database.writing() as connection:
            returned = connection.execute(once.returning(*(CONTENT.c[name] for name in TextKey._fields)), rows)
            stored = [TextKey(*row) for row in returned]
            late = late_texts.count(connection, stored)
        self.late_texts += late
        return len(stored)

    def save_checkpoint(
        self, state: bytes, *, number: int, position: int, now_ns: int, sampling: Sequence[Sampling] = ()
    ) -> None:
        """
        Replace the checkpoint, and with it make everything that was stored before survive a power cut.

        Args:
            state: what was counted, as the processor will read it again.
            number: of the last row that is in it.
            position: of the journal, before which nothing is needed any more.
            sampling: how calls were drawn, as ``state`` has it.
        """
        columns = {"number": number, "position": position, "state": state, "saved_ns": now_ns}
        insert = self._database.backend.insert(CHECKPOINTS).values(writer=self._writer, **columns)
        with self._database.writing(durable=True) as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=["writer"], set_=columns))
            samplings.replace(connection, self._writer, sampling)

    def checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint of this processor, if there ever was one."""
        columns = CHECKPOINTS.c
        wanted = select(columns.number, columns.position, columns.state).where(columns.writer == self._writer)
        with self._database.reading() as connection:
            row = connection.execute(wanted).first()
        return None if row is None else Checkpoint(row.number, row.position, bytes(row.state))

    def heartbeat(self, *, now_ns: int, watermark_ns: int | None) -> None:
        """
        Say that this processor lives.

        Args:
            watermark_ns: it will store nothing any more that was dispatched before; ``None`` if nothing at all, which
                is the last thing a processor says.
        """
        seen = update(PROCESSORS).where(PROCESSORS.c.id == self._writer)
        with self._database.writing() as connection:
            connection.execute(seen.values(last_seen_ns=now_ns, watermark_ns=watermark_ns))

    def sweep(self, now_ns: int) -> Swept:
        """Delete some of what is not kept any longer; see :meth:`Retention.sweep`."""
        return self._retention.sweep(now_ns)


def _register(database: Database, *, name: str, instance: str, now_ns: int) -> tuple[int, int]:
    """Return the id of a processor and the number of its last row."""
    columns = PROCESSORS.c
    # What it promised before a crash still holds; of one that is new, or had ended, nothing is known yet.
    life = {"instance": instance, "started_ns": now_ns, "last_seen_ns": now_ns}
    insert = database.backend.insert(PROCESSORS).values(name=name, number=0, watermark_ns=0, **life)
    again = insert.on_conflict_do_update(
        index_elements=["name"], set_={**life, "watermark_ns": func.coalesce(columns.watermark_ns, 0)}
    )
    with database.writing() as connection:
        connection.execute(again)
        writer, number = _known(connection, name)
    if writer >= _MOST_WRITERS:
        raise StoreError(f"{database.place}: more processors than can be told apart; give them names that stay")
    return writer, number


def _known(connection: Connection, name: str) -> tuple[int, int]:
    row = connection.execute(select(PROCESSORS.c.id, PROCESSORS.c.number).where(PROCESSORS.c.name == name)).one()
    return row.id, row.number


def _content_row(content: Content, now_ns: int) -> dict[str, object]:
    texts = {
        name: None if text is None else plain_text(text)
        for name, text in (
            ("instructions", content.instructions),
            ("input", content.input),
            ("output", content.output),
        )
    }
    size = sum(len(text.encode()) for text in texts.values() if text is not None)
    return {
        "experiment": key_text(content.experiment),
        "pair_id": key_text(content.pair_id),
        "role": str(content.role),
        "target": key_text(content.target),
        **texts,
        "truncated": json.dumps(content.truncated) if content.truncated else None,
        "bytes": _CONTENT_OVERHEAD + size,
        "stored_ns": now_ns,
    }
