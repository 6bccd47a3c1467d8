"""
Just enough HTTP/2 to load a gRPC server, so that the load generator costs a fraction of what it measures.

One method, one request, one answer of known size per connection. Frames are what grpc's own client would send: the
header block is literal in the first call and all table references afterwards, but for metadata of the caller's, which
is literal in every call. Answers are counted, not decoded: a call is good when the bytes of its messages are all there
and trailers end it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_FRAME_HEADER: Final = 9
_LARGEST_WINDOW: Final = (1 << 31) - 1
_REFILL: Final = 1 << 26
_RECEIVE: Final = 1 << 18

Metadata = Callable[[], Iterable[tuple[str, str]]]
"""Returns what the next call bears."""


class Connection:
    """One client connection; ``send`` starts calls, ``receive`` tells which have ended."""

    def __init__(
        self, port: int, path: str, request: bytes, answer_bytes: int, metadata: Metadata | None = None
    ) -> None:
        """
        Connect.

        Args:
            answer_bytes: what the messages of a good answer hold, five bytes of gRPC framing each included.
            metadata: what calls bear besides what every gRPC call does.
        """
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bad = 0
        self._answer_bytes = answer_bytes
        self._metadata = metadata
        self._got: dict[int, int] = {}
        self._rest = b""
        self._next = 1
        self._consumed = 0
        message = b"\0" + len(request).to_bytes(4, "big") + request
        self._body = message
        literal, indexed = _header_blocks(path, f"127.0.0.1:{port}")
        self._first = _frame_start(len(literal), _HEADERS, _END_HEADERS), literal
        self._later = _frame_start(len(indexed), _HEADERS, _END_HEADERS), indexed
        self._data = _frame_start(len(message), _DATA, _END_STREAM)
        settings = (4).to_bytes(2, "big") + _LARGEST_WINDOW.to_bytes(4, "big")  # SETTINGS_INITIAL_WINDOW_SIZE
        self.socket.sendall(_PREFACE + _frame(_SETTINGS, 0, settings) + _grow(_LARGEST_WINDOW - 65_535))

    @property
    def in_flight(self) -> int:
        """How many calls have not ended."""
        return len(self._got)

    def send(self, calls: int = 1) -> range:
        """Start this many calls in one write; return their stream ids."""
        first = self._next
        self._next += 2 * calls
        streams = range(first, self._next, 2)
        parts: list[bytes] = []
        for stream in streams:
            start, block = self._first if stream == 1 else self._later
            if self._metadata is not None:
                block += b"".join(b"\0" + _text(key) + _text(value) for key, value in self._metadata())
                start = _frame_start(len(block), _HEADERS, _END_HEADERS)
            number = stream.to_bytes(4, "big")
            parts += (start, number, block, self._data, number, self._body)
            self._got[stream] = 0
        self.socket.sendall(b"".join(parts))
        return streams

    def receive(self) -> list[int]:
        """
        Wait for bytes and return the streams that have ended.

        Raises:
            ConnectionError: the server closed the connection or told us to leave.
        """
        chunk = self.socket.recv(_RECEIVE)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        data = self._rest + chunk if self._rest else chunk
        at, size = 0, len(data)
        ended = []
        while size - at >= _FRAME_HEADER:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            after = at + _FRAME_HEADER + length
            if after > size:
                break
            kind, flags = data[at + 3], data[at + 4]
            if kind in (_DATA, _HEADERS, _RESET):
                stream = int.from_bytes(data[at + 5 : at + 9], "big")
                if kind == _DATA:
                    self._got[stream] += length
                if flags & _END_STREAM or kind == _RESET:
                    if self._got.pop(stream) != self._answer_bytes or kind != _HEADERS:
                        self.bad += 1
                    ended.append(stream)
            else:
                self._manage(kind, flags, data[at + _FRAME_HEADER : after])
            at = after
        self._rest = data[at:]
        self._consumed += len(chunk)
        if self._consumed > _REFILL:
            self.socket.sendall(_grow(self._consumed))
            self._consumed = 0
        return ended

    def close(self) -> None:
        """Leave."""
        self.socket.close()

    def _manage(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            self.socket.sendall(_frame(_SETTINGS, _ACK, b""))
        elif kind == _PING and not flags & _ACK:
            self.socket.sendall(_frame(_PING, _ACK, payload))
        elif kind == _GOAWAY:
            raise ConnectionError(f"the server sent GOAWAY: {payload[8:].decode(errors='replace')}")


def _frame_start(length: int, kind: int, flags: int) -> bytes:
    return length.to_bytes(3, "big") + bytes((kind, flags))


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    return _frame_start(len(payload), kind, flags) + bytes(4) + payload


def _grow(size: int) -> bytes:
    return _frame(_WINDOW, 0, size.to_bytes(4, "big"))


def _header_blocks(path: str, authority: str) -> tuple[bytes, bytes]:
    """Return the request headers as they go the first time, and as they go once both sides have them in the table."""
    # HPACK (RFC 7541), appendix A: 3 is `:method: POST`, 6 `:scheme: http`; below, the index of a known name or 0.
    fixed = b"\x83\x86"
    table: tuple[tuple[int, str, str], ...] = (
        (4, ":path", path),
        (1, ":authority", authority),
        (0, "te", "trailers"),
        (31, "content-type", "application/grpc"),
        (58, "user-agent", "grpc-python/1.85.1 grpc-c/54.0.0 (linux; bench)"),
        (0, "grpc-accept-encoding", "identity, deflate, gzip"),
    )
    literal = b"".join(bytes((0x40 | known,)) + (b"" if known else _text(name)) + _text(value)
                       for known, name, value in table)  # fmt: skip
    # The newest entry of the dynamic table is number 62.
    indexed = bytes(0x80 | (61 + len(table) - place) for place in range(len(table)))
    return fixed + literal, fixed + indexed


def _text(value: str) -> bytes:
    if len(value) > 126:
        raise ValueError("longer than one length byte")
    return bytes((len(value),)) + value.encode()
