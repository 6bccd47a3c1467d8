"""
Change detectors in the database, and the ones that a fold feeds.

They are written with the ledgers, in one transaction, and so are the alerts they raise: after a crash at whatever point
a pair was fed and its alarm is on its way, or neither. Making ledgers anew does not feed them again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from shadowmesh.names import TargetKind
from shadowmesh.store import alerts
from shadowmesh.store.columns import Batch
from shadowmesh.store.database import Database
from shadowmesh.store.ledgers import hashed_id
from shadowmesh.store.tables import WATCHES
from shadowmesh.verdict.alert import alarm_raised
from shadowmesh.verdict.change import RUN_LENGTH
from shadowmesh.verdict.facts import State
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.records import EvidenceKey
from shadowmesh.verdict.settings import CriteriaSettings
from shadowmesh.verdict.watch import Alarm, Watch


@dataclass(frozen=True, slots=True)
class Watching:
    """
    How candidates are watched.

    Args:
        criteria: what is asked in each experiment, by its name; in any other the defaults.
        run_length: pairs between two false alarms of a detector, on average and at least.
        repeat_ns: for how long after an alarm another of the same kind is none of the news.
        told: whether somebody is to be told, so that alerts are kept until they were.
    """

    criteria: Mapping[str, CriteriaSettings] = field(default_factory=dict)
    run_length: float = RUN_LENGTH
    repeat_ns: int = 0
    told: bool = False

    def watch(self, key: EvidenceKey) -> Watch:
        """Return a new watch of a key."""
        criteria = self.criteria.get(key.experiment, CriteriaSettings())
        return Watch(criteria, run_length=self.run_length, repeat_ns=self.repeat_ns)


class Watched(NamedTuple):
    """
    What was found about a key: how far its detectors are, as a share of the run length; the alarms; and of these the
    ones that are not kept for anybody, there being no room.
    """

    key: EvidenceKey
    levels: dict[str, float]
    alarms: list[Alarm]
    lost: int


class Watches:
    """Of one fold of one processor: each key's is read when the first of its pairs comes."""

    def __init__(self, database: Database, writer: int, watching: Watching) -> None:
        self._database = database
        self._writer = writer
        self._watching = watching
        self._watches: dict[EvidenceKey, Watch] = {}
        self._alarms: dict[EvidenceKey, list[Alarm]] = {}
        self._lost: dict[EvidenceKey, int] = {}

    def add(self, batch: Batch) -> None:
        """
        Take the pairs of a candidate.

        Raises:
            StoreError: the database failed.
        """
        # Where no shadow ever came nobody has said whose it was, nor that it was a candidate's.
        if batch.kind == TargetKind.CONTROL or (batch.columns.shadow.state == State.MISSING).all():
            return
        watch = self._watches.get(batch.key)
        if watch is None:
            watch = self._watches[batch.key] = self._stored(batch.key)
        watch.add(batch.columns)

    def settle(self, strata: Mapping[EvidenceKey, dict[str, Ledger]]) -> None:
        """Feed what was added; ``strata`` are the ledgers of the keys, with it."""
        for key, watch in self._watches.items():
            alarms = watch.settle(strata.get(key, {}).values())
            self._alarms.setdefault(key, []).extend(alarms)

    def write(self, connection: Connection, *, now_ns: int) -> None:
        """Write their states, and what somebody is to be told."""
        insert = self._database.backend.insert(WATCHES)
        rows: list[dict[str, Any]] = []
        for key, watch in self._watches.items():
            state = json.dumps(watch.state(), separators=(",", ":"))
            rows.append({"id": self._id(key), "writer": self._writer, "state": state, "folded_ns": now_ns})
        if rows:
            changing = {name: insert.excluded[name] for name in ("state", "folded_ns")}
            connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=changing), rows)
        for key, alarms in self._alarms.items() if self._watching.told else ():
            for alarm in alarms:
                document = alarm_raised(key, alarm, at_ns=now_ns, by=str(self._writer))
                if alarm.news and not alerts.put(connection, self._writer, document, now_ns=now_ns):
                    self._lost[key] = self._lost.get(key, 0) + 1

    def found(self) -> Iterator[Watched]:
        """Return what was found about every key."""
        for key, watch in self._watches.items():
            yield Watched(key, watch.levels(), self._alarms.get(key, []), self._lost.get(key, 0))

    def _stored(self, key: EvidenceKey) -> Watch:
        watch = self._watching.watch(key)
        with self._database.reading() as connection:
            state = connection.execute(select(WATCHES.c.state).where(WATCHES.c.id == self._id(key))).scalar()
        if state is not None:
            try:
                watch.restore(json.loads(state))
            except ValueError:
                # Of another version: what it knew is little, and soon known again.
                return self._watching.watch(key)
        return watch

    def _id(self, key: EvidenceKey) -> int:
        return hashed_id(self._writer, *astuple(key))
