"""Gunzip of what strangers send: a piece at a time, and never more than was agreed to."""

from __future__ import annotations

import zlib

from shadowmesh.errors import DecodeError
from shadowmesh.processor.refusal import Refusal, RefusedError

_GZIP = 16 + zlib.MAX_WBITS


class Gunzip:
    """
    Unpacks one gzip member, which is what every exporter sends.

    Args:
        most: bytes it may unpack to.
    """

    def __init__(self, most: int) -> None:
        self._stream = zlib.decompressobj(_GZIP)
        self._left = most

    def feed(self, data: bytes) -> bytes:
        """
        Return what the next bytes unpack to.

        Raises:
            DecodeError: they are no gzip.
            RefusedError: it is more than was agreed to; one byte more than that has been unpacked.
        """
        try:
            unpacked = self._stream.decompress(data, self._left + 1)
        except zlib.error:
            raise DecodeError("not gzip") from None
        self._left -= len(unpacked)
        if self._left < 0:
            raise RefusedError(Refusal.TOO_LARGE, "larger than the limit when decompressed")
        if self._stream.unused_data:
            raise DecodeError("more than one gzip member")
        return unpacked

    def finish(self) -> None:
        """
        Check that nothing is missing.

        Raises:
            DecodeError: the end is.
        """
        if not self._stream.eof:
            raise DecodeError("gzip that ends too early")
