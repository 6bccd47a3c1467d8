"""
Captured texts that come when their pair has been folded already: they are kept, shown, and compared by nobody.

The evidence waits for texts as long as for spans. What comes later still would have to be taken into ledgers that hold
nothing of single pairs any more; so it is counted beside them, and who judges says so. To the similarity such a pair
counts as one whose text is missing, which speaks against whatever is to be shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Connection, and_, select, update

from shadowmesh.names import Outcome, Role
from shadowmesh.store.folding import extents
from shadowmesh.store.tables import FOLDS, NUMBER_BITS, PAIRS, TEXTS
from shadowmesh.store.unfolded import NOTHING_FOLDED

_IDS_AT_ONCE = 500


class TextKey(NamedTuple):
    """Whose text it is, as ``content`` has it."""

    experiment: str
    pair_id: str
    role: str
    target: str


def count(connection: Connection, stored: Sequence[TextKey]) -> int:
    """Note how many of the texts that were just stored are late, beside what was folded, and return it."""
    by_writer = _late(connection, stored)
    for writer, texts in by_writer.items():
        late = update(FOLDS).where(FOLDS.c.writer == writer)
        connection.execute(late.values(late_texts=FOLDS.c.late_texts + texts))
    return by_writer.total()


def _late(connection: Connection, stored: Sequence[TextKey]) -> Counter[int]:
    """Return how many texts are late, by the processor whose pairs they are of; each counts once."""
    folded = extents(connection)
    if not folded:
        return Counter()
    writers: dict[tuple[str, ...], int] = {}
    for id_, dispatched_ns, *key in _uncompared(connection, {one.pair_id for one in stored}):
        writer, number = id_ >> NUMBER_BITS, id_ & (1 << NUMBER_BITS) - 1
        extent = folded.get(writer, NOTHING_FOLDED)
        if number <= extent.number and dispatched_ns < extent.watermark_ns:
            experiment, pair_id, target = key
            writers[experiment, pair_id, Role.SHADOW.value, target] = writer
            writers[experiment, pair_id, Role.LIVE.value, ""] = writer
    return Counter(writers[one] for one in stored if one in writers)


def _uncompared(connection: Connection, pair_ids: Iterable[str]) -> Iterator[tuple[int, int, str, str, str]]:
    """Return the pairs of two legs whose texts were not compared: id, dispatch, experiment, pair id, target."""
    pair, texts = PAIRS.c, TEXTS.c
    same = and_(texts.pair_id == pair.pair_id, texts.target == pair.target, texts.experiment == pair.experiment)
    rows = (
        select(pair.id, pair.dispatched_ns, pair.experiment, pair.pair_id, pair.target)
        .select_from(PAIRS.outerjoin(TEXTS, same))
        .where(pair.outcome == Outcome.MATCHED.value, texts.pair_id.is_(None))
    )
    wanted = iter(pair_ids)
    while some := list(islice(wanted, _IDS_AT_ONCE)):
        for row in connection.execute(rows.where(pair.pair_id.in_(some))):
            yield row.id, row.dispatched_ns, row.experiment, row.pair_id, row.target
