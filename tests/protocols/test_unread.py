"""What of a request nobody has read is found on the wire, by its path."""

from __future__ import annotations

import pytest
from support.dialects.spoken import view

from shadowmesh.errors import DecodeError
from shadowmesh.protocols import wire
from shadowmesh.protocols.paths import descriptor_of
from shadowmesh.protocols.unread import Known
from shadowmesh.schema.descriptors import message_class

REQUEST = descriptor_of(message_class("shadowmesh.views.vllm.GenerateRequest"))


def unread(data: bytes, *known: tuple[int, ...]) -> str | None:
    return Known(known, REQUEST).first_unread(data)


def test_it_is_named_by_its_path() -> None:
    data = view("vllm.GenerateRequest", text="secret", sampling={"top_p": 0.5, "seed": 3}).SerializeToString()
    assert unread(data, (3,), (6,)) is None
    assert unread(data, (3,), (6, 3), (6, 5)) is None
    assert unread(data, (3,), (6, 3)) == "sampling.seed"
    assert unread(data, (6,)) == "text"
    # Whichever of two is said first.
    assert unread(data, (3,), (6, 3), (6,)) is None
    assert unread(data, (3,), (6,), (6, 3)) is None


def test_a_field_of_which_no_view_knows_has_its_number() -> None:
    strange = view("vllm.GenerateRequest", text="a").SerializeToString() + wire.field(6, wire.field(77, b"x"))
    assert unread(strange, (3,), (6, 3)) == "sampling.77"
    assert unread(strange, (3,), (6, 77)) is None
    assert unread(wire.field(900, b""), (3,)) == "900"


def test_a_message_that_is_written_as_a_number_is_read_by_nobody() -> None:
    assert unread(b"\x30\x01", (6, 3)) == "sampling"


def test_bytes_that_are_no_message_are_refused() -> None:
    with pytest.raises(DecodeError):
        unread(b"\x1a\xff", (3,))
