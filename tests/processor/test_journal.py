"""What was acknowledged is there after every kind of end; what cannot be kept is refused and not lost silently."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from shadowmesh.errors import OverloadedError, StartError
from shadowmesh.processor.journal import Journal
from shadowmesh.processor.journal_disk import Disk
from shadowmesh.processor.journal_format import RECORD_HEAD, SEGMENT_HEADER, Kind, Record, place, segment_header
from shadowmesh.processor.journal_settings import JournalSettings
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import FakeClock

MANY = 64


class Watched(Disk):
    """The real disk, which counts, fails and stops where a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.syncs = 0
        self.directories = 0
        self.full = False
        self.failing_sync = False
        self.failing_cut = False
        self.synced = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self._full = os.open("/dev/full", os.O_WRONLY)

    def write(self, file: int, buffers: Sequence[bytes]) -> None:
        if self.full:
            # As far as a disk goes on before it is full.
            os.write(file, b"".join(buffers)[:5])
        super().write(self._full if self.full else file, buffers)

    def sync(self, file: int) -> None:
        assert self.go_on.wait(20)
        self.syncs += 1
        self.synced.set()
        if self.failing_sync:
            raise OSError(errno.EIO, "a sector is gone")
        super().sync(file)

    def sync_directory(self, directory: Path) -> None:
        self.directories += 1
        super().sync_directory(directory)

    def cut(self, file: int, size: int) -> None:
        if self.failing_cut:
            raise OSError(errno.EIO, "a sector is gone")
        super().cut(file, size)

    def close(self) -> None:
        os.close(self._full)


class Quick(Disk):
    """The real disk, for tests that open many journals and end no machine."""

    def sync(self, file: int) -> None:
        pass

    def sync_directory(self, directory: Path) -> None:
        pass


@pytest.fixture
def disk() -> Any:
    disk = Watched()
    yield disk
    disk.close()


@asynccontextmanager
async def opened(directory: Path, disk: Disk | None = None, after: int = 0, **settings: Any) -> AsyncIterator[Journal]:
    """Open a journal as a processor does and close it at the end."""
    journal = Journal(
        JournalSettings(directory=str(directory), **settings),
        faults=Faults(),
        wall_ns=FakeClock(5_000),
        disk=disk,
        after=after,
    )
    try:
        yield journal
    finally:
        await journal.close()


def payloads(journal: Journal, start: int = 0) -> list[bytes]:
    return [record.payload for record in journal.replay(start)]


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.segment"))


async def fill(journal: Journal, count: int, size: int = 1000) -> list[int]:
    return [await journal.append(Kind.TRACES, bytes([number]) * size) for number in range(count)]


async def refused(journal: Journal, payload: bytes = b"x" * 1000) -> OverloadedError:
    with pytest.raises(OverloadedError) as refusal:
        await journal.append(Kind.TRACES, payload)
    return refusal.value


@pytest.mark.parametrize("sync", ["always", "interval", "never"])
async def test_what_was_appended_is_replayed_in_order_after_a_restart(tmp_path: Path, sync: str) -> None:
    async with opened(tmp_path, sync=sync) as journal:
        first = await journal.append(Kind.TRACES, b"spans")
        second = await journal.append(Kind.LOGS, b"")
        assert payloads(journal) == [b"spans", b""]
    async with opened(tmp_path, sync=sync) as journal:
        third = await journal.append(Kind.METRICS, b"counts")
        assert list(journal.replay()) == [
            Record(first, Kind.TRACES, 5_000, b"spans"),
            Record(second, Kind.LOGS, 5_000, b""),
            Record(third, Kind.METRICS, 5_000, b"counts"),
        ]
        assert payloads(journal, second) == [b"", b"counts"]
        assert payloads(journal, third) == [b"counts"]
        assert payloads(journal, journal.end) == []
        assert first < second < third < journal.end


