"""A segment is read as far as it can be, whatever became of its bytes, and never says what was not written."""

from __future__ import annotations

from functools import cache
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.processor.journal_format import (
    RECORD_HEAD,
    SEGMENT_HEADER,
    VERSION,
    Damage,
    Kind,
    Record,
    place,
    position,
    record_head,
    records,
    segment_header,
    segment_version,
)

NUMBER = 7
PAYLOADS = (b"first", b"", b"\x00" * 40, bytes(range(256)), b"last")


def segment(payloads: tuple[bytes, ...], number: int = NUMBER) -> tuple[bytes, list[Record]]:
    """Return a whole segment and what stands in it."""
    data, written = segment_header(number, 1), []
    for count, payload in enumerate(payloads):
        record = Record(position(number, len(data)), Kind.TRACES, 1000 + count, payload)
        written.append(record)
        data += record_head(record.position, record.kind, record.received_ns, payload) + payload
    return data, written


@cache
def example() -> tuple[bytes, list[Record]]:
    return segment(PAYLOADS)


def read(data: bytes, start: int = SEGMENT_HEADER, number: int = NUMBER) -> list[Record | Damage]:
    return list(records(lambda offset, size: data[offset : offset + size], number, len(data), start))


def whole(items: list[Record | Damage]) -> list[Record]:
    return [item for item in items if isinstance(item, Record)]


def without_gaps(items: list[Record | Damage], size: int) -> bool:
    """Return whether every byte behind the header belongs to exactly one item."""
    edges = [position(NUMBER, SEGMENT_HEADER), *(item.end for item in items)]
    starts = [item.position for item in items]
    return starts == edges[:-1] and (not items or items[-1].end == position(NUMBER, size))


def test_what_was_written_is_read_in_order() -> None:
    data, written = example()
    assert read(data) == written
    assert [record.end for record in written[:-1]] == [record.position for record in written[1:]]


@pytest.mark.parametrize("first", range(len(PAYLOADS)))
def test_reading_starts_at_any_record(first: int) -> None:
    data, written = example()
    assert read(data, place(written[first].position)[1]) == written[first:]


def test_a_file_that_ends_at_any_byte_gives_every_record_that_was_whole_and_no_other() -> None:
    data, written = example()
    for size in range(SEGMENT_HEADER, len(data) + 1):
        items = read(data[:size])
        assert whole(items) == [record for record in written if place(record.end)[1] <= size]
        assert without_gaps(items, size)
        assert len(items) - len(whole(items)) <= 1


@given(st.data())
def test_a_damaged_byte_costs_the_one_record_it_stands_in(data: st.DataObject) -> None:
    good, written = example()
    at = data.draw(st.integers(SEGMENT_HEADER, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    items = read(bytes(bad))
    assert whole(items) == [record for record in written if not record.position <= position(NUMBER, at) < record.end]
    assert without_gaps(items, len(good))


@given(st.lists(st.binary(max_size=60), max_size=6).map(tuple), st.data())
def test_however_much_is_damaged_only_what_was_written_is_read(
    payloads: tuple[bytes, ...], data: st.DataObject
) -> None:
    good, written = segment(payloads)
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(bad)))
        bad[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    items = read(bytes(bad))
    assert set(whole(items)) <= set(written)
    assert without_gaps(items, len(bad)) or len(bad) <= SEGMENT_HEADER


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_damage(data: bytes) -> None:
    assert whole(read(data)) == []


def test_a_record_inside_a_payload_is_never_one_of_ours() -> None:
    inner, _ = example()
    data, (outer, behind) = segment((inner, b"behind"))
    assert read(data) == [outer, behind]
    bad = bytearray(data)
    bad[SEGMENT_HEADER] ^= 1
    assert read(bytes(bad)) == [Damage(outer.position, outer.end), behind]


def test_a_record_of_another_place_or_segment_is_damage() -> None:
    data, _ = example()
    assert whole(read(data, number=NUMBER + 1)) == []
    assert whole(read(data[:SEGMENT_HEADER] + b"\x00" + data[SEGMENT_HEADER:])) == []


def test_the_search_for_the_next_record_crosses_its_own_windows() -> None:
    for gap in range((1 << 20) - RECORD_HEAD - 2, (1 << 20) + 3):
        head = segment_header(NUMBER, 1) + bytes(gap)
        behind = record_head(position(NUMBER, len(head)), Kind.LOGS, 5, b"x") + b"x"
        damage, record = read(head + behind)
        assert damage == Damage(position(NUMBER, SEGMENT_HEADER), position(NUMBER, len(head)))
        assert record == Record(position(NUMBER, len(head)), Kind.LOGS, 5, b"x")


def test_a_file_shorter_than_it_was_said_to_be_ends_in_damage() -> None:
    data, written = example()
    short = data[:-2]
    items = list(records(lambda offset, size: short[offset : offset + size], NUMBER, len(data)))
    assert items == [*written[:-1], Damage(written[-1].position, position(NUMBER, len(data)))]


def test_positions_grow_within_a_segment_and_from_one_to_the_next() -> None:
    assert position(1, 0) < position(1, 2**32 - 1) < position(2, 0)
    assert place(position(2**31 - 1, 12)) == (2**31 - 1, 12)
    # So that a signed column of 64 bits can hold it.
    assert position(2**31 - 1, 2**32 - 1) < 2**63


def test_a_segment_says_by_which_version_it_was_written() -> None:
    header = segment_header(3, 9)
    assert len(header) == SEGMENT_HEADER
    assert segment_version(header) == VERSION
    assert segment_version(header[:-1]) is None
    assert segment_version(b"") is None
    assert segment_version(header[:-5] + bytes([header[-5] ^ 1]) + header[-4:]) is None
    other = b"OTHERMAG" + header[8:-4]
    assert segment_version(other + crc32(other).to_bytes(4, "little")) is None
