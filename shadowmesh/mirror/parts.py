"""What the bodies of frames are made of: parts, each with its length before it, little endian (pure)."""

from __future__ import annotations

import struct

LENGTH = struct.Struct("<I")
DOUBLE = struct.Struct("<d")
TIME = struct.Struct("<q")


def pack(*parts: bytes) -> bytes:
    """Return the parts as one."""
    return b"".join([piece for part in parts for piece in (LENGTH.pack(len(part)), part)])


def unpack(body: bytes, start: int = 0) -> list[bytes]:
    """
    Return the parts that fill ``body`` from ``start`` on.

    Raises:
        ValueError: they do not.
        struct.error: not even a length is whole.
    """
    parts = []
    while start < len(body):
        (length,) = LENGTH.unpack_from(body, start)
        start += LENGTH.size
        if start + length > len(body):
            raise ValueError("a part is cut")
        parts.append(body[start : start + length])
        start += length
    return parts


def part_at(body: bytes, start: int) -> tuple[bytes, int]:
    """
    Return the part at ``start``, and where it ends.

    Raises:
        ValueError: there is no whole one.
        struct.error: there is not even its length.
    """
    (length,) = LENGTH.unpack_from(body, start)
    start += LENGTH.size
    if start + length > len(body):
        raise ValueError("a part is cut")
    return body[start : start + length], start + length


def pack_texts(*texts: str) -> bytes:
    """Return texts as parts."""
    return pack(*[text.encode() for text in texts])


def unpack_texts(body: bytes, start: int = 0) -> list[str]:
    """
    Return the texts that fill ``body`` from ``start`` on.

    Raises:
        ValueError: they do not.
    """
    return [one.decode() for one in unpack(body, start)]