async def test_appends_that_arrive_during_a_sync_share_the_next_one(tmp_path: Path, disk: Watched) -> None:
    async with opened(tmp_path, disk) as journal:
        disk.go_on.clear()
        before = disk.syncs
        positions: list[int] = []

        async def append(number: int) -> None:
            positions.append(await journal.append(Kind.TRACES, b"%d" % number))

        appends = [asyncio.create_task(append(number)) for number in range(MANY)]
        await asyncio.sleep(0)
        assert not any(one.done() for one in appends)
        disk.go_on.set()
        await asyncio.gather(*appends)
        assert disk.syncs - before == journal.counts.writes == 2
        # Whoever waits for a later one goes on later, so that what follows sees positions only grow.
        assert positions == sorted(positions)
        assert [record.position for record in journal.replay()] == positions
        assert payloads(journal) == [b"%d" % number for number in range(MANY)]
        assert journal.counts.appended == MANY


async def test_nothing_is_acknowledged_before_its_sync_has_returned(tmp_path: Path, disk: Watched) -> None:
    async with opened(tmp_path, disk) as journal:
        disk.go_on.clear()
        append = asyncio.create_task(journal.append(Kind.TRACES, b"x"))
        await asyncio.wait([append], timeout=0.05)
        assert not append.done()
        disk.go_on.set()
        await append


async def test_an_appender_that_gives_up_takes_nobody_with_it(tmp_path: Path, disk: Watched) -> None:
    async with opened(tmp_path, disk) as journal:
        disk.go_on.clear()
        appends = [asyncio.create_task(journal.append(Kind.TRACES, b"%d" % number)) for number in range(3)]
        await asyncio.sleep(0)
        appends[0].cancel()
        appends[1].cancel()
        disk.go_on.set()
        assert await asyncio.wait_for(appends[2], 20) > 0
        assert payloads(journal)[-1] == b"2"


@pytest.mark.parametrize(("sync", "synced"), [("interval", True), ("never", False)])
async def test_without_sync_an_append_waits_for_no_disk(tmp_path: Path, disk: Watched, sync: str, synced: bool) -> None:
    async with opened(tmp_path, disk, sync=sync, sync_interval=0.01) as journal:
        disk.synced.clear()
        await fill(journal, 5)
        if synced:
            assert await asyncio.to_thread(disk.synced.wait, 20)
            assert journal.counts.unsynced_failures == 0
        assert disk.synced.is_set() == synced
    # Closing leaves nothing to the operating system.
    assert disk.synced.is_set()


@pytest.mark.parametrize(("sync", "syncs"), [("always", 2), ("interval", 2), ("never", 1)])
async def test_a_full_segment_is_synced_before_its_successor_unless_nothing_is(
    tmp_path: Path, disk: Watched, sync: str, syncs: int
) -> None:
    async with opened(tmp_path, disk, sync=sync, sync_interval=60.0, segment_bytes=1000) as journal:
        await fill(journal, 1)
        before = disk.syncs, disk.directories
        await fill(journal, 1)
        # The header of the new segment is synced in any case, and so is its name.
        assert (disk.syncs - before[0], disk.directories - before[1]) == (syncs, 1)


@pytest.mark.parametrize("most", [1, 3, 100])
async def test_a_disk_that_takes_little_at_once_gets_everything(tmp_path: Path, most: int) -> None:
    disk = Disk(lambda file, buffers: os.write(file, b"".join(buffers)[:most]))
    async with opened(tmp_path, disk) as journal:
        await asyncio.gather(*(journal.append(Kind.TRACES, b"%d" % number) for number in range(9)))
        assert payloads(journal) == [b"%d" % number for number in range(9)]


async def test_a_full_segment_gets_a_successor_and_a_consumed_one_goes(tmp_path: Path) -> None:
    async with opened(tmp_path, segment_bytes=3000, max_bytes=100_000) as journal:
        positions = await fill(journal, 10)
        assert len(segments(tmp_path)) == 4
        assert journal.size == sum(path.stat().st_size for path in segments(tmp_path))
        await journal.truncate(positions[7])
        assert payloads(journal, positions[7]) == [bytes([number]) * 1000 for number in (7, 8, 9)]
        assert len(segments(tmp_path)) == 2
        assert journal.size == sum(path.stat().st_size for path in segments(tmp_path))
        await journal.truncate(positions[7])
        await journal.truncate(0)
        assert len(segments(tmp_path)) == 2


