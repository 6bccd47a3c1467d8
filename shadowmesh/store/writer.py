"""Adding pairs: insert or nothing, and the answer to which of them are new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, select, tuple_, update

from shadowmesh.errors import StoreError
from shadowmesh.names import Outcome
from shadowmesh.store.database import Database
from shadowmesh.store.records import Added, PairRecord
from shadowmesh.store.rows import WRITTEN, Row, to_rows
from shadowmesh.store.tables import NUMBER_BITS, PAIRS, PROCESSORS, TRAITS
from shadowmesh.store.traits import TraitsBook

_KEY = ("experiment", "target", "pair_id")
_key_columns = tuple(PAIRS.c[name] for name in _KEY)
_KEY_AT = slice(WRITTEN.index(_KEY[0]), WRITTEN.index(_KEY[0]) + len(_KEY))
_OUTCOME_AT = WRITTEN.index("outcome")
_KEYS_AT_ONCE = 500
_OTHER_HALF = {Outcome.LIVE_ONLY: Outcome.SHADOW_ONLY, Outcome.SHADOW_ONLY: Outcome.LIVE_ONLY}

Key = tuple[str, str, str]


class PairWriter:
    """
    Numbers and stores the pairs of one processor.

    Args:
        writer: the processor's id.
        number: of the last row it stored.
    """

    def __init__(self, database: Database, writer: int, number: int) -> None:
        self.number = number
        """Of the last row whose caller was told of it."""
        self._database = database
        self._writer = writer
        self._traits = TraitsBook()
        # After an error nobody knows whether the last transaction is there.
        self._unsure = False

    def add(self, records: Sequence[PairRecord], *, now_ns: int) -> Added:
        """
        Store the records whose pair is not stored yet, all in one transaction.

        After a retryable error, call it again with the same records: those that were stored after all, by a commit
        whose confirmation was lost, are told as new then.

        Raises:
            StoreError: see :meth:`Database.writing`; or another process stores under the same name.
        """
        if not records:
            return Added([])
        told = self.number
        live_traits = self._traits.ids(record.pair.live for record in records)
        shadow_traits = self._traits.ids(record.pair.shadow for record in records)
        untold = self._traits.untold((*live_traits, *shadow_traits), now_ns)
        sure, self._unsure = not self._unsure, True
        with self._database.writing() as connection:
            start = self._stored_number(connection)
            if sure and start != told:
                # And so it stays until this process starts anew. Whoever asked is to keep what he has for that.
                self._unsure = False
                raise StoreError(
                    f"{self._database.place}: another process stores under this processor's name", retryable=True
                )
            if start + len(records) >> NUMBER_BITS:
                raise StoreError(f"{self._database.place}: this processor has no more numbers for its rows")
            self._tell(connection, untold, now_ns)
            traits = (live_traits, shadow_traits)
            rows = to_rows(records, traits, first_id=self._id(start + 1), now_ns=now_ns)
            inserted = self._database.backend.insert_pairs(connection, rows)
            if inserted:
                end = update(PROCESSORS).where(PROCESSORS.c.id == self._writer).values(number=start + len(rows))
                connection.execute(end)
            if inserted == len(rows):
                added = Added([True] * len(rows))
            else:
                new = self._new(connection, rows, told, start)
                added = Added(new, self._mark_split(connection, rows, new))
        self._unsure = False
        self.number = start + len(rows) if inserted else start
        self._traits.told((id_ for id_, _ in untold), now_ns)
        return added

    def _id(self, number: int) -> int:
        return self._writer << NUMBER_BITS | number

    def _stored_number(self, connection: Connection) -> int:
        number = select(PROCESSORS.c.number).where(PROCESSORS.c.id == self._writer)
        return int(connection.execute(number).scalar_one())

    def _tell(self, connection: Connection, untold: Sequence[tuple[int, str]], now_ns: int) -> None:
        if not untold:
            return
        insert = self._database.backend.insert(TRAITS)
        connection.execute(
            insert.on_conflict_do_update(index_elements=["id"], set_={"seen_ns": insert.excluded.seen_ns}),
            [{"id": id_, "facts": facts, "seen_ns": now_ns} for id_, facts in untold],
        )

    def _new(self, connection: Connection, rows: Sequence[Row], told: int, start: int) -> list[bool]:
        """Return which rows are there under a number that nobody was told of."""
        new = [False] * len(rows)
        stored = select(PAIRS.c.id).where(PAIRS.c.id.between(rows[0][0], rows[-1][0]))
        for (id_,) in connection.execute(stored):
            new[id_ - rows[0][0]] = True
        if start > told:
            unheard = select(*_key_columns).where(PAIRS.c.id.between(self._id(told + 1), self._id(start)))
            keys = {tuple(key) for key in connection.execute(unheard)}
            for at, row in enumerate(rows):
                if row[_KEY_AT] in keys:
                    keys.discard(row[_KEY_AT])
                    new[at] = True
        return new

    def _mark_split(self, connection: Connection, rows: Sequence[Row], new: Sequence[bool]) -> list[int]:
        """
        Mark the stored pairs whose missing half another processor had, and now we bring; return where in ``rows``.

        That happens when the legs of one exchange went to two processors, which a Collector that routes by trace does
        while one of them comes or goes.
        """
        halves: dict[Key, int] = {
            row[_KEY_AT]: at for at, row in enumerate(rows) if not new[at] and row[_OUTCOME_AT] in _OTHER_HALF
        }
        split = []
        for keys in _chunks(halves, _KEYS_AT_ONCE):
            stored = select(PAIRS.c.id, PAIRS.c.outcome, *_key_columns).where(tuple_(*_key_columns).in_(keys))
            for id_, outcome, *key in sorted(connection.execute(stored), key=lambda row: row.id):
                at = halves[tuple(key)]
                if id_ >> NUMBER_BITS != self._writer and outcome == _OTHER_HALF[rows[at][_OUTCOME_AT]]:
                    mark = update(PAIRS).where(PAIRS.c.id == id_, PAIRS.c.split.is_(False)).values(split=True)
                    if connection.execute(mark).rowcount:
                        split.append(at)
        return split


def _chunks(items: dict[Key, Any], size: int) -> Iterator[list[Key]]:
    left = iter(items)
    while chunk := list(islice(left, size)):
        yield chunk
