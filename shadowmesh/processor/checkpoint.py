"""
What a processor has counted, as bytes to go on from after a crash (pure).

It holds the metrics and the funnel as of one row of the store and one position of the journal. Rows behind the one
are counted again from the store, records behind the other from the journal; up to :attr:`Snapshot.applied` a record is
only read again for the legs in it that still wait, or whose pair was not stored.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

from shadowmesh.errors import DecodeError

_VERSION = 1
_MOST_BYTES = 256 * 1024 * 1024


class Snapshot(NamedTuple):
    """
    One moment.

    Args:
        number: the last row of the store that is in the metrics.
        applied: the position of the last record of the journal that was counted; -1 if none was.
        counted: the states of what counts, by name, as JSON has them.
    """

    number: int
    applied: int
    counted: dict[str, Any]


@dataclass(slots=True)
class Reached:
    """
    How far a processor has come.

    Attributes:
        number, applied: as those of a snapshot.
        behind: the position behind the last record that was taken in. A replay may begin there, because it is where a
            record does: from within one it would see damage.
    """

    number: int = 0
    applied: int = -1
    behind: int = 0

    def record(self, position: int, end: int) -> None:
        """Note that the record from ``position`` up to ``end`` was taken in."""
        self.applied = max(self.applied, position)
        self.behind = max(self.behind, end)

    def snapshot(self, counted: dict[str, Any]) -> Snapshot:
        """Return this moment."""
        return Snapshot(self.number, self.applied, counted)


def to_bytes(snapshot: Snapshot) -> bytes:
    """Return the bytes of a snapshot."""
    text = json.dumps({"version": _VERSION, **snapshot._asdict()}, separators=(",", ":"), allow_nan=True)
    return zlib.compress(text.encode(), 1)


def from_bytes(data: bytes) -> Snapshot:
    """
    Return the snapshot.

    Raises:
        DecodeError: the bytes are none, or a later version wrote them.
    """
    try:
        unpacker = zlib.decompressobj()
        held = json.loads(unpacker.decompress(data, _MOST_BYTES))
        version = held["version"]
        snapshot = Snapshot(int(held["number"]), int(held["applied"]), dict(held["counted"]))
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise DecodeError(f"not a checkpoint: {error}") from error
    if version != _VERSION:
        raise DecodeError(f"a checkpoint of version {version}, which a later ShadowMesh wrote")
    return snapshot