async def test_a_full_journal_refuses_and_goes_on_once_something_is_stored(tmp_path: Path) -> None:
    async with opened(tmp_path, segment_bytes=3000, max_bytes=8000) as journal:
        positions = await fill(journal, 7)
        refusal = await refused(journal)
        assert (str(refusal), refusal.retry_after) == ("the journal is full", 5.0)
        assert journal.counts.refused_full == 1
        assert payloads(journal) == [bytes([number]) * 1000 for number in range(7)]
        await journal.truncate(positions[3])
        await fill(journal, 2)


async def test_a_journal_whose_every_record_is_stored_has_room_again(tmp_path: Path) -> None:
    async with opened(tmp_path, segment_bytes=4000, max_bytes=8000) as journal:
        last = await journal.append(Kind.TRACES, b"x" * 7000)
        assert not (await refused(journal, b"x" * 1500)).__cause__
        await journal.truncate(last)
        assert len(payloads(journal)) == 1
        await journal.truncate(last + 1)
        assert payloads(journal) == []
        await journal.append(Kind.TRACES, b"x" * 1500)


async def test_what_waits_for_a_slow_disk_is_bounded(tmp_path: Path, disk: Watched) -> None:
    async with opened(tmp_path, disk, max_waiting_bytes=2500) as journal:
        disk.go_on.clear()
        large = asyncio.create_task(journal.append(Kind.TRACES, b"x" * 9000))
        await asyncio.sleep(0)
        refusal = await refused(journal)
        assert (refusal.retry_after, journal.counts.refused_busy) == (1.0, 1)
        disk.go_on.set()
        await large
        await fill(journal, 3)


def to_full(disk: Watched, broken: bool) -> None:
    disk.full = broken


def to_failing_sync(disk: Watched, broken: bool) -> None:
    disk.failing_sync = broken


def to_failing_everything(disk: Watched, broken: bool) -> None:
    disk.failing_sync = disk.failing_cut = disk.full = broken


@pytest.mark.parametrize("break_it", [to_full, to_failing_sync, to_failing_everything])
async def test_a_failing_disk_refuses_loses_nothing_and_recovers(
    tmp_path: Path, disk: Watched, break_it: Callable[[Watched, bool], None]
) -> None:
    async with opened(tmp_path, disk) as journal:
        first = await journal.append(Kind.TRACES, b"before")
        break_it(disk, True)
        for _ in range(3):
            refusal = await refused(journal, b"refused")
            assert isinstance(refusal.__cause__, OSError)
            assert refusal.retry_after == 5.0
        writable = [journal.writable]
        break_it(disk, False)
        second = await journal.append(Kind.TRACES, b"after")
        assert [*writable, journal.writable] == [False, True]
        assert journal.counts.refused_failing == 3
        kept = [(record.position, record.payload) for record in journal.replay()]
        assert kept == [(first, b"before"), (second, b"after")]
        assert journal.counts.damaged == 0
    async with opened(tmp_path) as journal:
        assert [(record.position, record.payload) for record in journal.replay()] == kept


async def test_after_a_failed_sync_nothing_more_is_trusted_to_that_file(tmp_path: Path, disk: Watched) -> None:
    async with opened(tmp_path, disk) as journal:
        first = await journal.append(Kind.TRACES, b"before")
        disk.failing_sync = True
        await refused(journal)
        disk.failing_sync = False
        assert place(await journal.append(Kind.TRACES, b"after"))[0] > place(first)[0]


async def test_acknowledged_requests_whose_late_sync_fails_are_counted(tmp_path: Path, disk: Watched) -> None:
    async with opened(tmp_path, disk, sync="interval", sync_interval=0.01) as journal:
        disk.synced.clear()
        disk.failing_sync = True
        await journal.append(Kind.TRACES, b"x")
        assert await asyncio.to_thread(disk.synced.wait, 20)
        # The same thread does one after the other.
        await journal.truncate(0)
        assert journal.counts.unsynced_failures == 1
        disk.failing_sync = False
        await journal.append(Kind.TRACES, b"y")
        assert payloads(journal) == [b"x", b"y"]


