"""
The journal as bytes: what a segment is, and how one is read whatever became of it.

A segment is a header and then records, all little-endian::

    header   magic 8 · version 2 · 0 2 · number 4 · created, wall ns 8 · crc 4                           28 bytes
    record   mark 4 · kind 1 · 0 3 · length 4 · received, wall ns 8 · crc of payload 4 · crc 4           28 bytes
             payload

The last crc of a record covers its head and its own position, so a record is one only where it was written: neither
what a sender put into a payload nor an old block that the file system brings back is ever taken for one. Because the
head has a crc of its own, a damaged payload costs that record alone, and after a damaged head the search for the next
head goes on from the following byte.

A position is ``number << 32 | offset``: segments are numbered upwards and a number is never used twice, so positions
only grow, over restarts too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple
from zlib import crc32

VERSION = 1

_MAGIC = b"SMJOURNL"
_SEGMENT = struct.Struct("<8sHxxIQ")
_MARK = b"\xf5SM\xfa"
_RECORD = struct.Struct("<4sBxxxIQI")
_CRC = struct.Struct("<I")
_POSITION = struct.Struct("<Q")
_OFFSET_BITS = 32
_SEARCHED_AT_ONCE = 1 << 20

SEGMENT_HEADER = _SEGMENT.size + _CRC.size
"""Bytes before the first record."""
RECORD_HEAD = _RECORD.size + _CRC.size
"""Bytes of a record beside its payload."""

Read = Callable[[int, int], bytes]
"""Returns up to so many bytes (second) of a segment from an offset (first); fewer only at its end."""


class Kind(IntEnum):
    """What a payload is. On disk, so never renumbered."""

    TRACES = 1
    """The bytes of OTLP's ``ExportTraceServiceRequest``; the next two likewise."""
    METRICS = 2
    LOGS = 3
    COUNTS = 4
    """Of a trace request in which nothing is ours: how many of its spans were ignored, and rejected, as two uint32."""


class Record(NamedTuple):
    """One request as it was received; ``received_ns`` is wall time. ``kind`` may be one of a later version."""

    position: int
    kind: int
    received_ns: int
    payload: bytes

    @property
    def end(self) -> int:
        """The position behind it."""
        return self.position + RECORD_HEAD + len(self.payload)


class Damage(NamedTuple):
    """Bytes of a segment that are no record, from ``position`` up to ``end``."""

    position: int
    end: int


def position(number: int, offset: int) -> int:
    """Return the position of this byte of this segment."""
    return number << _OFFSET_BITS | offset


def place(at: int) -> tuple[int, int]:
    """Return the segment's number and the offset in it of a position."""
    return at >> _OFFSET_BITS, at & ((1 << _OFFSET_BITS) - 1)


def segment_header(number: int, created_ns: int) -> bytes:
    """Return what a segment begins with."""
    head = _SEGMENT.pack(_MAGIC, VERSION, number, created_ns)
    return head + _CRC.pack(crc32(head))


def segment_version(header: bytes) -> int | None:
    """Return the version a segment was written by; ``None`` for a header that cannot be read."""
    head, crc = header[: _SEGMENT.size], header[_SEGMENT.size : SEGMENT_HEADER]
    if len(crc) < _CRC.size or _CRC.unpack(crc)[0] != crc32(head):
        return None
    magic, version, *_ = _SEGMENT.unpack(head)
    return int(version) if magic == _MAGIC else None


def record_head(at: int, kind: int, received_ns: int, payload: bytes) -> bytes:
    """Return what stands before the payload of the record at this position."""
    head = _RECORD.pack(_MARK, kind, len(payload), received_ns, crc32(payload))
    return head + _CRC.pack(_head_crc(head, at))


def records(read: Read, number: int, size: int, start: int = SEGMENT_HEADER) -> Iterator[Record | Damage]:
    """
    Yield what a segment of ``size`` bytes holds from the offset ``start`` on, in order and without gaps.

    What cannot be read is damage, up to the next record that can be, or up to the end.
    """
    at = max(start, SEGMENT_HEADER)
    while at < size:
        head = _head(read(at, RECORD_HEAD), position(number, at))
        end = at + RECORD_HEAD + head.length if head is not None else size + 1
        if head is None or end > size:
            end = _next_head(read, number, at + 1, size)
            yield Damage(position(number, at), position(number, end))
        else:
            payload = read(at + RECORD_HEAD, head.length)
            if crc32(payload) == head.crc and len(payload) == head.length:
                yield Record(position(number, at), head.kind, head.received_ns, payload)
            else:
                yield Damage(position(number, at), position(number, end))
        at = end


class _Head(NamedTuple):
    kind: int
    length: int
    received_ns: int
    crc: int


def _head(data: bytes, at: int) -> _Head | None:
    if len(data) < RECORD_HEAD or not data.startswith(_MARK):
        return None
    head = data[: _RECORD.size]
    if _CRC.unpack_from(data, _RECORD.size)[0] != _head_crc(head, at):
        return None
    return _Head(*_RECORD.unpack(head)[1:])


def _head_crc(head: bytes, at: int) -> int:
    return crc32(_POSITION.pack(at), crc32(head))


def _next_head(read: Read, number: int, at: int, size: int) -> int:
    """Return the offset of the next record's head from ``at`` on, ``size`` when there is none."""
    while at < size:
        # The windows overlap, because a head may lie across their border.
        window = read(at, _SEARCHED_AT_ONCE + RECORD_HEAD - 1)
        found = window.find(_MARK)
        while found >= 0:
            if _head(window[found : found + RECORD_HEAD], position(number, at + found)) is not None:
                return at + found
            found = window.find(_MARK, found + 1)
        at += _SEARCHED_AT_ONCE
    return size
