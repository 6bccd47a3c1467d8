"""
What there is to judge: the ledgers of all processors, and the rows that are in none yet.

A processor folds now and then, and one that has ended or died does not any more. So whoever reads adds, in memory, what
each processor has stored and not folded, up to its own watermark; of one that is gone, everything. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple, replace
from typing import NamedTuple, Self

from sqlalchemy import Connection, func, select

from shadowmesh.names import TargetKind
from shadowmesh.store import ledgers, samplings
from shadowmesh.store.folding import extents
from shadowmesh.store.ledgers import Filling, Kept, added_up, decoded
from shadowmesh.store.reader import Reader
from shadowmesh.store.tables import FOLDS, PROCESSORS
from shadowmesh.store.unfolded import ALL_NUMBERS, NOTHING_FOLDED, Extent, Unfolded
from shadowmesh.verdict.coverage import SampleRatio
from shadowmesh.verdict.judgement import Folds
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.records import EvidenceKey

GONE_NS = 600 * 1_000_000_000
"""A processor that was not seen for so long holds nothing back."""


class _Writer(NamedTuple):
    """One processor: how far it has folded, and how far may be read."""

    id: int
    since: Extent
    until: Extent


class _Snapshot(NamedTuple):
    """One state of the store: ledgers, and how far they go."""

    writers: list[_Writer]
    kept: list[Kept]
    data: dict[EvidenceKey, list[tuple[str, bytes]]]
    folds: Folds


class EvidenceBook:
    """
    The evidence of a store at one moment; made by :meth:`read`, which reads all there is about the newest keys.

    What is asked of older ones is read then, so keep the reader open for them.
    """

    def __init__(self, reader: Reader, *, now_ns: int, since_ns: int | None) -> None:
        self._reader = reader
        self._rows = Unfolded(reader.reading)
        self._now_ns = now_ns
        self._since_ns = since_ns
        self._known: dict[EvidenceKey, Kept] = {}
        self._ledgers: dict[EvidenceKey, dict[str, Ledger]] = {}
        self._folds = Folds()

    @classmethod
    def read(cls, reader: Reader, *, now_ns: int, since_ns: int | None = None) -> Self:
        """
        Read the evidence.

        Args:
            now_ns: wall clock; tells which processors are gone. What is dispatched later, by a clock that is wrong, is
                left out until then.
            since_ns: the first moment of dispatch that counts. A start that was chosen after looking at the data is one
                attempt more.

        Raises:
            StoreError: the database failed, or a ledger in it is of another version.
        """
        book = cls(reader, now_ns=now_ns, since_ns=since_ns)
        book._load(_newest, None)
        return book

    def keys(self) -> list[EvidenceKey]:
        """Return what there is evidence about, by first dispatch."""
        said = {_unsaid(key) for key in self._known if key.target_digest}
        shown = (one for one in self._known.values() if one.key not in said)
        return [one.key for one in sorted(shown, key=lambda one: (one.first_ns, astuple(one.key)))]

    def latest(self, experiment: str | None, target: str | None) -> list[EvidenceKey]:
        """
        Return of each candidate target the key whose evidence is newest, by first dispatch.

        Args:
            experiment, target: which; ``None`` is any.
        """
        # A target may have been the control before, or be it now.
        newest: dict[tuple[str, str], EvidenceKey] = {}
        for key in sorted(self.keys(), key=lambda key: self._known[key].last_ns):
            # Without a name it is what an unknown number of targets has missed.
            if key.target:
                newest[_target(key)] = key
        return [
            key
            for key in self.keys()
            if newest.get(_target(key)) == key
            and not self._is_control(key)
            and experiment in (None, key.experiment)
            and target in (None, key.target)
        ]

    def ledgers(self, key: EvidenceKey) -> dict[str, Ledger]:
        """
        Return the ledgers of a key by stratum, of all processors together; none if there is no evidence.

        Pairs whose shadow never came do not say for which version of the target: they are in those of every version
        under their configuration.

        Raises:
            StoreError: see :meth:`read`.
        """
        both = {key, _unsaid(key)} & self._known.keys()
        if not both <= self._ledgers.keys():
            self._load(lambda _: both, _target(key))
        return added_up(self._ledgers.get(one, {}) for one in sorted(both, key=astuple))

    def control(self, key: EvidenceKey) -> dict[str, Ledger] | None:
        """
        Return those of the control target under the same configuration; ``None`` if there is none.

        A configuration has one. Of several, which only spans of another making bring, it is always the same.

        Raises:
            StoreError: see :meth:`read`.
        """
        beside = (
            other
            for other, one in self._known.items()
            if one.kind == TargetKind.CONTROL
            and (other.experiment, other.config_digest) == (key.experiment, key.config_digest)
        )
        control = min(beside, key=astuple, default=None)
        return None if control is None else self.ledgers(control)

    def attempt(self, key: EvidenceKey) -> int:
        """
        Return under how many other configurations this candidate was begun; a ``since`` is one time more.

        Those count that began before this one's last dispatch: who goes back to an earlier one has seen the later.
        """
        chosen = 0 if self._since_ns is None else 1
        return chosen + sum(
            other != key and replace(other, config_digest=key.config_digest) == key for other in self._begun_before(key)
        )

    def other_versions(self, key: EvidenceKey) -> int:
        """Return how many other versions of this target were begun before this one's last dispatch."""
        others = (other for other in self._begun_before(key) if _target(other) == _target(key))
        return len({other.target_digest for other in others} - {key.target_digest, ""})

    def _is_control(self, key: EvidenceKey) -> bool:
        """Return whether it is about a control; where no shadow said so, whether the target never was anything else."""
        of_target = {one.kind for other, one in self._known.items() if _target(other) == _target(key)} - {""}
        kinds = {self._known[key].kind} - {""} or of_target
        return kinds == {TargetKind.CONTROL}

    def _begun_before(self, key: EvidenceKey) -> list[EvidenceKey]:
        known = self._known.get(key)
        return [] if known is None else [other for other, one in self._known.items() if one.first_ns < known.last_ns]

    def sampling(self, key: EvidenceKey) -> SampleRatio | None:
        """
        Return how calls were drawn for the target under this configuration, since it was first seen; ``None`` where
        nobody has said, as of calls that are not drawn one by one.

        Raises:
            StoreError: see :meth:`read`.
        """
        with self._reader.reading() as connection:
            return samplings.of_key(connection, key)

    def folds(self) -> Folds:
        """Return what was late and what was left out, in all ledgers and in the rows that are in none yet."""
        return self._folds

    def _load(self, wanted: Callable[[list[Kept]], set[EvidenceKey]], of: tuple[str, str] | None) -> None:
        """Read these keys' ledgers, and add the rows that are in none yet, of one target or of all."""
        snapshot = self._snapshot(wanted)
        filling, late = Filling(lambda key: decoded(snapshot.data.get(key, []))), 0
        for writer in snapshot.writers:
            for page in self._rows.pages(writer.id, writer.since, writer.until, of=of):
                late += page.late
                for batch in page.batches:
                    filling.add(batch)
        if of is None:
            mixed = 0 if self._since_ns is not None else snapshot.folds.mixed_currencies
            self._folds = Folds(snapshot.folds.late + late, mixed + filling.mixed, snapshot.folds.late_texts)
        strata = filling.strata()
        for one in [*snapshot.kept, *_spans(filling)]:
            self._know(one)
        there = {one.key for one in snapshot.kept}
        # Of what was there and not read, the rows that were added are a part only.
        for key in self._known:
            if key in snapshot.data:
                self._ledgers[key] = strata[key] if key in strata else decoded(snapshot.data[key])
            elif key in strata and key not in there:
                self._ledgers[key] = strata[key]

    def _snapshot(self, wanted: Callable[[list[Kept]], set[EvidenceKey]]) -> _Snapshot:
        with self._reader.reading() as connection:
            kept = ledgers.kept(connection)
            data = {key: self._stored(connection, key) for key in wanted(kept)}
            return _Snapshot(self._writers(connection), kept, data, _folds(connection))

    def _stored(self, connection: Connection, key: EvidenceKey) -> list[tuple[str, bytes]]:
        # Ledgers know of no beginning: with one, everything is made of rows.
        return [] if self._since_ns is not None else ledgers.of_key(connection, key)

    def _writers(self, connection: Connection) -> list[_Writer]:
        folded = extents(connection)
        columns = PROCESSORS.c
        writers = []
        for id_, watermark_ns, seen_ns in connection.execute(
            select(columns.id, columns.watermark_ns, columns.last_seen_ns)
        ):
            since = folded.get(id_, NOTHING_FOLDED)
            gone = watermark_ns is None or seen_ns < self._now_ns - GONE_NS
            # A sender whose clock is ahead would make its pairs the newest of all, and the pace that of a day to come.
            latest = self._now_ns + 1 if gone else min(watermark_ns, self._now_ns + 1)
            until = Extent(ALL_NUMBERS, max(latest, since.watermark_ns))
            writers.append(
                _Writer(id_, since if self._since_ns is None else Extent(ALL_NUMBERS, self._since_ns), until)
            )
        return writers

    def _know(self, one: Kept) -> None:
        known = self._known.get(one.key, one)
        first_ns, last_ns = min(known.first_ns, one.first_ns), max(known.last_ns, one.last_ns)
        self._known[one.key] = Kept(one.key, known.kind or one.kind, first_ns, last_ns)


def _folds(connection: Connection) -> Folds:
    columns = (FOLDS.c.late, FOLDS.c.mixed_currencies, FOLDS.c.late_texts)
    return Folds(*(int(each or 0) for each in connection.execute(select(*map(func.sum, columns))).one()))


def _newest(kept: list[Kept]) -> set[EvidenceKey]:
    """Return the newest key of each target, and whatever has the same configuration: controls among it."""
    newest = {_target(one.key): one.key for one in sorted(kept, key=lambda one: one.last_ns)}
    together = {(key.experiment, key.config_digest) for key in newest.values()}
    return {one.key for one in kept if (one.key.experiment, one.key.config_digest) in together}


def _target(key: EvidenceKey) -> tuple[str, str]:
    return key.experiment, key.target


def _unsaid(key: EvidenceKey) -> EvidenceKey:
    """Return the key of the pairs whose shadow never came."""
    return replace(key, target_digest="")


def _spans(filling: Filling) -> Iterator[Kept]:
    for key, kind, _, ledger in filling.changed():
        yield Kept(key, kind, ledger.first_ns, ledger.last_ns)
