"""
How calls were drawn, by processor, target and configuration: the sums of what their senders have counted.

They are written with the checkpoint that holds what they are made from, so that no counter is booked twice, and a
reader adds up those of all processors.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, insert, select

from shadowmesh.store.records import Sampling
from shadowmesh.store.rows import key_text
from shadowmesh.store.tables import SAMPLINGS
from shadowmesh.verdict.coverage import SampleRatio
from shadowmesh.verdict.records import EvidenceKey

_KEY = ("experiment", "target", "config_digest")
# Whatever somebody sends: the sums of many still fit a database's integers.
_MOST = 1 << 53


def replace(connection: Connection, writer: int, sums: Sequence[Sampling]) -> None:
    """Put these in place of all sums of a processor."""
    connection.execute(delete(SAMPLINGS).where(SAMPLINGS.c.writer == writer))
    if sums:
        connection.execute(insert(SAMPLINGS), [_row(writer, one) for one in sums])


def of_key(connection: Connection, key: EvidenceKey) -> SampleRatio | None:
    """Return what all processors know of a target under a configuration; ``None`` if nobody knows anything."""
    columns = SAMPLINGS.c
    figures = (func.sum(columns.eligible), func.sum(columns.sampled), func.sum(columns.expected))
    wanted = select(*figures).where(*(columns[name] == getattr(key, name) for name in _KEY))
    eligible, sampled, expected = connection.execute(wanted).one()
    return SampleRatio(eligible=int(eligible), sampled=int(sampled), expected=float(expected)) if eligible else None


def _row(writer: int, sums: Sampling) -> dict[str, object]:
    return {
        "writer": writer,
        **{name: key_text(getattr(sums, name)) for name in _KEY},
        "eligible": min(sums.eligible, _MOST),
        "sampled": min(sums.sampled, _MOST),
        "expected": min(sums.expected, float(_MOST)),
    }
