"""
The journal's files: appended to at one end, deleted at the other, read in between. Everything here blocks.

The files of one directory belong to one process. Every start begins a new segment, so that nothing is ever written
behind a tail whose fate is unknown, and positions never go back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from shadowmesh.errors import StartError
from shadowmesh.processor.journal_disk import DirectoryLock, Disk
from shadowmesh.processor.journal_file import cut_torn_tail, read_segment, refuse_later_version
from shadowmesh.processor.journal_format import (
    RECORD_HEAD,
    SEGMENT_HEADER,
    Damage,
    Record,
    place,
    position,
    record_head,
    segment_header,
)

_SUFFIX = ".segment"


class Entry(NamedTuple):
    """What one record is made of."""

    kind: int
    received_ns: int
    payload: bytes


class _Segment:
    __slots__ = ("number", "size")

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = size


class Segments:
    """
    The segments of one directory, open for appending.

    Args:
        segment_bytes: a segment that is at least as large gets a successor.
        durable: whether a segment is synced before its successor is begun.
        after: a position; all that are given out from now on are greater, even where the files that had it are gone.

    Raises:
        StartError: the directory cannot be used, belongs to another process or was written by a later version.
    """

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int,
        durable: bool,
        wall_ns: Callable[[], int],
        disk: Disk | None = None,
        after: int = 0,
    ) -> None:
        self.cut_bytes = 0
        """Bytes of a torn tail that were cut off at the start; what was synced is never among them."""
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._durable = durable
        self._wall_ns = wall_ns
        self._disk = disk or Disk()
        self._segments: list[_Segment] = []
        self._full_bytes = 0
        self._number = 0
        self._last = 0
        self._file = -1
        self._unsynced = False
        self._spoilt = False
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = DirectoryLock(directory)
        except OSError as error:
            raise StartError(f"the journal cannot use {directory}: {error.strerror}") from error
        try:
            self._take_over(place(after)[0])
        except OSError as error:
            self.close()
            raise StartError(f"the journal cannot use {directory}: {error.strerror}") from error
        except StartError:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return self._full_bytes + self._segments[-1].size

    @property
    def end(self) -> int:
        """A position behind every record; those to come are at it or behind it."""
        last = self._segments[-1]
        return position(last.number, last.size)

    def append(self, entries: Sequence[Entry], *, sync: bool) -> list[int]:
        """
        Write records and return their positions; with ``sync`` they survive a power cut, else only this process.

        Raises:
            OSError: none of them was appended.
        """
        if self._spoilt or self._segments[-1].size >= self._segment_bytes:
            self._begin()
        segment = self._segments[-1]
        positions: list[int] = []
        buffers: list[bytes] = []
        at = segment.size
        for kind, received_ns, payload in entries:
            positions.append(position(segment.number, at))
            buffers += (record_head(positions[-1], kind, received_ns, payload), payload)
            at += RECORD_HEAD + len(payload)
        try:
            self._disk.write(self._file, buffers)
            self._unsynced = True
            if sync:
                self.sync()
        except OSError:
            self._cut(segment.size)
            raise
        segment.size = at
        self._last = positions[-1]
        return positions

    def sync(self) -> None:
        """
        Return when everything that was appended survives a power cut.

        Raises:
            OSError: nobody knows what of it does; what comes next goes to a new segment.
        """
        if not self._unsynced:
            return
        try:
            self._disk.sync(self._file)
        except OSError:
            # The kernel reports a failed write-back once and then takes the lost pages for clean: a second sync of this
            # file would succeed and mean nothing.
            self._spoilt = True
            raise
        self._unsynced = False

    def read(self, start: int = 0) -> Iterator[Record | Damage]:
        """
        Yield the records from a position on, in order, up to the last that is there when the reading starts.

        What cannot be read is damage; a segment that the disk does not give is damage as a whole.
        """
        first, offset = place(start)
        for number, size in [(segment.number, segment.size) for segment in tuple(self._segments)]:
            if number >= first:
                begin = max(offset if number == first else 0, SEGMENT_HEADER)
                yield from read_segment(self._path(number), number, size, begin)

    def drop(self, before: int) -> None:
        """
        Delete the segments that hold nothing from this position on; the current one stays unless it is full.

        Raises:
            OSError: a file could not be deleted, or a new one not be made.
        """
        if before > self._last and self._segments[-1].size >= self._segment_bytes:
            self._begin()
            before = self.end
        number, _ = place(before)
        while len(self._segments) > 1 and self._segments[0].number < number:
            self._path(self._segments[0].number).unlink(missing_ok=True)
            self._full_bytes -= self._segments.pop(0).size

    def close(self) -> None:
        """
        Sync, close the files and let others have the directory; safe to call twice.

        Raises:
            OSError: the sync failed; all is closed nevertheless.
        """
        file, self._file = self._file, -1
        try:
            if self._unsynced and not self._spoilt:
                self._disk.sync(file)
        finally:
            if file >= 0:
                os.close(file)
            self._unsynced = False
            self._lock.release()

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:010d}{_SUFFIX}"

    def _take_over(self, least: int) -> None:
        """Make ready what an earlier process left, and begin a segment of our own."""
        numbers = sorted(int(path.stem) for path in self._directory.glob(f"*{_SUFFIX}") if path.stem.isdecimal())
        for number in numbers:
            refuse_later_version(self._path(number))
        if numbers:
            self.cut_bytes = cut_torn_tail(self._path(numbers[-1]), numbers[-1], self._disk)
        left = [_Segment(number, self._path(number).stat().st_size) for number in numbers]
        self._number = max([least, *numbers])
        self._begin()
        # Only now: the highest number there ever was must always stand in some file's name.
        self._segments[:0] = [segment for segment in left if segment.size > SEGMENT_HEADER]
        self._full_bytes = sum(segment.size for segment in self._segments[:-1])
        for segment in left:
            if segment.size <= SEGMENT_HEADER:
                self._path(segment.number).unlink()

    def _begin(self) -> None:
        """Go on in a new segment."""
        if self._durable and not self._spoilt:
            self.sync()
        # Each attempt has its own, in case the disk does not even let go of what a failed one left.
        self._number += 1
        number, path = self._number, self._path(self._number)
        file = self._disk.create(path)
        try:
            self._disk.write(file, [segment_header(number, self._wall_ns())])
            self._disk.sync(file)
            self._disk.sync_directory(self._directory)
        except OSError:
            os.close(file)
            with suppress(OSError):
                path.unlink()
            raise
        if self._file >= 0:
            os.close(self._file)
            self._full_bytes += self._segments[-1].size
        self._file = file
        self._segments.append(_Segment(number, SEGMENT_HEADER))
        self._unsynced = self._spoilt = False

    def _cut(self, size: int) -> None:
        """Take back what a failed append left behind, as far as the disk can still do that."""
        try:
            self._disk.cut(self._file, size)
        except OSError:
            self._spoilt = True
