"""
Ledgers in the database, and the ones that are being filled.

One ledger is of one processor, one evidence key and one stratum, which is a method: the first 64 of a key have a
stratum each, all others share one. Ledgers merge by addition, so a reader adds up those of all processors. Which
methods are judged alone is decided where all of them are seen, so that it does not hang on which came first where.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, select

from shadowmesh.errors import LedgerError
from shadowmesh.names import OTHER
from shadowmesh.store.backend import Backend
from shadowmesh.store.columns import Batch
from shadowmesh.store.tables import LEDGERS
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.records import EvidenceKey

_STRATA = 64
_KEY = tuple(LEDGERS.c[name] for name in ("experiment", "target", "target_digest", "config_digest"))


class Kept(NamedTuple):
    """What a database says of one ledger without reading it."""

    key: EvidenceKey
    kind: str
    first_ns: int
    last_ns: int


class Filling:
    """
    Ledgers that pairs are added to; each is read from where it lies when the first of its pairs comes.

    Args:
        stored: returns the ledgers of a key that there are, by stratum.
    """

    def __init__(self, stored: Callable[[EvidenceKey], dict[str, Ledger]]) -> None:
        self.mixed = 0
        """Costs that were left out, being in another currency than the live leg's."""
        self._stored = stored
        self._strata: dict[EvidenceKey, dict[str, Ledger]] = {}
        self._kinds: dict[EvidenceKey, str] = {}
        self._changed: dict[tuple[EvidenceKey, str], Ledger] = {}

    def add(self, batch: Batch) -> None:
        """
        Add the pairs.

        Raises:
            StoreError: a ledger they belong to cannot be read.
        """
        key = batch.key
        strata = self._strata.get(key)
        if strata is None:
            strata = self._strata[key] = self._stored(key)
        self._kinds[key] = self._kinds.get(key) or batch.kind
        stratum = _stratum(strata, batch.method)
        ledger = strata.setdefault(stratum, Ledger())
        ledger.priced_in(batch.currency)
        ledger.add(batch.columns)
        self.mixed += batch.mixed
        self._changed[key, stratum] = ledger

    def changed(self) -> Iterator[tuple[EvidenceKey, str, str, Ledger]]:
        """Return the ledgers that have changed: key, kind of its target, stratum, ledger."""
        for (key, stratum), ledger in self._changed.items():
            yield key, self._kinds[key], stratum, ledger

    def strata(self) -> Mapping[EvidenceKey, dict[str, Ledger]]:
        """Return the ledgers of the keys that anything was added to, by stratum."""
        return self._strata


def write(connection: Connection, backend: Backend, writer: int, filled: Filling, *, now_ns: int) -> None:
    """Replace a processor's ledgers by the ones that have changed."""
    rows = [
        {
            "id": hashed_id(writer, *(getattr(key, column.name) for column in _KEY), stratum),
            "writer": writer,
            **{column.name: getattr(key, column.name) for column in _KEY},
            "stratum": stratum,
            "kind": kind,
            "first_ns": ledger.first_ns,
            "last_ns": ledger.last_ns,
            "folded_ns": now_ns,
            "data": ledger.to_bytes(),
        }
        for key, kind, stratum, ledger in filled.changed()
    ]
    if not rows:
        return
    insert = backend.insert(LEDGERS)
    changing = {name: insert.excluded[name] for name in ("first_ns", "last_ns", "folded_ns", "data")}
    connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=changing), rows)


def of_key(connection: Connection, key: EvidenceKey, *, writer: int | None = None) -> list[tuple[str, bytes]]:
    """Return stratum and bytes of the ledgers of a key, of one processor or of all, in the order of their beginning."""
    rows = select(LEDGERS.c.stratum, LEDGERS.c.data).where(*(column == getattr(key, column.name) for column in _KEY))
    if writer is not None:
        rows = rows.where(LEDGERS.c.writer == writer)
    found = connection.execute(rows.order_by(LEDGERS.c.first_ns, LEDGERS.c.id))
    return [(stratum, bytes(data)) for stratum, data in found]


def decoded(stored: Iterable[tuple[str, bytes]]) -> dict[str, Ledger]:
    """
    Return what :func:`of_key` returned as ledgers, those of one stratum added up.

    Raises:
        LedgerError: one of them is of another version or damaged.
    """
    try:
        return added_up({stratum: Ledger.from_bytes(data)} for stratum, data in stored)
    except ValueError as error:
        raise LedgerError(f"a ledger cannot be read: {error}") from error


def added_up(many: Iterable[Mapping[str, Ledger]]) -> dict[str, Ledger]:
    """Return the sums by stratum, in whatever order they come: every stratum that any processor has."""
    sums: dict[str, Ledger] = {}
    for ledgers in many:
        for stratum, ledger in ledgers.items():
            sums.setdefault(stratum, Ledger()).merge(ledger)
    return sums


def kept(connection: Connection) -> list[Kept]:
    """Return of which keys there are ledgers."""
    columns = (*_KEY, LEDGERS.c.kind, LEDGERS.c.first_ns, LEDGERS.c.last_ns)
    return [
        Kept(EvidenceKey(**dict(zip((column.name for column in _KEY), names, strict=True))), kind, first_ns, last_ns)
        for *names, kind, first_ns, last_ns in connection.execute(select(*columns))
    ]


def forget(connection: Connection, writer: int) -> None:
    """Delete all ledgers of a processor."""
    connection.execute(delete(LEDGERS).where(LEDGERS.c.writer == writer))


def _stratum(strata: Mapping[str, Any], method: str) -> str:
    return method if method in strata or len(strata.keys() - {OTHER}) < _STRATA else OTHER


def hashed_id(*names: str | int) -> int:
    """Return an id that is the same for the same names."""
    # 63 bits: every database has such integers.
    return int.from_bytes(blake2b(json.dumps(names).encode(), digest_size=8).digest(), "big") >> 1
