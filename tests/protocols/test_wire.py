"""Fields of a message are found, replaced and removed without touching the bytes of any other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wire import request

from shadowmesh.errors import DecodeError
from shadowmesh.protocols import wire
from shadowmesh.schema import messages

VARINT, FIXED64, GROUP, FIXED32 = b"\x08\x96\x01", b"\x11abcdefgh", b"\x1b\x08\x01\x12\x01x\x1c", b"\x25abcd"
"""Fields 1 to 4, one of each kind of value that has no length of its own."""
BODIES = st.binary(max_size=200)
FIELDS = st.lists(
    st.one_of(
        st.sampled_from([VARINT, FIXED64, GROUP, FIXED32]),
        st.builds(wire.field, st.integers(5, 2**29 - 1), BODIES),
    ),
    max_size=6,
)


@given(FIELDS)
def test_every_field_is_found_where_it_stands(fields: list[bytes]) -> None:
    data = b"".join(fields)
    assert [data[piece.start : piece.end] for piece in wire.pieces(data)] == fields


@given(st.binary(max_size=40))
def test_bytes_that_are_no_message_are_refused_and_nothing_else_happens(data: bytes) -> None:
    try:
        found = wire.pieces(data)
    except DecodeError:
        return
    assert b"".join(data[piece.start : piece.end] for piece in found) == data


@pytest.mark.parametrize(
    "data",
    [b"\x08", b"\x80" * 11, b"\x00\x01", b"\x12\x05ab", b"\x11abc", b"\x25ab", b"\x1b\x08\x01", b"\x1c", b"\x1b\x14",
     b"\x0e\x01", b"\x1b" * 200],
    ids=repr,
)  # fmt: skip
def test_half_a_field_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        wire.pieces(data)


@given(FIELDS, FIELDS, BODIES, BODIES)
def test_a_field_is_replaced_and_its_neighbours_keep_their_bytes(
    before: list[bytes], after: list[bytes], old: bytes, new: bytes
) -> None:
    others = [field for field in (*before, *after) if wire.pieces(field)[0].number != 7]
    data = b"".join([*before, wire.field(7, old), *after])
    assert wire.replace(data, (7,), wire.field(7, new), make=False) == b"".join([*others, wire.field(7, new)])
    assert wire.remove(data, (7,)) == b"".join(others)


def test_a_field_inside_a_message_is_replaced_in_the_last_that_counts() -> None:
    data = wire.field(5, b"\x08\x01") + FIXED32 + wire.field(5, b"\x08\x02" + FIXED64)
    assert wire.replace(data, (5, 1), b"\x08\x03", make=False) == wire.field(5, b"") + FIXED32 + wire.field(
        5, FIXED64 + b"\x08\x03"
    )


def test_what_has_the_number_of_a_message_and_is_none_holds_nothing() -> None:
    stray = b"\x28\x07"
    data = wire.field(5, b"\x08\x01") + stray
    assert wire.replace(data, (5, 1), b"\x08\x03", make=True) == wire.field(5, b"\x08\x03") + stray
    assert wire.replace(stray, (5, 1), b"\x08\x03", make=True) == stray + wire.field(5, b"\x08\x03")


def test_messages_around_a_field_are_made_only_if_that_is_asked_for() -> None:
    assert wire.replace(VARINT, (5, 6, 1), b"\x08\x03", make=True) == VARINT + wire.field(5, wire.field(6, b"\x08\x03"))
    assert wire.replace(VARINT, (5, 6, 1), b"\x08\x03", make=False) == VARINT
    assert wire.replace(VARINT, (5, 6, 1), b"", make=True) == VARINT


def test_the_values_of_a_list_are_changed_where_the_first_one_stood() -> None:
    data = VARINT + wire.field(9, b"a") + FIXED64 + wire.field(9, b"b") + FIXED32
    assert wire.change(data, (9,), lambda found: [*found[1:], b"c"]) == b"".join(
        [VARINT, wire.field(9, b"b"), wire.field(9, b"c"), FIXED64, FIXED32]
    )
    assert wire.change(data, (9,), lambda found: []) == VARINT + FIXED64 + FIXED32
    assert wire.change(VARINT, (9,), lambda found: [*found, b"c"]) == VARINT + wire.field(9, b"c")
    assert wire.change(data, (9,), list) is data
    assert wire.change(VARINT, (8, 9), lambda found: [*found, b"c"]) == VARINT


def test_a_message_that_came_in_parts_is_noticed() -> None:
    once, twice = wire.field(5, wire.field(6, b"")), wire.field(5, b"") * 2
    assert wire.stands_once(once, (5, 6))
    assert wire.stands_once(b"", (5, 6))
    assert not wire.stands_once(twice, (5,))
    assert not wire.stands_once(wire.field(5, wire.field(6, b"") * 2), (5, 6))


@given(st.text(max_size=300), st.text(min_size=1, max_size=300))
def test_what_protobuf_reads_is_what_was_put_there(old: str, new: str) -> None:
    leaf = messages.GenerateRequest(model=new).SerializeToString()
    changed = messages.GenerateRequest.FromString(wire.replace(request(model=old, prompt="p"), (2,), leaf, make=True))
    assert (changed.model, changed.prompt) == (new, "p")
