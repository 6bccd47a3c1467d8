"""
The rows of one processor that are not in its ledgers yet, and each exactly once.

How far it has folded are two numbers, not one: rows are numbered as they are stored, and folded as they were
dispatched. Of a number and a moment everything is folded that has no greater number and was dispatched before. So what
a step to a later number and a later moment adds are two rectangles: of the new numbers what was dispatched before the
new moment, and of the old numbers what was dispatched between the two. The first holds what comes late, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, func, select, tuple_

from shadowmesh.store.columns import Batch, TraitsSaid, batches, rows_to_fold
from shadowmesh.store.tables import NUMBER_BITS, PAIRS

_PAGE = 2000
_pairs = PAIRS.c
_target = (_pairs.experiment, _pairs.target)
ALL_NUMBERS = (1 << NUMBER_BITS) - 1


class Extent(NamedTuple):
    """Rows up to a number, this one too, that were dispatched before a moment."""

    number: int
    watermark_ns: int


NOTHING_FOLDED = Extent(0, 0)


class Page(NamedTuple):
    """Some of the rows; ``late`` are those of them that were stored after others of their time had been folded."""

    batches: list[Batch]
    late: int


class _Place(NamedTuple):
    """Up to where rows were read in order of dispatch."""

    dispatched_ns: int
    id: int


class Unfolded:
    """
    Finds them, in pages, each in a short transaction of its own.

    Args:
        reading: begins a transaction to read in, see :meth:`Database.reading`.
    """

    def __init__(self, reading: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._reading = reading
        self._traits = TraitsSaid()

    def pages(self, writer: int, since: Extent, until: Extent, *, of: tuple[str, str] | None = None) -> Iterator[Page]:
        """
        Return what is in ``until`` and not in ``since``, which is nowhere greater.

        Args:
            writer: the processor's id.
            of: an experiment and a target, whose rows are wanted; ``None``: all.

        Raises:
            StoreError: the database failed.
        """
        yield from self._old_numbers(writer, since, until, of)
        yield from self._new_numbers(writer, since, until, of)

    def _old_numbers(self, writer: int, since: Extent, until: Extent, of: tuple[str, str] | None) -> Iterator[Page]:
        if since.number == 0 or since.watermark_ns >= until.watermark_ns:
            return
        rows = rows_to_fold().where(*_old(writer, since, until)).order_by(_pairs.dispatched_ns, _pairs.id)
        # Target by target, because that is what the index begins with.
        for target in self._targets() if of is None else [of]:
            of_target = after = rows.where(*_is(target))
            while found := self._page(after):
                place, page = found
                yield page
                after = of_target.where(tuple_(_pairs.dispatched_ns, _pairs.id) > tuple_(*place))

    def _new_numbers(self, writer: int, since: Extent, until: Extent, of: tuple[str, str] | None) -> Iterator[Page]:
        rows = rows_to_fold().where(*_before(writer, until)).order_by(_pairs.id)
        if of is not None:
            rows = rows.where(*_is(of))
        last = _id(writer, since.number)
        while found := self._page(rows.where(_pairs.id > last), late_before=since.watermark_ns):
            (_, last), page = found
            yield page

    def _page(self, rows: Select[Any], *, late_before: int = 0) -> tuple[_Place, Page] | None:
        with self._reading() as connection:
            found = connection.execute(rows.limit(_PAGE)).all()
            if not found:
                return None
            some = list(batches(connection, found, self._traits))
        page = Page(some, sum(int((each.columns.dispatched_ns < late_before).sum()) for each in some))
        return _Place(found[-1].dispatched_ns, found[-1].id), page

    def conditions(self, writer: int, since: Extent, until: Extent) -> list[ColumnElement[bool]]:
        """
        Return what holds for all of these rows, and for few others.

        Raises:
            StoreError: the database failed.
        """
        first = _id(writer, since.number) + 1
        if since.number and since.watermark_ns < until.watermark_ns:
            earliest = select(func.min(_pairs.id)).where(*_old(writer, since, until))
            for target in self._targets():
                with self._reading() as connection:
                    first = min(first, connection.execute(earliest.where(*_is(target))).scalar() or first)
        return [_pairs.id >= first, *_before(writer, until)]

    def _targets(self) -> Iterator[tuple[str, str]]:
        """Return every experiment and target, by one look into the index each."""
        last = ("", "")
        following = select(*_target).order_by(*_target).limit(1)
        while True:
            with self._reading() as connection:
                # The first may have no name at all.
                beyond = tuple_(*_target) > tuple_(*last) if any(last) else None
                row = connection.execute(following if beyond is None else following.where(beyond)).first()
            if row is None or tuple(row) == last:
                return
            last = (row.experiment, row.target)
            yield last


def _before(writer: int, until: Extent) -> list[ColumnElement[bool]]:
    return [_pairs.id <= _id(writer, until.number), _pairs.dispatched_ns < until.watermark_ns]


def _old(writer: int, since: Extent, until: Extent) -> list[ColumnElement[bool]]:
    numbered = [_pairs.id > _id(writer, 0), _pairs.id <= _id(writer, since.number)]
    return [*numbered, _pairs.dispatched_ns >= since.watermark_ns, _pairs.dispatched_ns < until.watermark_ns]


def _is(target: tuple[str, str]) -> list[ColumnElement[bool]]:
    return [column == name for column, name in zip(_target, target, strict=True)]


def _id(writer: int, number: int) -> int:
    return writer << NUMBER_BITS | number
