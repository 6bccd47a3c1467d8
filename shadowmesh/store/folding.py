"""
Folding: a processor's rows into its ledgers, each exactly once.

Rows are read in pages, beside whoever writes, and added to the ledgers in memory. Then ledgers and how far they go are
written in one transaction: whatever ends a fold before that has done nothing. Rebuilding is the same from the start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, select

from shadowmesh.errors import StoreError
from shadowmesh.store import ledgers
from shadowmesh.store.database import Database
from shadowmesh.store.ledgers import Filling
from shadowmesh.store.tables import FOLDS
from shadowmesh.store.unfolded import NOTHING_FOLDED, Extent, Page, Unfolded
from shadowmesh.store.watches import Watched, Watches, Watching
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.records import EvidenceKey

_ROWS_AT_ONCE = 100_000


class Folded(NamedTuple):
    """
    What was folded: pairs, and those of them that were late; costs that were left out; whether there is ``more``; and
    what those who watch the candidates found in it.
    """

    pairs: int
    late: int
    mixed_currencies: int
    more: bool
    watched: tuple[Watched, ...] = ()


class Fold:
    """
    One step: some pages, and then the commit.

    Args:
        since: how far the processor had folded.
        until: how far it has then.
        last: whether it is the last step for now.
        watching: how candidates are watched; ``None``: not at all.
    """

    def __init__(
        self, folding: Folding, since: Extent, until: Extent, *, last: bool, watching: Watching | None = None
    ) -> None:
        self._folding = folding
        self._since = since
        self._until = until
        self._last = last
        self._pages: Iterator[Page] = folding.rows.pages(folding.writer, since, until)
        self._filling = Filling(folding.stored)
        self._watches = None if watching is None else Watches(folding.database, folding.writer, watching)
        self._pairs = self._late = 0

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what holds for the rows that it reads, and for few others; on the columns of ``pairs``."""
        return self._folding.rows.conditions(self._folding.writer, self._since, self._until)

    def read(self) -> bool:
        """
        Read and add one page; return whether there was one. In any thread, beside a writer.

        Raises:
            StoreError: the database failed; give this fold up, and begin another.
            LedgerError: a ledger that pairs belong to cannot be read.
        """
        page = next(self._pages, None)
        if page is None:
            if self._watches is not None:
                self._watches.settle(self._filling.strata())
            return False
        for batch in page.batches:
            self._filling.add(batch)
            if self._watches is not None:
                self._watches.add(batch)
            self._pairs += len(batch.columns)
        self._late += page.late
        return True

    def commit(self, *, now_ns: int) -> Folded:
        """
        Write the ledgers and how far they go, in one transaction.

        Raises:
            StoreError: nothing was written; or somebody else folds for this processor.
        """
        folding = self._folding
        if self._since != self._until:
            counts = {"late": self._late, "mixed_currencies": self._filling.mixed}
            with folding.database.writing() as connection:
                if folding.extent(connection) != self._since:
                    raise StoreError(f"{folding.database.place}: another process folds under this processor's name")
                ledgers.write(connection, folding.database.backend, folding.writer, self._filling, now_ns=now_ns)
                if self._watches is not None:
                    self._watches.write(connection, now_ns=now_ns)
                folding.advance(connection, self._until, counts, now_ns=now_ns)
        watched = () if self._watches is None else tuple(self._watches.found())
        return Folded(self._pairs, self._late, self._filling.mixed, more=not self._last, watched=watched)


class Folding:
    """Folds the rows of one processor."""

    def __init__(self, database: Database, writer: int) -> None:
        self.database = database
        self.writer = writer
        self.rows = Unfolded(database.reading)

    def begin(self, *, number: int, watermark_ns: int, watching: Watching | None = None) -> Fold:
        """
        Begin a step towards all rows up to ``number`` that were dispatched before ``watermark_ns``.

        It takes some rows at most, so begin again while there is more. Neither number nor moment ever go back.

        Raises:
            StoreError: the database failed.
        """
        with self.database.reading() as connection:
            since = self.extent(connection)
        number = max(number, since.number)
        until = Extent(min(number, since.number + _ROWS_AT_ONCE), max(watermark_ns, since.watermark_ns))
        return Fold(self, since, until, last=until.number == number, watching=watching)

    def restart(self) -> None:
        """
        Forget all ledgers of this processor, so that they are made anew from the rows that are still there.

        Raises:
            StoreError: nothing was forgotten.
        """
        with self.database.writing() as connection:
            ledgers.forget(connection, self.writer)
            connection.execute(delete(FOLDS).where(FOLDS.c.writer == self.writer))

    def stored(self, key: EvidenceKey) -> dict[str, Ledger]:
        """Return the ledgers of this processor about a key."""
        with self.database.reading() as connection:
            stored = ledgers.of_key(connection, key, writer=self.writer)
        return ledgers.decoded(stored)

    def extent(self, connection: Connection) -> Extent:
        """Return how far this processor has folded."""
        return extents(connection).get(self.writer, NOTHING_FOLDED)

    def advance(self, connection: Connection, until: Extent, counts: Mapping[str, int], *, now_ns: int) -> None:
        """Note how far it has, and add to what is counted of folding."""
        row = {"number": until.number, "watermark_ns": until.watermark_ns, "folded_ns": now_ns}
        insert = self.database.backend.insert(FOLDS).values(writer=self.writer, **row, **counts)
        grown = {name: FOLDS.c[name] + count for name, count in counts.items()}
        connection.execute(insert.on_conflict_do_update(index_elements=["writer"], set_={**row, **grown}))


def extents(connection: Connection) -> dict[int, Extent]:
    """Return how far each processor has folded, by its id."""
    columns = FOLDS.c
    rows = connection.execute(select(columns.writer, columns.number, columns.watermark_ns))
    return {writer: Extent(number, watermark_ns) for writer, number, watermark_ns in rows}
