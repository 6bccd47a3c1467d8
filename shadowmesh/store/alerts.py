"""
What somebody is to be told of verdicts, kept until they were: a processor that dies goes on where it was.

Several processors judge the same evidence. The answer that was last told of is in the database, and only the one who
changes it there tells; so each change is told once, whoever saw it first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import astuple
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from shadowmesh.store.database import Database
from shadowmesh.store.ledgers import hashed_id
from shadowmesh.store.tables import ALERTS, ANSWERS
from shadowmesh.verdict.records import Answer, EvidenceKey

MOST = 1000
"""Alerts of one processor that may wait."""


class Waiting(NamedTuple):
    """An alert on its way; ``id`` is its place in the database, in the order in which they were made."""

    id: int
    made_ns: int
    document: dict[str, Any]


class Change(NamedTuple):
    """An answer that is another one than ``before``; ``kept`` is whether there was room for its alert."""

    before: Answer
    kept: bool


class AlertBook:
    """The alerts of one processor, and the answers of all."""

    def __init__(self, database: Database, writer: int) -> None:
        self._database = database
        self._writer = writer

    def answered(
        self,
        key: EvidenceKey,
        answer: Answer,
        *,
        judged_ns: int,
        alert: Callable[[Answer], Mapping[str, Any]] | None = None,
    ) -> Change | None:
        """
        Note the answer for a key; return the change if it is one and nobody else has noted it.

        An answer to older evidence than the one that is there is none. Before the first it was NOT_YET.

        Args:
            judged_ns: when the verdict was made, wall clock.
            alert: makes, of the answer before, the document that somebody is to be told; ``None``: nobody is.

        Raises:
            StoreError: nothing was noted.
        """
        columns, id_ = ANSWERS.c, hashed_id(*astuple(key))
        first = self._database.backend.insert(ANSWERS).values(id=id_, answer=str(Answer.NOT_YET), judged_ns=0)
        with self._database.writing() as connection:
            connection.execute(first.on_conflict_do_nothing(index_elements=["id"]))
            there = connection.execute(select(columns.answer).where(columns.id == id_)).scalar_one()
            ours = (columns.id == id_, columns.answer == there, columns.judged_ns < judged_ns)
            changed = connection.execute(update(ANSWERS).where(*ours).values(answer=str(answer), judged_ns=judged_ns))
            if not changed.rowcount or there == answer:
                return None
            before = Answer(there)
            kept = alert is None or put(connection, self._writer, alert(before), now_ns=judged_ns)
        return Change(before, kept)

    def next(self) -> Waiting | None:
        """
        Return the alert that has waited longest, if any waits.

        Raises:
            StoreError: the database failed.
        """
        columns = ALERTS.c
        first = select(columns.id, columns.made_ns, columns.document).where(columns.writer == self._writer)
        with self._database.reading() as connection:
            row = connection.execute(first.order_by(columns.id).limit(1)).first()
        return None if row is None else Waiting(row.id, row.made_ns, json.loads(row.document))

    def done(self, alert: Waiting) -> None:
        """
        Forget an alert, which was delivered or given up.

        Raises:
            StoreError: it is still there.
        """
        with self._database.writing() as connection:
            connection.execute(delete(ALERTS).where(ALERTS.c.id == alert.id))

    def waiting(self) -> int:
        """
        Return how many wait.

        Raises:
            StoreError: the database failed.
        """
        with self._database.reading() as connection:
            return _waiting(connection, self._writer)


def put(connection: Connection, writer: int, document: Mapping[str, Any], *, now_ns: int) -> bool:
    """Keep an alert until it is delivered; ``False`` where too many wait, and it is lost."""
    if _waiting(connection, writer) >= MOST:
        return False
    connection.execute(insert(ALERTS).values(writer=writer, made_ns=now_ns, document=json.dumps(document)))
    return True


def _waiting(connection: Connection, writer: int) -> int:
    rows = select(func.count()).select_from(ALERTS).where(ALERTS.c.writer == writer)
    return connection.execute(rows).scalar_one()
