"""
Forgetting, a little at a time: the oldest rows beyond the age or the amount that is kept.

It is done on the writing connection, between two batches of new pairs, so each step is small enough to be waited for.
What has to go is measured once and then done in as many steps as it takes: counting reads a whole index.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select, tuple_

from shadowmesh.store.database import Database
from shadowmesh.store.settings import KeepSettings, RetentionSettings
from shadowmesh.store.tables import (
    ALERTS,
    ANSWERS,
    CHECKPOINTS,
    CONTENT,
    FOLDS,
    LEDGERS,
    NUMBER_BITS,
    PAIRS,
    PROCESSORS,
    SAMPLINGS,
    TEXTS,
    TRAITS,
    WATCHES,
)
from shadowmesh.store.traits import REFRESH_NS

_ROWS_AT_ONCE = 1000
_TEXTS_AT_ONCE = 200
# A processor that has no rows and was not seen for so long is not coming back.
_FORGOTTEN_NS = 30 * 86400 * 1_000_000_000


class Swept(NamedTuple):
    """Rows that were deleted by one step, and whether there may be ``more`` to delete."""

    pairs: int
    content: int
    more: bool


class Retention:
    """Keeps a store within its limits."""

    def __init__(self, database: Database, settings: RetentionSettings) -> None:
        self._database = database
        self._settings = settings
        self._under_way = False
        self._surplus_rows = 0
        self._surplus_texts = 0
        self._surplus_bytes = 0

    def sweep(self, now_ns: int) -> Swept:
        """
        Delete some of what has to go. Call it now and then, and again soon while there is more.

        One processor at a time does it; for the others there is nothing to do.

        Raises:
            StoreError: see :meth:`Database.writing`.
        """
        if not self._under_way:
            self._measure()
        with self._database.writing() as connection:
            if not self._database.backend.alone(connection, wait=False):
                self._under_way = False
                return Swept(0, 0, more=False)
            pairs = self._pairs(connection, now_ns)
            content = self._content(connection, now_ns)
            if not pairs:
                _orphans(connection, now_ns)
                self._ledgers(connection, now_ns)
        # Only now: what a rolled back step took away is there again.
        self._surplus_rows = max(self._surplus_rows - pairs, 0)
        self._under_way = bool(pairs or content)
        return Swept(pairs, content, more=self._under_way)

    def _measure(self) -> None:
        pairs, content = self._settings.pairs, self._settings.content
        with self._database.reading() as connection:
            rows = _count(connection, pairs)
            self._surplus_rows = 0 if pairs.rows is None else max(rows - pairs.rows, 0)
            used = self._database.backend.used_bytes(connection, rows) if pairs.size is not None else 0
            if pairs.size is not None and used > pairs.size:
                self._surplus_rows = max(self._surplus_rows, rows - rows * pairs.size // used)
            texts, size = connection.execute(
                select(func.count(), func.coalesce(func.sum(CONTENT.c.bytes), 0)).select_from(CONTENT)
            ).one()
            self._surplus_texts = 0 if content.rows is None else max(texts - content.rows, 0)
            self._surplus_bytes = 0 if content.size is None else max(int(size) - content.size, 0)

    def _pairs(self, connection: Connection, now_ns: int) -> int:
        oldest = _oldest(connection)
        if oldest is None:
            return 0
        last_of_writer = ((oldest.id >> NUMBER_BITS) + 1 << NUMBER_BITS) - 1
        rows = connection.execute(
            select(PAIRS.c.id, PAIRS.c.stored_ns)
            .where(PAIRS.c.id.between(oldest.id, last_of_writer))
            .order_by(PAIRS.c.id)
            .limit(_ROWS_AT_ONCE)
        ).all()
        horizon = _horizon(self._settings.pairs, now_ns)
        kept = (at for at, row in enumerate(rows) if at >= self._surplus_rows and row.stored_ns >= horizon)
        gone = next(kept, len(rows))
        if gone:
            going = PAIRS.c.id.between(oldest.id, rows[gone - 1].id)
            key = ("pair_id", "target", "experiment")
            shown = tuple_(*(TEXTS.c[name] for name in key))
            connection.execute(delete(TEXTS).where(shown.in_(select(*(PAIRS.c[name] for name in key)).where(going))))
            connection.execute(delete(PAIRS).where(going))
        return gone

    def _ledgers(self, connection: Connection, now_ns: int) -> None:
        if self._settings.ledgers is not None:
            horizon = now_ns - round(self._settings.ledgers * 1e9)
            connection.execute(delete(LEDGERS).where(LEDGERS.c.folded_ns < horizon))
            connection.execute(delete(WATCHES).where(WATCHES.c.folded_ns < horizon))
            connection.execute(delete(ANSWERS).where(ANSWERS.c.judged_ns < horizon))

    def _content(self, connection: Connection, now_ns: int) -> int:
        horizon = _horizon(self._settings.content, now_ns)
        gone, texts, size = [], self._surplus_texts, self._surplus_bytes
        for id_, stored_ns, length in connection.execute(
            select(CONTENT.c.id, CONTENT.c.stored_ns, CONTENT.c.bytes)
            .order_by(CONTENT.c.stored_ns)
            .limit(_TEXTS_AT_ONCE)
        ):
            if stored_ns >= horizon and texts <= 0 and size <= 0:
                break
            gone.append(id_)
            texts -= 1
            size -= length
        if gone:
            connection.execute(delete(CONTENT).where(CONTENT.c.id.in_(gone)))
            self._surplus_texts, self._surplus_bytes = max(texts, 0), max(size, 0)
        return len(gone)


class _Oldest(NamedTuple):
    id: int
    stored_ns: int


def _oldest(connection: Connection) -> _Oldest | None:
    """Return the row that was stored first, which is the first row of one of the writers."""
    first, found = 0, []
    while row := connection.execute(
        select(PAIRS.c.id, PAIRS.c.stored_ns).where(PAIRS.c.id >= first).order_by(PAIRS.c.id).limit(1)
    ).first():
        found.append(_Oldest(*row))
        first = (row.id >> NUMBER_BITS) + 1 << NUMBER_BITS
    return min(found, key=lambda row: row.stored_ns, default=None)


def _orphans(connection: Connection, now_ns: int) -> None:
    """Delete traits that no pair names any more, and processors that left nothing behind."""
    oldest = _oldest(connection)
    since = now_ns if oldest is None else oldest.stored_ns
    connection.execute(delete(TRAITS).where(TRAITS.c.seen_ns < since - 2 * REFRESH_NS))
    unseen = select(PROCESSORS.c.id).where(PROCESSORS.c.last_seen_ns < now_ns - _FORGOTTEN_NS)
    for (writer,) in connection.execute(unseen).all():
        rows = select(PAIRS.c.id).where(PAIRS.c.id.between(writer << NUMBER_BITS, (writer + 1 << NUMBER_BITS) - 1))
        if connection.execute(rows.limit(1)).first() is None:
            connection.execute(delete(CHECKPOINTS).where(CHECKPOINTS.c.writer == writer))
            connection.execute(delete(FOLDS).where(FOLDS.c.writer == writer))
            connection.execute(delete(SAMPLINGS).where(SAMPLINGS.c.writer == writer))
            connection.execute(delete(WATCHES).where(WATCHES.c.writer == writer))
            connection.execute(delete(ALERTS).where(ALERTS.c.writer == writer))
            connection.execute(delete(PROCESSORS).where(PROCESSORS.c.id == writer))


def _horizon(keep: KeepSettings, now_ns: int) -> int:
    return -1 if keep.age is None else now_ns - round(keep.age * 1e9)


def _count(connection: Connection, keep: KeepSettings) -> int:
    if keep.rows is None and keep.size is None:
        return 0
    return connection.execute(select(func.count()).select_from(PAIRS)).scalar_one()
