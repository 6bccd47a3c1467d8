"""
The wire format of protobuf, as far as changing a message needs it: its fields one by one, without their meaning.

A message that is parsed and written again has the same meaning and other bytes: unknown fields move to its end. Here
fields that nobody asked to change are copied as they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from shadowmesh.errors import DecodeError

_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_LONGEST_VARINT = 10
_DEEPEST = 100


class Piece(NamedTuple):
    """One field as it stands: its number, where it starts, where its value starts, and where it ends."""

    number: int
    start: int
    body: int
    end: int
    nested: bool
    """Whether its value has a length of its own, as that of a message has."""


Change = Callable[[list[bytes]], list[bytes]]
"""Makes other values of the values of a repeated field."""


def pieces(data: bytes) -> list[Piece]:
    """
    Return the fields of a message in their order.

    Raises:
        DecodeError: the bytes are no message.
    """
    return list(_pieces(data))


def replace(data: bytes, numbers: Sequence[int], encoded: bytes, *, make: bool) -> bytes:
    """
    Return the message with a field replaced: every occurrence removed, and another one put in the last message that
    can hold it.

    Args:
        numbers: of the field, and before it those of the messages around it.
        encoded: the field as it is to be, its tag included; empty to remove it.
        make: whether messages around it are made where they are missing.

    Raises:
        DecodeError: the bytes are no message.
    """
    number, inner = numbers[0], numbers[1:]
    found = pieces(data)
    # Another kind of value under the number of a message is none, to protobuf too.
    mine = [piece for piece in found if piece.number == number and piece.nested]
    if not inner:
        kept = b"".join([data[piece.start : piece.end] for piece in found if piece.number != number])
        return kept + encoded
    parts = []
    last = mine[-1] if mine else None
    for piece in found:
        if piece.number != number or not piece.nested:
            parts.append(data[piece.start : piece.end])
        else:
            body = replace(data[piece.body : piece.end], inner, encoded if piece is last else b"", make=make)
            parts.append(field(number, body))
    if last is None and make and encoded:
        parts.append(field(number, replace(b"", inner, encoded, make=make)))
    return b"".join(parts)


def remove(data: bytes, numbers: Sequence[int]) -> bytes:
    """
    Return the message without a field, in every element of the repeated ones around it.

    Raises:
        DecodeError: the bytes are no message.
    """
    return replace(data, numbers, b"", make=False)


def change(data: bytes, numbers: Sequence[int], how: Change) -> bytes:
    """
    Return the message with the values of a repeated field of messages changed; they stand together where the first
    one stood.

    Raises:
        DecodeError: the bytes are no message.
    """
    number, inner = numbers[0], numbers[1:]
    found = pieces(data)
    mine = [piece for piece in found if piece.number == number and piece.nested]
    bodies = [data[piece.body : piece.end] for piece in mine]
    new = [change(body, inner, how) for body in bodies] if inner else how(bodies)
    if not inner and new == bodies:
        return data
    parts = []
    values = iter([field(number, value) for value in new])
    for piece in found:
        if piece.number != number or not piece.nested:
            parts.append(data[piece.start : piece.end])
        elif inner:
            parts.append(next(values))
        else:
            parts.extend(values)
    return b"".join([*parts, *values])


def stands_once(data: bytes, numbers: Sequence[int]) -> bool:
    """Return whether none of these messages, each inside the one before it, stands twice where one is meant."""
    for number in numbers:
        found = [piece for piece in pieces(data) if piece.number == number and piece.nested]
        if len(found) != 1:
            return not found
        data = data[found[0].body : found[0].end]
    return True


def last(data: bytes, numbers: Sequence[int]) -> bytes | None:
    """
    Return the value of a field with a length that counts, which is the last one; ``None`` where there is none.

    Raises:
        DecodeError: the bytes are no message.
    """
    number, inner = numbers[0], numbers[1:]
    found = None
    for piece in pieces(data):
        if piece.number == number and piece.nested:
            body = data[piece.body : piece.end]
            value = last(body, inner) if inner else body
            found = found if value is None else value
    return found


def field(number: int, body: bytes) -> bytes:
    """Return a field that has a length: its tag, the length, and the value."""
    return _varint(number << 3 | _BYTES) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _pieces(data: bytes) -> Iterator[Piece]:
    at = 0
    while at < len(data):
        start = at
        tag, at = _read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise DecodeError("a field without a number")
        body, end = _value(data, at, kind, number, 0)
        yield Piece(number, start, body, end, kind == _BYTES)
        at = end


def _value(data: bytes, at: int, kind: int, number: int, depth: int) -> tuple[int, int]:
    """Return where a value starts and where it ends."""
    if kind == _VARINT:
        return at, _read_varint(data, at)[1]
    body = at
    if kind == _BYTES:
        length, body = _read_varint(data, at)
        end = body + length
    elif kind == _GROUP and depth < _DEEPEST:
        end = _end_of_group(data, at, number, depth + 1)
    elif kind in (_FIXED64, _FIXED32):
        end = at + (8 if kind == _FIXED64 else 4)
    else:
        raise DecodeError(f"wire type {kind} out of place")
    if end > len(data):
        raise DecodeError("a field ends beyond its message")
    return body, end


def _end_of_group(data: bytes, at: int, number: int, depth: int) -> int:
    while at < len(data):
        tag, at = _read_varint(data, at)
        if tag & 7 == _END_GROUP:
            if tag >> 3 != number:
                break
            return at
        at = _value(data, at, tag & 7, tag >> 3, depth)[1]
    raise DecodeError("a group without its end")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise DecodeError("a number without its end")
