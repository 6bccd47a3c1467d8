"""
Reading pairs: a page at a time, each in a short transaction of its own.

A long transaction would see one state for minutes and keep SQLite from giving room in its log back. So a pair that is
stored while somebody reads is in what he gets or is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Select, func, select

from shadowmesh.compare.texts import TextComparison
from shadowmesh.errors import StoreError
from shadowmesh.store import schema
from shadowmesh.store.database import Database
from shadowmesh.store.records import Content, StoredPair
from shadowmesh.store.rows import WRITTEN, from_row, key_text
from shadowmesh.store.tables import CONTENT, NUMBER_BITS, PAIRS, TRAITS
from shadowmesh.store.texts import TextsKey, texts_of
from shadowmesh.store.traits import LegFacts, from_facts

_PAGE = 1000
_MOST_KNOWN = 20_000
_COLUMNS = tuple(PAIRS.c[name] for name in WRITTEN)
_CONTENT_COLUMNS = tuple(CONTENT.c[field.name] for field in fields(Content))
_TRAITS_AT = (WRITTEN.index("live_traits"), WRITTEN.index("shadow_traits"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFilter:
    """Which pairs; ``None`` is any. ``since_ns`` is the first moment of dispatch that counts, ``until_ns`` the end."""

    experiment: str | None = None
    target: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    outcome: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what holds for the rows that pass."""
        columns, conditions = PAIRS.c, []
        for column, value in (
            (columns.experiment, self.experiment and key_text(self.experiment)),
            (columns.target, self.target and key_text(self.target)),
            (columns.outcome, self.outcome),
        ):
            if value is not None:
                conditions.append(column == value)
        if self.since_ns is not None:
            conditions.append(columns.dispatched_ns >= self.since_ns)
        if self.until_ns is not None:
            conditions.append(columns.dispatched_ns < self.until_ns)
        return conditions


class Reader:
    """
    Reads a store, beside whoever writes it.

    The iterators may be used by one thread each; what they have not read yet costs nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._traits: dict[int, LegFacts] = {}

    @classmethod
    def open(cls, url: str) -> Self:
        """
        Open a store that is there.

        Raises:
            StoreError: it is not, or its schema is not of this version.
        """
        database = Database(url, create=False)
        try:
            schema.require_current(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    @property
    def place(self) -> str:
        """The store's URL without secrets."""
        return self._database.place

    def reading(self) -> AbstractContextManager[Connection]:
        """See one state of the database inside; see :meth:`Database.reading`."""
        return self._database.reading()

    def pairs(self, wanted: PairFilter) -> Iterator[StoredPair]:
        """Return the pairs that pass, in the order they were stored in by each processor."""
        return (stored for page in self.pages(wanted) for stored in page)

    def pages(self, wanted: PairFilter) -> Iterator[list[StoredPair]]:
        """Return the same, some at a time."""
        passing = select(*_COLUMNS).where(*wanted.conditions()).order_by(PAIRS.c.id)
        last = 0
        while page := self._page(passing.where(PAIRS.c.id > last)):
            yield page
            last = page[-1].id

    def by_id(self, ids: Iterable[int]) -> list[StoredPair]:
        """Return the pairs with these ids (a page or so) that are there."""
        return self._page(select(*_COLUMNS).where(PAIRS.c.id.in_(list(ids))))

    def stored_by(self, writer: int, *, after: int) -> Iterator[StoredPair]:
        """Return the rows of one processor beyond a number, in the order of their numbers."""
        first, end = writer << NUMBER_BITS | after, writer + 1 << NUMBER_BITS
        rows = select(*_COLUMNS).where(PAIRS.c.id < end).order_by(PAIRS.c.id)
        while page := self._page(rows.where(PAIRS.c.id > first)):
            yield from page
            first = page[-1].id

    def outcomes(self) -> dict[tuple[str, str, str], int]:
        """Return how many pairs there are, by experiment, target and outcome."""
        by = (PAIRS.c.experiment, PAIRS.c.target, PAIRS.c.outcome)
        with self._database.reading() as connection:
            counted = connection.execute(select(*by, func.count()).group_by(*by))
            return {(experiment, target, outcome): count for experiment, target, outcome, count in counted}

    def splits(self) -> int:
        """Return how many pairs are known to have their other half at another processor."""
        with self._database.reading() as connection:
            return connection.execute(select(func.count()).where(PAIRS.c.split)).scalar_one()

    def content(self, pairs: Iterable[StoredPair]) -> dict[tuple[str, str, str, str], Content]:
        """Return what was captured of them (a page or so), by experiment, pair id, role and target."""
        ids = {stored.record.pair.pair_id for stored in pairs}
        if not ids:
            return {}
        with self._database.reading() as connection:
            rows = connection.execute(select(*_CONTENT_COLUMNS).where(CONTENT.c.pair_id.in_(ids))).mappings().all()
        found = [
            Content(**{**row, "truncated": tuple(json.loads(row["truncated"])) if row["truncated"] else ()})
            for row in rows
        ]
        return {(each.experiment, each.pair_id, each.role, each.target): each for each in found}

    def texts(self, pairs: Iterable[StoredPair]) -> dict[TextsKey, TextComparison]:
        """Return what their captured texts showed (of a page or so), where these were compared."""
        with self._database.reading() as connection:
            return texts_of(connection, {stored.record.pair.pair_id for stored in pairs})

    def _page(self, rows: Select[Any]) -> list[StoredPair]:
        with self._database.reading() as connection:
            page = connection.execute(rows.limit(_PAGE)).all()
            self._learn(connection, {row[at] for row in page for at in _TRAITS_AT} - {None})
        try:
            return [from_row(row, self._traits) for row in page]
        except KeyError as error:
            raise StoreError(f"{self._database.place}: damaged, rows name traits that are not there") from error

    def _learn(self, connection: Connection, named: Sequence[int] | set[int]) -> None:
        if len(self._traits) > _MOST_KNOWN:
            self._traits.clear()
        unknown = [id_ for id_ in named if id_ not in self._traits]
        if unknown:
            rows = connection.execute(select(TRAITS.c.id, TRAITS.c.facts).where(TRAITS.c.id.in_(unknown)))
            self._traits.update((id_, from_facts(facts)) for id_, facts in rows)
