"""One file of the journal that was written before, by this process or an earlier one. Everything here blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from shadowmesh.errors import StartError
from shadowmesh.processor.journal_disk import Disk
from shadowmesh.processor.journal_format import (
    SEGMENT_HEADER,
    VERSION,
    Damage,
    Record,
    place,
    position,
    records,
    segment_version,
)


def refuse_later_version(path: Path) -> None:
    """
    Refuse a segment that we cannot read all of.

    Raises:
        OSError: the disk does not give it.
        StartError: a later version has written it.
    """
    with path.open("rb") as file:
        version = segment_version(file.read(SEGMENT_HEADER))
    if version is not None and version > VERSION:
        raise StartError(f"{path} was written by a later version of ShadowMesh")


def cut_torn_tail(path: Path, number: int, disk: Disk) -> int:
    """
    Cut a segment behind its last whole record, and return how many bytes that were.

    What the disk does not give is left alone: reading will call it damage.

    Raises:
        OSError: it cannot be cut.
    """
    with path.open("r+b") as file:
        size, end = os.fstat(file.fileno()).st_size, SEGMENT_HEADER
        try:
            for item in records(partial(_pread, file.fileno()), number, size):
                if isinstance(item, Record):
                    _, end = place(item.end)
        except OSError:
            return 0
        if end >= size:
            return 0
        file.truncate(end)
        disk.sync(file.fileno())
        return size - end


def read_segment(path: Path, number: int, size: int, start: int) -> Iterator[Record | Damage]:
    """Yield what is in a segment of so many bytes from an offset on; what the disk does not give is damage."""
    end = position(number, start)
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for item in records(partial(_pread, file), number, size, start):
                yield item
                end = item.end
        finally:
            os.close(file)
    except OSError:
        yield Damage(end, position(number, size))


def _pread(file: int, offset: int, size: int) -> bytes:
    return os.pread(file, size, offset)