async def test_two_processors_never_share_a_directory(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(StartError, match=rf"belongs to process {os.getpid()}, which holds .*lock"):
            Journal(JournalSettings(directory=str(tmp_path)), faults=Faults())
    async with opened(tmp_path):
        pass


def test_a_directory_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="the journal cannot use"):
        Journal(JournalSettings(directory=str(tmp_path / "file" / "journal")), faults=Faults())


def test_a_segment_of_a_later_version_stops_the_start(tmp_path: Path) -> None:
    header = bytearray(segment_header(1, 1))
    header[8] = 2
    header[-4:] = crc32(bytes(header[:-4])).to_bytes(4, "little")
    (tmp_path / "0000000001.segment").write_bytes(header)
    with pytest.raises(StartError, match=r"0000000001\.segment was written by a later version"):
        Journal(JournalSettings(directory=str(tmp_path)), faults=Faults())
    assert len(segments(tmp_path)) == 1


async def test_a_torn_tail_is_cut_off_at_every_byte_and_the_journal_goes_on(tmp_path: Path) -> None:
    source = tmp_path / "source"
    async with opened(source) as journal:
        positions = await fill(journal, 3, size=20)
        ends = [record.end for record in journal.replay()]
    (file,) = segments(source)
    data = file.read_bytes()
    for size in range(len(data) + 1):
        directory = tmp_path / f"cut-{size}"
        directory.mkdir()
        (directory / file.name).write_bytes(data[:size])
        async with opened(directory, Quick()) as journal:
            whole = sum(place(end)[1] <= size for end in ends)
            assert [record.position for record in journal.replay()] == positions[:whole]
            new = await journal.append(Kind.TRACES, b"new")
            assert new > positions[-1]
        async with opened(directory, Quick()) as journal:
            assert [record.position for record in journal.replay()] == [*positions[:whole], new]
            assert journal.counts.damaged == 0


async def test_damage_in_the_middle_is_counted_and_skipped(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        await fill(journal, 3, size=100)
    (file,) = segments(tmp_path)
    data = bytearray(file.read_bytes())
    data[SEGMENT_HEADER + RECORD_HEAD + 100 + 3] ^= 1
    file.write_bytes(data)
    async with opened(tmp_path) as journal:
        assert payloads(journal) == [bytes([0]) * 100, bytes([2]) * 100]
        assert (journal.counts.damaged, journal.counts.damaged_bytes) == (1, RECORD_HEAD + 100)


async def test_a_segment_that_cannot_be_read_costs_that_segment(tmp_path: Path) -> None:
    async with opened(tmp_path, segment_bytes=1000, max_bytes=100_000) as journal:
        await fill(journal, 3)
        lost = segments(tmp_path)[1]
        lost.unlink()
        lost.mkdir()
        assert payloads(journal) == [bytes([0]) * 1000, bytes([2]) * 1000]
        assert journal.counts.damaged == 1
        lost.rmdir()


async def test_positions_never_go_back_even_when_the_directory_was_lost(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as journal:
        checkpoint = (await fill(journal, 3))[-1]
    async with opened(tmp_path / "b", after=checkpoint) as journal:
        position = await journal.append(Kind.TRACES, b"new")
        assert position > checkpoint
        assert payloads(journal, checkpoint) == [b"new"]


async def test_starting_often_leaves_no_empty_files(tmp_path: Path) -> None:
    positions = []
    for _ in range(5):
        async with opened(tmp_path) as journal:
            pass
    for _ in range(2):
        async with opened(tmp_path) as journal:
            positions += await fill(journal, 1)
    assert positions == sorted(positions)
    assert len(segments(tmp_path)) == 2


async def test_what_is_kept_is_for_this_user_only(tmp_path: Path) -> None:
    async with opened(tmp_path / "journal") as journal:
        await fill(journal, 1)
        modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "journal", *segments(tmp_path / "journal"))]
    assert modes == [0o700, 0o600]


async def test_a_closed_journal_refuses(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        await fill(journal, 1)
    await journal.close()
    await journal.truncate(journal.end)
    assert not journal.writable
    assert str(await refused(journal)) == "the journal is closed"


def test_there_must_be_room_for_the_segment_that_is_written_to(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_bytes must be at least twice segment_bytes"):
        JournalSettings(directory="x", segment_bytes=1000, max_bytes=1999)
